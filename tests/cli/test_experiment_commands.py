"""The commands status and exps, with DVC's answers replaced."""

import pytest

from tests.cli.conftest import error_of
from yoyak.cli.main import main
from yoyak.reports import experiments, status
from yoyak.reports.experiments import Experiment

ROWS = [
    Experiment("workspace", True, scores={"rouge_sum": 100.0}, params={"training.seed": 1, "generation.seed": 1}),
    Experiment("better", False, scores={"rouge_sum": 110.0}, params={"training.seed": 2, "generation.seed": 1}),
]


@pytest.fixture(autouse=True)
def _rows(root: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "read_experiments", lambda *_, **__: ROWS)
    monkeypatch.delenv("COLUMNS", raising=False)


def test_exps_shows_what_varies(capsys: pytest.CaptureFixture[str]) -> None:
    main(["exps"])
    assert capsys.readouterr().out.splitlines() == [
        "experiment  rouge_sum  seed",
        "workspace      100.00  1",
        "  better       110.00  2",
    ]


def test_exps_sorts_and_shows_named_params(capsys: pytest.CaptureFixture[str]) -> None:
    main(["exps", "--sort", "rouge_sum", "--param", "generation.seed"])
    assert capsys.readouterr().out.splitlines()[1].split() == ["better", "110.00", "1"]


def test_exps_refuses_an_unknown_or_ambiguous_param() -> None:
    assert error_of("exps", "--param", "seed").endswith("which one? training.seed, generation.seed")
    assert error_of("exps", "--param", "training.sed").endswith("did you mean training.seed?")


def test_status_prints_its_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(status, "status_lines", lambda _: ["running: nothing", "stale: nothing"])
    main(["status"])
    assert capsys.readouterr().out == "running: nothing\nstale: nothing\n"
