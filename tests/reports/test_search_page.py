"""The report of a study."""

import re
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from tests.search.fakes import scores
from tests.search.test_stored_studies import store_study
from yoyak.reports import search_page
from yoyak.reports.search_page import common_params, count_states, list_studies, write_study_page
from yoyak.search import storage
from yoyak.system.errors import YoyakError


@pytest.fixture(autouse=True)
def _current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(storage.ADDRESS_VARIABLE, raising=False)


def study_of(beams: list[int], rates: list[float]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    distributions = {"beams": CategoricalDistribution([1, 4, 8]), "rate": FloatDistribution(0.0, 1.0)}
    for number, (beam, rate) in enumerate(zip(beams, rates, strict=True)):
        trial = optuna.trial.create_trial(
            params={"beams": beam, "rate": rate}, distributions=distributions, value=float(number)
        )
        study.add_trial(trial)
    return study


def test_common_params_are_frequent_choices_and_similar_numbers() -> None:
    assert common_params(study_of([4, 4, 4, 8], [0.10, 0.11, 0.09, 0.10]).trials) == {
        "beams": "4 (3 of 4 trials)",
        "rate": "about 0.1 (0.09 to 0.11)",
    }
    assert common_params(study_of([4, 4, 8, 8], [0.1, 0.2, 0.1, 0.2]).trials) == {}
    assert common_params(study_of([4], [0.1]).trials) == {}, "one trial has nothing in common with others"


def test_an_interrupted_trial_is_counted_as_an_attempt() -> None:
    study = optuna.create_study()
    assert count_states(study) == "no trials"
    study.tell(study.ask(), 1.0)
    for attributes in ({}, {"failed": "error"}):
        trial = study.ask()
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert count_states(study) == "1 complete, 1 failed (1 attempts were interrupted)"


class _Figures(HTMLParser):
    """Whether each figure (div.plotly-graph-div) and each table lies in a box that scrolls."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.boxes: list[str | None] = []
        self.inside: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        css_class = dict(attrs).get("class")
        if tag == "table" or css_class == "plotly-graph-div":
            self.inside.append("scrollable" in self.boxes)
        if tag == "div":
            self.boxes.append(css_class)

    def handle_endtag(self, tag: str) -> None:
        if tag == "div":
            self.boxes.pop()


def test_the_page_is_complete_and_fits_a_narrow_screen(tmp_path: Path) -> None:
    store_study(tmp_path, commit="0" * 40, tree="0" * 40)
    lines = write_study_page("s", tmp_path / "s.html")
    assert lines[:2] == ["s: 1 complete, 1 failed, 1 pruned, 1 running", "apply the best trial: dvc exp apply s-t0000"]
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    for text in ("<h2>Best trials</h2>", "History of rouge_sum", "it was behind the median", "the loss became nan"):
        assert text in page
    assert not re.search(r"<(script|link)[^>]* (src|href)=", page), "the page needs no network"
    assert 'name="viewport"' in page and ".scrollable{overflow-x:auto}" in page
    inside = _Figures(page).inside
    assert len(inside) >= 4 and all(inside), "what is wide scrolls in its own box, not the whole page"
    assert list_studies() == ["s: 1 complete, 1 failed, 1 pruned, 1 running"]
    assert "DEBUG RUN" not in page


def test_debug_runs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.search.test_stored_studies.scores", lambda *args: scores(*args) | {"debug_run": True})
    store_study(tmp_path, commit="0" * 40, tree="0" * 40)
    write_study_page("s", tmp_path / "s.html")
    assert "WARNING: DEBUG RUN" in (tmp_path / "s.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("count", "drawn"), [(19, False), (20, True)])
def test_the_importance_of_params_needs_enough_trials(count: int, drawn: bool) -> None:
    study = study_of(([1, 4] * 10)[:count], [index / 20 for index in range(count)])
    if drawn:
        assert search_page._importance(study, target_name="rouge_sum").data
    else:
        with pytest.raises(ValueError, match=r"19 finished trials; the importance needs 20: .* a single trial"):
            search_page._importance(study, target_name="rouge_sum")


def test_unknown_and_foreign_studies_are_refused(tmp_path: Path) -> None:
    optuna.create_study(study_name="theirs", storage=f"sqlite:///{tmp_path}/theirs.db")
    with pytest.raises(YoyakError, match=r"^no study x in [^;\n]*\n  there are no studies yet"):
        write_study_page("x", tmp_path / "x.html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(storage.ADDRESS_VARIABLE, f"sqlite:///{tmp_path}/theirs.db")
        with pytest.raises(YoyakError, match="study theirs: yoyak did not begin this study"):
            write_study_page("theirs", tmp_path / "theirs.html")
    assert not list(tmp_path.glob("*.html"))
