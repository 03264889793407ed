import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT, SUMMARIES, save_csv
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.models import causal_lm
from yoyak.system.errors import YoyakError
from yoyak.training import memory_checks, preflight

pytestmark = pytest.mark.slow  # importing the trainer takes over a second

BEFORE_LOADING = ["params", "versions", "dvc", "trackers", "device", "score", "data", "augment", "pretrain"]
NAMES = [*BEFORE_LOADING, "checkpoint", "lengths", "precision", "memory", "one step"]


@pytest.fixture
def ready(values: dict[str, Any], tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """Values of params with which all checks pass."""
    for split, indices in (("train", range(4)), ("dev", range(4, 6)), ("test", range(6, 8))):
        rows = [{"fname": f"{split}_{i}", "dialogue": DIALOGUES[i], "summary": SUMMARIES[i]} for i in indices]
        save_csv(tmp_path / "data" / f"{split}.csv", rows)
    values["data"]["dir"] = str(tmp_path / "data")
    values["model"]["kobart"] |= {"checkpoint": str(tiny), "revision": None}
    return values


def report(values: dict[str, Any], capsys: pytest.CaptureFixture[str], *, step: bool = True) -> tuple[bool, dict[str, str]]:
    """Whether all passed, and each check's lines by its name."""
    passed = preflight.run_checks(parse_params(values, source="test"), step=step)
    lines = re.split(r"\n(?=ok |FAIL )", capsys.readouterr().out.rstrip("\n"))
    return passed, {line[6:].split(":")[0]: line for line in lines}


def test_all_checks_pass(ready: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    passed, lines = report(ready, capsys)
    assert passed
    assert list(lines) == NAMES
    assert all(line.startswith("ok    ") for line in lines.values())
    assert lines["data"].endswith("train 4 rows, dev 2 rows, test 2 rows")
    assert "(bart)" in lines["checkpoint"]
    assert "python-mecab-ko 1.3.7" in lines["versions"]
    first, after = (float(part.split()[-1]) for part in lines["one step"].split(","))
    assert 0 < after != first > 0  # with dropout, one step may raise it
    assert "float32" in lines["precision"]


def test_texts_that_are_too_long_are_told_with_the_value_that_keeps_all(
    ready: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ready["tokenizer"] |= {"max_input_length": 40, "max_target_length": 8}
    assert preflight.run_checks(parse_params(ready, source="test"), step=False)
    found = capsys.readouterr().out.partition("ok    lengths: ")[2].partition("ok    precision")[0]
    assert found.startswith("the first 1,000 rows of each split\n        train: ")
    dialogues, summaries = (line for line in found.split("\n") if "train: " in line)
    assert "tokenizer.max_input_length (40 tokens)" in dialogues and "left out from the middle" in dialogues
    assert "of 4 summaries" in summaries and "tokenizer.max_target_length (8 tokens) and lose their end" in summaries
    assert dialogues.endswith("would keep all; the model allows up to 256")
    assert "tokenizer.max_target_length 8 cuts" in found and "95 % need" in found
    assert "dvc exp run -S tokenizer.max_input_length=" in found and "-S generation.max_new_tokens=" in found
    assert "test: " in found and "of 2 summaries" not in found.partition("test: ")[2]


def test_debug_and_uncommitted_params_are_told(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "uncommitted_note", lambda: "params.yaml differs from the last commit:\n  x: 1 → 2")
    assert preflight.check_params(preflight.Subject(params)) == (
        "valid\n      params.yaml differs from the last commit:\n        x: 1 → 2"
    )
    debug = params.model_copy(update={"training": params.training.model_copy(update={"debug": True})})
    assert "WARNING: training.debug is true" in preflight.check_params(preflight.Subject(debug))


def test_the_step_can_be_left_out(ready: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    passed, lines = report(ready, capsys, step=False)
    assert passed
    assert list(lines) == NAMES[:-1]


def break_data(values: dict[str, Any]) -> None:
    save_csv(Path(values["data"]["dir"]) / "dev.csv", [{"fname": "a", "dialogue": "아무도 없다", "summary": "가"}])


def leak(values: dict[str, Any]) -> None:
    save_csv(Path(values["data"]["dir"]) / "dev.csv", [{"fname": "a", "dialogue": DIALOGUES[0], "summary": "가나다"}])


@pytest.mark.parametrize(
    ("damage", "check", "message"),
    [
        (lambda v: Path(v["data"]["dir"], "test.csv").unlink(), "data", "test.csv: no such file"),
        (break_data, "data", "dev.csv:2 (fname a): no_speaker"),
        (leak, "data", "1 dialogue occurs in two splits"),
        (lambda v: Path(v["model"]["kobart"]["checkpoint"], "model.safetensors").unlink(), "checkpoint", "no file named"),
        (lambda v: v["model"]["kobart"].update(checkpoint="nowhere/at-all"), "checkpoint", "no such folder"),
        (lambda v: v["tokenizer"].update(max_input_length=500), "checkpoint", "more than the 256 positions"),
        (lambda v: v["training"].update(precision="float16"), "checkpoint", "float16 needs a GPU"),
    ],
)
def test_a_fault_is_named_and_the_other_checks_still_run(
    ready: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    damage: Any,
    check: str,
    message: str,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    damage(ready)
    passed, lines = report(ready, capsys, step=False)
    assert not passed
    assert lines[check].startswith("FAIL  ")
    assert message in "\n".join(lines.values())
    # Checks that need a model are left out without one. All others run.
    expected = [*BEFORE_LOADING, "checkpoint"] if check == "checkpoint" else NAMES[:-1]
    if check == "data":
        expected = [name for name in expected if name != "lengths"]  # this check reads the data too
    assert [name for name in NAMES if name in lines] == expected
    assert all(lines[name].startswith("ok    ") for name in expected if name != check)


def test_too_little_memory_or_disk_fails(ready: dict[str, Any], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from yoyak.models import memory_estimate
    from yoyak.system.errors import YoyakError

    monkeypatch.setattr(memory_checks, "available_memory_bytes", lambda: 1000)
    assert "are free; choose a smaller checkpoint" in report(ready, capsys, step=False)[1]["memory"]
    monkeypatch.undo()
    monkeypatch.setattr(memory_estimate, "estimate_for_params", lambda params: SimpleNamespace(peak=2**50))
    assert report(ready, capsys, step=False)[1]["memory"].startswith("ok"), "a CPU reads a batch in parts"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(memory_checks, "available_memory_bytes", lambda: 2**40)
    model: Any = type("Model", (), {"num_parameters": lambda self: 9})()
    with pytest.raises(YoyakError, match=r"needs about 1048576\.0 GiB of memory, 1024\.0 GiB are free; halve"):
        memory_checks.check_full_training(model, parse_params(ready, source="test"))
    monkeypatch.undo()

    class Usage:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    passed, lines = report(ready, capsys, step=False)
    assert not passed
    assert "lower training.save_total_limit" in lines["memory"]


def test_a_missing_package_fails(ready: dict[str, Any], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PACKAGES", ("torch", "no-such-package"))
    passed, lines = report(ready, capsys, step=False)
    assert not passed
    assert lines["versions"].startswith("FAIL  ")
    assert "no-such-package" in lines["versions"]


def test_an_unknown_tracker_fails(ready: dict[str, Any], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_TRACKERS", "mlflw")
    passed, lines = report(ready, capsys, step=False)
    assert not passed
    assert lines["trackers"].startswith("FAIL") and "there is no tracker 'mlflw'" in lines["trackers"]


@pytest.mark.parametrize("broken", [True, False])
def test_the_exit_status_of_the_command(
    ready: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    import sys

    from ruamel.yaml import YAML

    from yoyak.cli import main as cli

    if broken:
        ready["data"]["dir"] = "nowhere"
    monkeypatch.chdir(tmp_path)
    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(ready, file)
    monkeypatch.setattr(sys, "argv", ["yoyak", "doctor", "--no-step"])
    if broken:
        with pytest.raises(SystemExit, match="at least one check failed"):
            cli.main()
    else:
        cli.main()


@pytest.fixture
def chats(ready: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The same for a decoder-only model."""
    from tests.models.test_lora import make_base

    ready["model"]["family"] = "qlora"
    ready["model"]["qlora"]["checkpoint"] = str(make_base(tmp_path / "chat", "llama"))
    return ready


def test_all_checks_pass_for_a_decoder_only_model(chats: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    passed, lines = report(chats, capsys)
    assert passed
    assert list(lines) == [*BEFORE_LOADING, "memory", "checkpoint", "lengths", "precision", "one step"]
    assert "(llama)" in lines["checkpoint"] and "LoRA on down_proj" in lines["checkpoint"]
    assert "estimated peak" in lines["memory"]
    first, after = (float(part.split()[-1]) for part in lines["one step"].split(","))
    assert 0 < after < first


def test_a_model_that_does_not_fit_is_not_loaded(
    chats: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(memory_checks, "available_memory_bytes", lambda: 700 * 2**20)
    monkeypatch.setattr(causal_lm, "load", lambda *_, **__: pytest.fail("the model is loaded"))
    chats["training"]["per_device_train_batch_size"] = 64
    chats["tokenizer"] |= {"max_input_length": 400, "max_target_length": 100}
    passed, lines = report(chats, capsys)
    assert not passed
    assert lines["memory"].startswith("FAIL") and "; set training.gradient_checkpointing=True, " in lines["memory"]
    assert "checkpoint" not in lines and "one step" not in lines


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values["tokenizer"].update(max_input_length=30), "tokenizer.max_input_length: 30 is too small"),
        (lambda values: values["model"]["qlora"].update(attention="flash_attention_2"), "model.qlora.attention"),
    ],
)
def test_params_that_a_decoder_only_model_cannot_use_are_named(
    chats: dict[str, Any], capsys: pytest.CaptureFixture[str], change: Any, named: str
) -> None:
    change(chats)
    passed, lines = report(chats, capsys)
    assert not passed
    assert any(line.startswith("FAIL") and named in line for line in lines.values())


def test_a_missing_chat_template_is_named(chats: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (Path(chats["model"]["qlora"]["checkpoint"]) / "chat_template.jinja").unlink()
    passed, lines = report(chats, capsys)
    assert not passed and "choose prompt.style: instruction" in lines["one step"]
    chats["prompt"]["style"] = "instruction"
    passed, _ = report(chats, capsys)
    assert passed


def test_pretraining_is_checked_when_it_is_on(
    ready: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(ready, capsys)[1]["pretrain"] == "ok    pretrain: off"
    ready["pretrain"] |= {"num_train_epochs": 2, "texts": "both", "dialogues": str(tmp_path / "data/dev.csv")}
    line = report(ready, capsys)[1]["pretrain"]
    assert re.match(r"ok    pretrain: 2 epochs over the dialogues of train and 2 dialogues of .*dev\.csv; 0\.00 GiB of ", line)
    (tmp_path / "nothing").mkdir()
    ready["pretrain"]["dialogues"] = str(tmp_path / "nothing")
    passed, lines = report(ready, capsys)
    assert not passed and "pretrain.dialogues" in lines["pretrain"] and "has no .csv or .jsonl file" in lines["pretrain"]


def test_pretraining_that_does_not_fit_says_what_to_lower(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token is a target, so the logits of a decoder-only model take more than in training."""
    values["model"]["family"] = "qlora"
    values["model"]["qlora"]["checkpoint"] = str(ROOT / "models/base/llama-tiny")
    values["pretrain"] |= {"num_train_epochs": 1, "method": "lora"}
    params = parse_params(values, source="test")
    needed = {}
    for method in ("lora", "full"):
        values["pretrain"]["method"] = method
        needed[method] = float(memory_checks.check_pretraining(parse_params(values, source="test")).split()[0])
    assert 0 < needed["lora"] < needed["full"]
    monkeypatch.setattr(memory_checks, "available_memory_bytes", lambda: 1000)
    with pytest.raises(YoyakError, match=r"pre-training needs .* GiB of memory.*pretrain\.per_device_train_batch_size"):
        memory_checks.check_pretraining(params)
