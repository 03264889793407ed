"""Sets of rows that stay together, and which of two near-duplicates stays."""

from yoyak.data.import_splits import DuplicateFinder, Units, evaluation_wins, split_at_random


def units(count: int, *joined: tuple[int, int]) -> Units:
    found = Units()
    for _ in range(count):
        found.add()
    for pair in joined:
        found.join(*pair)
    return found


def test_shares_are_kept_and_no_split_of_a_small_corpus_is_empty() -> None:
    shares = {"train": 0.9, "dev": 0.05, "test": 0.05}
    for count, expected in ((1000, (900, 50, 50)), (3, (1, 1, 1)), (10, (8, 1, 1))):
        splits = split_at_random(units(count), [str(row) for row in range(count)], shares, seed=1)
        assert tuple(map(splits.count, ("train", "dev", "test"))) == expected


def test_a_set_is_not_divided() -> None:
    joined = units(30, *((row, row + 1) for row in range(0, 30, 2)), (0, 2))
    splits = split_at_random(joined, [str(row) for row in range(30)], {"train": 0.4, "dev": 0.3, "test": 0.3}, seed=1)
    assert all(splits[row] == splits[row + 1] for row in range(0, 30, 2))
    assert splits[0] == splits[3]


def test_what_evaluates_stays_also_among_many_equal_rows() -> None:
    splits = ["train", "train", "dev", "train", "test", "unlabelled"]
    pairs = [(0, 1, 1.0), (0, 2, 1.0), (0, 3, 0.8), (4, 5, 0.9)]
    assert evaluation_wins(pairs, splits) == {0: 2, 1: 2, 3: 2}
    assert evaluation_wins([(0, 1, 0.9), (1, 2, 0.9)], ["test", "dev", "train"]) == {1: 0, 2: 1}


def test_equal_rows_are_compared_with_the_first_one_alone() -> None:
    letters = ["오늘저녁에같이영화를볼까"] * 3 + ["오늘저녁에같이영화를볼까요", "전혀다른이야기를하는대화"]
    finder = DuplicateFinder(letters.__getitem__)
    found = [finder.add(row, text) for row, text in enumerate(letters)]
    assert found[:3] == [[], [(0, 1.0)], [(0, 1.0)]]
    assert [row for row, _ in found[3]] == [0]
    assert found[4] == []
