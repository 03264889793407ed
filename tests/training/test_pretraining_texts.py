"""Which dialogues pre-training reads: never those of dev and test, nor almost the same ones."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, save_csv
from yoyak.config.params import parse_params
from yoyak.system.errors import YoyakError
from yoyak.training.pretraining_texts import Texts, choose_texts, hold_out, pieces

NEW = (
    "#Person1#: 세탁기가 또 멈췄어요.\n#Person2#: 언제부터 그랬나요?\n#Person1#: 오늘 아침부터요.",
    "#Person1#: 소포가 아직 안 왔는데요.\n#Person2#: 주문 번호를 알려 주시겠어요?",
)
SPOKEN = DIALOGUES[3]  # long enough that one other word makes it almost the same
DEV, TEST = SPOKEN, DIALOGUES[6]
ALMOST_DEV = SPOKEN.replace("이백 원", "삼백 원")
OTHER_SPEAKERS_OF_TEST = TEST.replace("#Person1#", "#Person5#")


@pytest.fixture
def processed(tmp_path: Path) -> Path:
    folder = tmp_path / "processed"
    save(folder / "train.jsonl", [*DIALOGUES[:3], ALMOST_DEV])
    save(folder / "dev.jsonl", [DEV])
    save(folder / "test.jsonl", [TEST])
    return folder


def save(path: Path, dialogues: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [{"fname": f"{path.stem}_{number}", "dialogue": text} for number, text in enumerate(dialogues)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def chosen(values: dict[str, Any], processed: Path, **changes: Any) -> Texts:
    values["pretrain"] |= {"num_train_epochs": 1} | changes
    return choose_texts(processed, parse_params(values, source="test"))


def test_train_is_read_without_what_is_almost_in_dev(values: dict[str, Any], processed: Path) -> None:
    texts = chosen(values, processed)
    assert texts.dialogues == list(DIALOGUES[:3])
    assert texts.left_out["in_dev_or_test"] == ["train train_3"]
    assert "1 dialogue is left out because dev or test has this dialogue, or almost this one:" in texts.messages()[1]


def test_files_are_cleaned_and_guarded(values: dict[str, Any], processed: Path, tmp_path: Path) -> None:
    rows = [ALMOST_DEV, DEV, OTHER_SPEAKERS_OF_TEST, "태그가 없는 글", NEW[0] + " ㅋㅋ", NEW[1], NEW[1], DIALOGUES[0]]
    file = save_csv(tmp_path / "more.csv", [{"fname": f"m{n}", "dialogue": text} for n, text in enumerate(rows)])
    texts = chosen(values, processed, texts="both", dialogues=str(file))
    assert texts.dialogues == [*DIALOGUES[:3], NEW[0] + " 웃음", NEW[1]]
    assert texts.taken == {"train": 3, "unlabelled": 2}
    counts = {reason: len(places) for reason, places in texts.left_out.items()}
    assert counts == {"in_dev_or_test": 4, "not_a_dialogue": 1, "repeated": 2}
    assert any("(fname m3)" in line for line in texts.messages()), "by file, line and fname"
    alone = chosen(values, processed, texts="unlabelled", dialogues=str(file))
    assert alone.taken == {"unlabelled": 3} and alone.dialogues[-1] == DIALOGUES[0]
    assert alone.digest() != texts.digest()


def test_tags_have_the_form_of_the_params(values: dict[str, Any], processed: Path, tmp_path: Path) -> None:
    """The guard compares without speakers, whatever the form of the tags."""
    values["preprocess"]["person_tags"] = "abstract"
    for split, rows in (("train", [*DIALOGUES[:2], ALMOST_DEV]), ("dev", [DEV]), ("test", [TEST])):
        save(processed / f"{split}.jsonl", [text.replace("#Person", "화자").replace("#:", ":") for text in rows])
    save(tmp_path / "more.jsonl", [NEW[1], OTHER_SPEAKERS_OF_TEST, ALMOST_DEV])
    texts = chosen(values, processed, texts="both", dialogues=str(tmp_path / "more.jsonl"))
    assert len(texts.left_out["in_dev_or_test"]) == 3
    assert texts.dialogues[-1] == "화자1: 소포가 아직 안 왔는데요.\n화자2: 주문 번호를 알려 주시겠어요?"


def test_bad_files_are_named(values: dict[str, Any], processed: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, message in (
        ("nothing", r"pretrain\.dialogues: .*nothing: no such file or folder"),
        ("empty", r"pretrain\.dialogues: .*empty: the folder has no \.csv or \.jsonl file"),
    ):
        with pytest.raises(YoyakError, match=message):
            chosen(values, processed, texts="both", dialogues=str(tmp_path / place))
    save(tmp_path / "dev_alone.jsonl", [DEV, NEW[0]])
    with pytest.raises(YoyakError, match="fewer than two dialogues are left"):
        chosen(values, processed, texts="unlabelled", dialogues=str(tmp_path / "dev_alone.jsonl"))


def test_held_out_dialogues_are_few_and_the_same_each_time() -> None:
    texts = [str(number) for number in range(300)]
    train, held_out = hold_out(texts, 42)
    assert len(held_out) == 6 and sorted([*train, *held_out]) == sorted(texts)
    assert hold_out(texts, 42) == (train, held_out) != hold_out(texts, 43)
    assert [len(part) for part in hold_out(["a", "b"], 1)] == [1, 1]


def test_pieces_are_whole_turns_that_fit_and_lose_nothing() -> None:
    turns = [f"#Person{1 + number % 2}#: {'가나다라 ' * random.Random(number).randint(1, 12)}끝" for number in range(20)]
    parts = pieces("\n".join(turns), tokens=len, max_length=100)
    assert "\n".join(parts) == "\n".join(turns) and len(parts) > 5
    assert all(len(part) <= 100 for part in parts)
    assert all(
        len(f"{one}\n{other}") > 100 for one, other in zip(parts, [p.split(chr(10))[0] for p in parts[1:]], strict=False)
    )
    (long,) = ["#Person1#: " + "아주 긴 말을 합니다 " * 30]
    cut = pieces(long.strip(), tokens=len, max_length=60)
    assert all(len(part) <= 60 and part.startswith("#Person1#: ") for part in cut)
    assert pieces(NEW[0], tokens=len, max_length=1000) == [NEW[0]]
