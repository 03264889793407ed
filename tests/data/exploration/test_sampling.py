"""The sample of a stream: uniform, and the same for every order and division of the rows."""

import random

from yoyak.data.exploration.sampling import LowestSample, priority
from yoyak.data.exploration.tally import EXAMPLES, Record, Tally


def sample_of(keys: list[str], size: int, seed: int = 1) -> LowestSample[str]:
    sample: LowestSample[str] = LowestSample(size)
    for key in keys:
        sample.add(priority(seed, key), key, key)
    return sample


def test_a_sample_does_not_depend_on_order_or_parts() -> None:
    keys = [f"train:{line}" for line in range(500)]
    whole = list(sample_of(keys, 20))
    shuffled = keys[:]
    random.Random(3).shuffle(shuffled)
    assert list(sample_of(shuffled, 20)) == whole
    first, second = sample_of(keys[:123], 20), sample_of(keys[123:], 20)
    second.merge(first)
    assert list(second) == whole
    assert list(sample_of(keys, 20, seed=2)) != whole


def test_every_row_has_the_same_chance() -> None:
    keys = [str(number) for number in range(10)]
    hits = sum("7" in set(sample_of(keys, 3, seed=seed)) for seed in range(2000))
    assert 520 < hits < 680, "3 of 10 rows in 2,000 samples: 600, with a standard deviation of 20"


def test_equal_ranks_go_by_their_key() -> None:
    sample: LowestSample[str] = LowestSample(2)
    for key in ("c", "a", "b"):
        sample.add(5, key, key)
    assert list(sample) == ["a", "b"]
    assert sample.would_keep(5) and not sample.would_keep(6)


def test_a_tally_keeps_a_few_rows_of_each_key_and_drops_rare_keys() -> None:
    tally = Tally(max_keys=2)
    for number in range(30):
        record = Record(f"f:{number}", "", "train", "", "", "")
        tally.add("often", number, record.place, lambda record=record: record)  # type: ignore[misc]
    assert [record.place for record in tally.examples["often"]] == [f"f:{number}" for number in range(EXAMPLES)]
    for key in "abcd":
        tally.add(key, 0, key)
    assert tally.counts["often"] == 30 and len(tally.counts) <= 4
    assert tally.counts.total() + tally.dropped == 34
