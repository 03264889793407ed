"""What a search prints."""

from pathlib import Path

from tests.search.fakes import (
    BEAMS,
    FakeClone,
    plan_of,
    run,
)
from yoyak.search.progress import summary_lines


def test_the_summary_names_the_best_trial_its_ties_and_the_command(root: Path, clone: type[FakeClone]) -> None:
    opened = run(root, plan_of({BEAMS: {"choices": [1, 7, 8]}}, None, sampler={"name": "grid"}))
    message = "\n".join(summary_lines(opened))
    assert "best of 3 finished trials: t0002: rouge_sum 108.00 ± 2.00" in message
    assert (
        "tied with the best (the difference is within ±): t0001" in message
        and "apply the best trial: dvc exp apply s-t0002" in message
    )
    assert "another clone ran it" in message, "the fake clone leaves no experiment"
