"""`yoyak search` and `yoyak search-report`: what they hand to the library. tests/search tests the library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import error_of, usage_error_of
from yoyak.cli.main import main

SEARCH = """
parameters:
  training.learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}
set: {training.num_train_epochs: 2, training.seed: 1}
budget: {trials: 10, hours: 5}
jobs: 3
"""


@pytest.fixture
def calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A repository with the searches `small` and `two` (of two stages), and the calls of the library that a test makes."""
    from yoyak.search import run as search_run

    (root / "searches").mkdir()
    (root / "searches" / "small.yaml").write_text(SEARCH, encoding="utf-8")
    (root / "searches" / "two.yaml").write_text(f"{SEARCH}stages: [{{name: wide}}, {{name: narrow}}]\n", encoding="utf-8")
    made: list[dict[str, Any]] = []

    def run_file(plans: Mapping[str, Any], **arguments: Any) -> None:
        made.append({"plans": plans, **arguments})

    monkeypatch.setattr(search_run, "run_search_file", run_file)
    return made


def test_the_file_decides_what_no_option_says(root: Path, calls: list[dict[str, Any]]) -> None:
    main(["search", "small"])
    (call,) = calls
    (plan,) = call["plans"].values()
    assert (plan.budget.trials, plan.budget.hours, plan.jobs) == (10, 5, 3)
    assert plan.set == {"training.num_train_epochs": 2, "training.seed": 1}
    assert (call["name"], call["only_stage"], call["root"], call["source"]) == ("small", None, root, "searches/small.yaml")


def test_options_win_over_the_file(calls: list[dict[str, Any]]) -> None:
    main(
        [
            "search",
            "searches/small.yaml",
            "--trials",
            "4",
            "--hours",
            "0.5",
            "--jobs",
            "1",
            "-S",
            "training.seed=9",
            "--name",
            "n",
        ]
    )
    (call,) = calls
    (plan,) = call["plans"].values()
    assert (plan.budget.trials, plan.budget.hours, plan.jobs, call["name"]) == (4, 0.5, 1, "n")
    assert plan.set == {"training.num_train_epochs": 2, "training.seed": 9}


def test_options_hold_for_all_stages(calls: list[dict[str, Any]]) -> None:
    main(["search", "two", "--stage", "narrow", "--trials", "4"])
    (call,) = calls
    assert {name: plan.budget.trials for name, plan in call["plans"].items()} == {"wide": 4, "narrow": 4}
    assert call["only_stage"] == "narrow"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("smal",), "searches/smal.yaml: no such file; did you mean small?\n  searches/ has: small, two"),
        (("other/small.yaml",), "other/small.yaml: no such file"),
        (("small", "--stage", "wide"), "searches/small.yaml: no stage 'wide'; it has no stages; leave out --stage"),
        (("two", "--stage", "wid"), "searches/two.yaml: no stage 'wid'; its stages are: wide, narrow"),
        (("small", "-S", "training.sed=1"), "training.sed: unknown key (did you mean training.seed?)"),
    ],
)
def test_mistakes_are_named_before_the_search_starts(calls: list[dict[str, Any]], words: tuple[str, ...], message: str) -> None:
    assert message in error_of("search", *words)
    assert calls == []


def test_ctrl_c_during_a_search_says_how_to_continue(
    calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from yoyak.search import run as search_run

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search_run, "run_search_file", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["search", "small"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted; the same command continues the search\n"


@pytest.mark.parametrize(("options", "output"), [((), "search_reports/quick.html"), (("--output", "q.html"), "q.html")])
@pytest.mark.usefixtures("root")
def test_search_report_writes_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], output: str
) -> None:
    from yoyak.reports import search_page

    def write(study: str, path: Path) -> list[str]:
        return [f"{study} in {path}"]

    monkeypatch.setattr(search_page, "write_study_page", write)
    main(["search-report", "quick", *options])
    assert capsys.readouterr().out == f"quick in {output}\n"


@pytest.mark.usefixtures("root")
def test_search_report_without_a_name_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    main(["search-report"])
    assert "no studies yet" in capsys.readouterr().out
    assert "--output needs the name of a study" in usage_error_of(capsys, "search-report", "--output", "a.html")
