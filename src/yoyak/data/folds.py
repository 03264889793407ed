"""k-fold cross-validation: the rows of train in K folds, of which one becomes dev and the others train."""

from pathlib import Path

from yoyak.data.import_splits import DuplicateFinder, Units, split_at_random
from yoyak.data.near_duplicates import spoken_letters
from yoyak.data.split_files import SplitFiles
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import place

SEED = 42


def fold_of_rows(train: SplitFiles, count: int) -> list[int]:
    """The fold of each row, from 1 to `count`, in the order of the file.

    Dialogues that are almost the same are in the same fold, so that no fold is easier because its rows were trained on. Folds
    have the same number of rows, as far as these groups allow. The result depends on the rows alone, not on their order.

    Args:
        train: the files of train. Their dialogues are all in memory at the same time.
        count: number of folds, at least 2.

    Raises:
        YoyakError: if the file cannot be read, an fname occurs twice, or there are fewer groups of rows than folds.
    """
    units = Units()
    names: list[str] = []
    letters: list[str] = []
    unknown: list[str] = []  # the split of each row, which the finder asks for
    finder = DuplicateFinder(lambda row: letters[row], unknown)
    first_places: dict[str, tuple[Path, int]] = {}
    for line, cells, path in train.rows(("fname", "dialogue", "summary")):
        row, fname = units.add(), cells["fname"]
        first_path, first_line = first_places.setdefault(fname, (path, line))
        if (first_path, first_line) != (path, line):
            first = f"line {first_line}" if first_path == path else place(first_path, first_line)
            raise YoyakError(f"{place(path, line, fname)}: this fname occurs in {first} too; each row needs its own")
        names.append(fname)
        unknown.append("")
        letters.append(spoken_letters(cells["dialogue"]))
        for other, _ in finder.add(row, letters[row]):
            units.join(row, other)
    folds = [str(number) for number in range(1, count + 1)]
    assigned = split_at_random(units, names, dict.fromkeys(folds, 1 / count), seed=SEED)
    if len(set(assigned)) < count:
        groups = len({units.root(row) for row in range(len(names))})
        raise YoyakError(
            f"data.folds: {train.path} has {groups} groups of dialogues that are not almost the same, too few for {count} "
            f"folds; set data.folds to at most {groups}"
        )
    return [int(fold) for fold in assigned]
