"""The stage pretrain: what it trains on, that a killed run ends with the same bytes, and that its output is a checkpoint."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from stages.pretrain import main
from tests.conftest import DIALOGUES, SUMMARIES
from tests.models.test_lora import make_base
from tests.training.helpers import Killed, file_contents, kill_after
from yoyak.config.params import parse_params
from yoyak.config.pretrain_section import PRETRAINED
from yoyak.config.sections import Params
from yoyak.models import adapters
from yoyak.models.families.lookup import family_named
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, write_jsonl
from yoyak.training import pretrain as stage
from yoyak.training.pretraining_texts import hold_out
from yoyak.training.study_storage import TRIAL_VARIABLE

ON: dict[str, Any] = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 2,
    "learning_rate": 0.01,
    "save_steps": 1,
    "logging_steps": 1,
    "precision": "float32",
}
NOISE = [f"#Person1#: {word} 있나요?\n#Person2#: {word} 없어요.\n#Person1#: 그럼 갈게요." for word in ("배", "감", "귤", "콩")]


@pytest.fixture(autouse=True)
def _own_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_CHECKPOINTS", str(tmp_path / "work"))


@pytest.fixture
def processed(tmp_path: Path) -> Path:
    """Seven train dialogues, and dev and test with others."""
    with atomic_folder(tmp_path / "processed") as folder:
        for split, texts in (("train", DIALOGUES[:7]), ("dev", NOISE[:2]), ("test", NOISE[2:])):
            rows = [{"fname": f"{split}_{n}", "dialogue": t, "summary": SUMMARIES[n]} for n, t in enumerate(texts)]
            write_jsonl(folder / f"{split}.jsonl", rows)
    return tmp_path / "processed"


def changed(values: dict[str, Any], **changes: Any) -> Params:
    values["pretrain"] |= ON | changes
    return parse_params(values, source="test")


def pretrained(params: Params, processed: Path, name: str, change: Callable[[Any], None] = lambda _: None) -> dict[str, bytes]:
    """What the stage writes, with a change of the model before the training."""
    folder, family = processed.parent / name, family_named(params.model.family)

    class Changed(type(family)):  # type: ignore[misc]
        def prepare_pretraining(self, params: Params, words: Sequence[str] = ()) -> Any:
            setup = super().prepare_pretraining(params, words)
            change(setup.model)
            return setup

    stage.pretrain(Changed(), params, processed=processed, output=folder / "model", metrics=folder / "metrics")
    return file_contents(folder)


@pytest.fixture
def kobart(values: dict[str, Any], tiny: Path) -> dict[str, Any]:
    values["model"]["kobart"] |= {"checkpoint": str(tiny), "revision": None}
    return values


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_the_same_bytes(kobart: dict[str, Any], processed: Path, tmp_path: Path) -> None:
    params = changed(kobart)
    whole = pretrained(params, processed, "whole")
    assert "model/model.safetensors" in whole and "metrics/plots/metrics/train/loss.tsv" in whole
    for number, batches in enumerate((1, 4, 8)):
        (tmp_path / "work").rename(tmp_path / f"old-{number}")
        with pytest.raises(Killed):
            pretrained(params, processed, f"killed-{number}", kill_after(batches))
        assert not (tmp_path / f"killed-{number}/model").exists(), "nothing half-written"
        assert pretrained(params, processed, f"resumed-{number}") == whole, batches


@pytest.mark.slow
def test_it_learns_and_reports(
    kobart: dict[str, Any], processed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRIAL_VARIABLE, "{no trial}")  # a search must not take these losses for those of its trial
    params, read = changed(kobart, num_train_epochs=12), set[tuple[int, bool, int]]()
    encode = stage.TextCollator._encode

    def seen(self: Any, row: Any) -> Any:
        read.add((-1 if row["held_out"] else self.epoch, row["held_out"], row["row"]))
        return encode(self, row)

    monkeypatch.setattr(stage.TextCollator, "_encode", seen)
    written = pretrained(params, processed, "a")
    assert read == {*((epoch, False, row) for epoch in range(12) for row in range(6)), (-1, True, 0)}
    report = json.loads(written["metrics/pretrain.json"])
    assert report["dialogues"] == {"train": 7} and report["pieces"] == {"train": 6, "held_out": 1}
    assert report["steps"] == len(report["loss"]) == 36 and len(report["held_out_loss"]) == 12
    assert report["tokens_read"] == 12 * report["tokens"] > 0
    assert report["loss"][-1][1] < 0.9 * report["loss"][0][1]
    assert min(loss for _, loss in report["held_out_loss"]) == pytest.approx(report["best_loss"], abs=1e-4)
    record = json.loads(written["model/pretrained.json"])
    assert record["checkpoint"] == kobart["model"]["kobart"]["checkpoint"] and "model.safetensors" in record["sha256"]
    assert "pretrain: 7 dialogues: 7 of train" in capsys.readouterr().out


def test_the_noise_is_new_in_each_epoch_and_fixed_for_what_is_held_out(kobart: dict[str, Any]) -> None:
    params = changed(kobart)
    setup = family_named("kobart").prepare_pretraining(params.model_copy(update={"training": params.pretrain.as_training()}))
    collator = stage.TextCollator(stage.encoder_of(setup, params), lambda rows: {"rows": rows}, seed=42)
    row = {"text": DIALOGUES[3], "row": 0, "held_out": False, "length": 9}

    def read(epoch: int, **other: Any) -> Any:
        collator.epoch = epoch
        return collator([row | other])["rows"][0]

    first = read(0)
    assert first == read(0) and first["input_ids"] != read(1)["input_ids"] != read(0, row=1)["input_ids"]
    assert first["labels"] == read(1)["labels"], "the whole dialogue in its order"
    assert setup.tokenizer.decode(first["labels"][:-1]) == DIALOGUES[3]
    assert read(0, held_out=True) == read(5, held_out=True)


def test_the_next_token_is_the_target_of_every_token_but_the_first(chat_tokenizer: Any) -> None:
    """This tokenizer begins texts with a token of its own."""
    ids, labels = stage.encode_next_token(DIALOGUES[0], chat_tokenizer, 200)
    start, end = chat_tokenizer.bos_token_id, chat_tokenizer.eos_token_id
    assert (ids[0], ids[-1], ids.count(start), ids.count(end)) == (start, end, 1, 1)
    assert labels == [-100, *ids[1:]] and chat_tokenizer.decode(ids[1:-1]) == DIALOGUES[0]
    assert len(stage.encode_next_token(DIALOGUES[3], chat_tokenizer, 9)[0]) == 9


@pytest.fixture
def qlora(values: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    values["model"]["family"] = "qlora"
    values["model"]["qlora"]["checkpoint"] = str(make_base(tmp_path / "llama", "llama"))
    return values


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.very_slow)])
def test_a_decoder_only_model_becomes_a_checkpoint_without_an_adapter(
    qlora: dict[str, Any], processed: Path, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params = changed(qlora, method=method, num_train_epochs=8)
    written = pretrained(params, processed, "a")
    report = json.loads(written["metrics/pretrain.json"])
    assert report["loss"][-1][1] < report["loss"][0][1]
    names = {name for name in written if name.startswith("model/")}
    assert {"model/config.json", "model/model.safetensors", "model/chat_template.jinja"} <= names
    assert not any("adapter" in name for name in names)
    # The loss of the first step is the cross-entropy of the base.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(qlora["model"]["qlora"]["checkpoint"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a/model")
    texts, _ = hold_out(DIALOGUES[:7], params.pretrain.seed)
    ids = [stage.encode_next_token(text, tokenizer, 128)[0] for text in texts]
    with torch.inference_mode():
        losses = [
            base(torch.tensor([row])).logits[0, :-1].log_softmax(-1).gather(1, torch.tensor(row)[1:, None]) for row in ids
        ]
    plain = -torch.cat(losses).mean().item()
    assert report["loss"][0][1] == pytest.approx(plain, rel=0.15), "two of the six texts, quantized"
    # Training goes on from it.
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    (tmp_path / "a/model").rename(PRETRAINED)
    start = params.after_pretraining()
    assert (start.model.qlora.checkpoint, start.model.qlora.revision) == (PRETRAINED, None)
    setup = family_named("qlora").prepare_training(start)
    with atomic_folder(tmp_path / "adapter") as folder:
        setup.save(folder)
    assert json.loads((tmp_path / "adapter/base.json").read_text(encoding="utf-8"))["checkpoint"] == PRETRAINED
    family_named("qlora").load_trained(tmp_path / "adapter", start)
    with pytest.raises(YoyakError, match=r"this adapter belongs to models/pretrained"):
        family_named("qlora").load_trained(tmp_path / "adapter", params)
    with atomic_folder(tmp_path / "merged") as folder:  # as `yoyak package` and `yoyak merge` do
        adapters.merge(tmp_path / "adapter", folder)
    Path(PRETRAINED).rename(tmp_path / "gone")
    assert family_named("qlora").load_trained(tmp_path / "merged").model.num_parameters() == base.num_parameters()
    with pytest.raises(YoyakError, match=r"the folder models/pretrained of its base is not here"):
        adapters.merge(tmp_path / "adapter", tmp_path / "nothing")


def test_without_the_stage_training_starts_from_the_checkpoint(values: dict[str, Any]) -> None:
    params = parse_params(values, source="test")
    assert params.after_pretraining() is params and params.pretraining_report() == {}
    on = changed(values)
    assert on.after_pretraining().model.kobart.checkpoint == PRETRAINED
    assert on.after_pretraining().model.qlora == on.model.qlora, "only the chosen family"
    assert on.pretraining_report()["pretrained"]["from"] == on.model.kobart.checkpoint
    values["model"]["family"] = "endpoint"
    served = parse_params(values, source="test")
    assert served.after_pretraining() is served and served.pretraining_report() == {}


@pytest.mark.parametrize("change", [{}, {"num_train_epochs": 1}])
def test_the_stage_that_is_off_leaves_a_note(
    values: dict[str, Any], change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is off by its param, or because the model is on a server."""
    values["pretrain"] |= change
    values["model"]["family"] = "endpoint" if change else "kobart"
    monkeypatch.chdir(tmp_path)
    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)
    main(Path("processed"), Path("models/pretrained"), Path("metrics/pretrain"))
    note = read_json(Path("metrics/pretrain/pretrain.json"))["skipped"]
    assert note.startswith("nothing to do, ") and ("endpoint" in note) == bool(change)
    assert Path("models/pretrained/not-chosen.txt").read_text(encoding="utf-8") == f"pretrain: {note}\n"
