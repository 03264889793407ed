"""`yoyak presets`, `use` and `doctor`."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import error_of, usage_error_of
from yoyak.cli.main import main


@pytest.fixture
def presets(root: Path) -> Path:
    """A folder with two presets: one for a model, one of settings alone."""
    (root / "presets").mkdir()
    (root / "presets" / "small.yaml").write_text("training: {num_train_epochs: 1}\n", encoding="utf-8")
    text = "model: {family: kobart, kobart: {checkpoint: some/model, revision: null}}\n"
    (root / "presets" / "model.yaml").write_text(text, encoding="utf-8")
    return root / "presets"


@pytest.mark.usefixtures("presets")
def test_presets_are_listed_with_their_models(capsys: pytest.CaptureFixture[str]) -> None:
    main(["presets"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["model", "kobart", "some/model"]
    assert second.startswith("small ")
    assert "sets no model" in second


@pytest.mark.usefixtures("presets")
def test_use_writes_a_preset_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["use", "small"])
    assert capsys.readouterr().out == "training.num_train_epochs: 2 → 1\n"
    main(["use", "small"])
    assert capsys.readouterr().out == "params.yaml already has the values of preset small; nothing changed\n"
    assert "small" in error_of("use", "smal")


@pytest.mark.usefixtures("presets")
def test_use_says_how_to_pin_a_checkpoint_without_a_revision(capsys: pytest.CaptureFixture[str]) -> None:
    main(["use", "model"])
    assert "Next step: some/model needs a revision" in (printed := capsys.readouterr().out)
    assert "git ls-remote https://huggingface.co/some/model HEAD" in printed


@pytest.mark.parametrize(("passed", "words"), [(True, ()), (False, ()), (True, ("--no-step",))])
@pytest.mark.usefixtures("root")
def test_doctor_fails_if_a_check_fails(monkeypatch: pytest.MonkeyPatch, passed: bool, words: tuple[str, ...]) -> None:
    from yoyak.training import preflight

    steps: list[bool] = []

    def run_checks(_: object, *, step: bool) -> bool:
        steps.append(step)
        return passed

    monkeypatch.setattr(preflight, "run_checks", run_checks)
    if passed:
        main(["doctor", *words])
    else:
        assert "at least one check failed" in error_of("doctor", *words)
    assert steps == ["--no-step" not in words]


@pytest.mark.usefixtures("root")
def test_doctor_estimates_presets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from yoyak.training import preset_memory

    def table(*_: object, gib: float | None) -> list[str]:
        return [f"against {gib} GiB"]

    monkeypatch.setattr(preset_memory, "preset_table", table)
    main(["doctor", "--presets", "--gib", "24"])
    assert capsys.readouterr().out == "against 24.0 GiB\n"


@pytest.mark.usefixtures("root")
def test_doctor_refuses_options_that_have_no_effect(capsys: Any) -> None:
    assert "--gib works only together with --presets" in usage_error_of(capsys, "doctor", "--gib", "24")
    assert "not allowed with argument" in usage_error_of(capsys, "doctor", "--presets", "--no-step")
