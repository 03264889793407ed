"""Sets of rows that stay together, and which of two near-duplicates stays."""

from yoyak.data.import_splits import MAX_CANDIDATES, DuplicateFinder, Units, evaluation_wins, split_at_random


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
    finder = DuplicateFinder(letters.__getitem__, [""] * 5)
    found = [finder.add(row, text) for row, text in enumerate(letters)]
    assert found[:3] == [[], [(0, 1.0)], [(0, 1.0)]]
    assert [row for row, _ in found[3]] == [0]
    assert found[4] == []


def test_a_row_is_compared_with_few_rows_and_first_with_those_of_other_splits() -> None:
    letters = [f"오늘저녁에극장앞에서만나같이영화를보고밥도먹자{number:03}" for number in range(60)]
    splits = ["test", *["train"] * 59]
    finder = DuplicateFinder(letters.__getitem__, splits)
    found = [finder.add(row, text, split=splits[row]) for row, text in enumerate(letters)]
    assert max(map(len, found)) <= MAX_CANDIDATES
    assert all(0 in dict(pairs) for pairs in found[1:])
