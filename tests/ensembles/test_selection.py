"""The greedy choice of members, and the optimism of a choice."""

import numpy as np
import pytest

from yoyak.ensembles.selection import Selection, Subset, Values, describe_choice, measure_optimism

ROWS = 40
ALL = np.arange(ROWS)


def selection(values: dict[Subset, float], *, backward: bool = False, greedy: bool = True, better: bool = False) -> Selection:
    """Ensembles with these means; every row has the mean and a deviation of its own."""
    spread = np.where(ALL % 2, 1.0, -1.0)
    return Selection(lambda subset: values[subset] + spread, 3, greedy=greedy, backward=backward, only_if_better=better, seed=1)


FORWARD = {(0,): 10.0, (1,): 12.0, (2,): 11.0, (1, 2): 11.5, (0, 1): 12.5, (0, 1, 2): 12.4}


def test_a_soup_starts_with_the_best_and_keeps_who_raises_the_mean() -> None:
    assert selection(FORWARD).choose(ALL) == (0, 1), "2 comes second, and lowers the mean; 0 comes third, and raises it"


def test_a_consensus_starts_with_all_and_leaves_out_who_lowers_the_mean() -> None:
    values = FORWARD | {(0, 1, 2): 11.0, (1, 2): 11.8}
    assert selection(values, backward=True).choose(ALL) == (1,), "without 0, the worst, 11.8; then without 2, 12.0"
    assert selection(FORWARD, backward=True).choose(ALL) == (0, 1), "without 0 it is lower, without 2 higher"


def test_without_greedy_all_are_taken() -> None:
    assert selection(FORWARD, greedy=False).choose(ALL) == (0, 1, 2)


def test_only_what_the_paired_test_shows_counts_if_asked_for() -> None:
    noise = np.random.default_rng(0).normal(0, 30, ROWS)
    scores = {(0,): np.full(ROWS, 5.0), (1,): np.full(ROWS, 4.0), (0, 1): 5.5 + noise - noise.mean()}
    for better, chosen in ((False, (0, 1)), (True, (0,))):
        choice = Selection(scores.__getitem__, 2, greedy=True, backward=False, only_if_better=better, seed=1)
        assert choice.choose(ALL) == chosen


def test_a_choice_between_noise_looks_good_only_where_it_was_made() -> None:
    known: dict[Subset, Values] = {}

    def noise(subset: Subset) -> Values:
        return known.setdefault(subset, np.random.default_rng(hash(subset) % 1000).normal(0, 10, 200))

    choice = Selection(noise, 6, greedy=True, backward=True, only_if_better=False, seed=3)
    report = measure_optimism(choice, dialogues=200, halvings=20)
    assert report["optimism"] == pytest.approx(report["on_the_half_that_chose"] - report["on_the_other_half"], abs=2e-4)
    assert report["optimism"] > 1, "the standard error of a mean of a half is 1"


def test_without_a_choice_there_is_no_optimism() -> None:
    report = measure_optimism(selection(FORWARD, greedy=False), dialogues=ROWS, halvings=5)
    assert report["gain_on_the_other_half"] == pytest.approx(0.4) and abs(report["optimism"]) < 1e-9


def test_the_report_compares_with_the_best_member() -> None:
    report = describe_choice(selection(FORWARD), (0, 1), ["a", "b", "c"], halvings=0)
    assert report["best_member"] == "b" and report["against_best_member"]["difference"] == 0.5
    assert [one["used"] for one in report["members"]] == [True, True, False] and "held_out" not in report
