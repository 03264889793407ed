"""A language model here: sampling by row, batches, and what is kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.augmentation.model_helpers import workspace
from tests.conftest import ROOT
from yoyak.augmentation.text_models.chat import ask
from yoyak.augmentation.text_models.local_chat import LocalChat
from yoyak.augmentation.text_models.sampling import SeededSampling
from yoyak.augmentation.text_models.writer import open_chat_model
from yoyak.augmentation.text_models.written import Written
from yoyak.system.errors import YoyakError

LLAMA = str(ROOT / "models/base/llama-tiny")
QUESTIONS = [
    ask(f"train_{number}", f"{text} 다시 써 주세요.", seed=str(number))
    for number, text in enumerate(["안녕", "비가 온다", "축하해"])
]
SETTINGS = {"checkpoint": LLAMA, "max_new_tokens": 12, "temperature": 1.0, "top_p": 0.9, "batch_size": 2}


def opened(values: dict[str, Any], folder: Path, **changes: Any) -> LocalChat:
    model = open_chat_model(workspace(values, folder, writer=SETTINGS | changes))
    assert isinstance(model, LocalChat)
    return model


def test_a_draw_of_the_gumbel_trick_has_the_models_distribution() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    count = 4000
    scores = probabilities.log().repeat(count, 1)
    drawn = SeededSampling(range(count), temperature=1.0, top_p=1.0)(torch.zeros(count, 1, dtype=torch.long), scores).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / count
    assert shares.tolist() == pytest.approx(probabilities.tolist(), abs=0.03)
    few = SeededSampling(range(count), temperature=1.0, top_p=0.7)(torch.zeros(count, 1, dtype=torch.long), scores).argmax(-1)
    assert set(few.tolist()) == {0, 1}, "the two most probable ones have 0.8 together"


def test_an_answer_does_not_depend_on_its_batch(values: dict[str, Any], tmp_path: Path) -> None:
    together = opened(values, tmp_path / "a", batch_size=3).answer(QUESTIONS)
    alone = [opened(values, tmp_path / "b", batch_size=1).answer([question])[0] for question in reversed(QUESTIONS)]
    assert together == alone[::-1] and len({one.text for one in together}) == 3


def test_the_seed_gives_other_answers_only_if_params_sample(values: dict[str, Any], tmp_path: Path) -> None:
    same = [ask("train_0", "안녕", seed=seed) for seed in ("a", "b")]
    first, second = opened(values, tmp_path).answer(same)
    assert first != second
    first, second = opened(values, tmp_path, temperature=0.0).answer(same)
    assert first == second


def test_what_is_kept_is_not_asked_again(values: dict[str, Any], tmp_path: Path) -> None:
    before = opened(values, tmp_path).answer(QUESTIONS)
    again = opened(values, tmp_path)
    assert again.answer(QUESTIONS) == before and "model" not in again.__dict__
    assert again.report() == {"model": LLAMA, "questions": 3}
    other = opened(values, tmp_path, temperature=0.5)
    other.answer(QUESTIONS[:1])
    assert "model" in other.__dict__, "other settings"


def test_an_interrupted_call_goes_on(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = opened(values, tmp_path / "a").answer(QUESTIONS)
    killed = opened(values, tmp_path / "b")
    generate, calls = killed._generate, 0

    def stop_at_second(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(killed, "_generate", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        killed.answer(QUESTIONS)
    assert opened(values, tmp_path / "b").answer(QUESTIONS) == expected
    assert (tmp_path / "a/writer.jsonl").read_bytes() == (tmp_path / "b/writer.jsonl").read_bytes()


def test_a_question_that_is_too_long_is_not_cut(values: dict[str, Any], tmp_path: Path) -> None:
    long = ask("train_0", "아주 긴 이야기 " * 2000, seed="1")
    answers = opened(values, tmp_path).answer([long, QUESTIONS[0]])
    assert answers[0] == Written("", "too_long_for_the_model") and answers[1].fault != "too_long_for_the_model"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": None}, r"^augment.writer.checkpoint: is empty"),
        ({"checkpoint": "Qwen/Qwen3-4B"}, r"^augment.writer.checkpoint: .*set `revision`"),
        ({"checkpoint": str(ROOT / "models/base/kobart-tiny")}, r"^augment.writer.checkpoint: .* is an encoder-decoder"),
        ({"max_new_tokens": 100_000}, r"^augment.writer.max_new_tokens: 100000 leaves no room"),
    ],
)
def test_a_model_that_cannot_answer_is_told_with_its_param(
    values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(YoyakError, match=message):
        opened(values, tmp_path, **changes)


def test_methods_of_one_run_share_the_model(values: dict[str, Any], tmp_path: Path) -> None:
    place = workspace(values, tmp_path, writer=SETTINGS)
    assert open_chat_model(place) is open_chat_model(place)
