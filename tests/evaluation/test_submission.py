"""Files of predictions: in the right order, and fit to be handed in."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from yoyak.evaluation.submission import MAX_CHARACTERS, check_submission, longest_allowed, read_predictions, summary_faults
from yoyak.system.csv_files import write_csv
from yoyak.system.errors import YoyakError

DIALOGUE = "#Person1#: 내일 아침 열 시에 학교 앞 카페에서 만나서 같이 갈까?\n#Person2#: 좋아요, #PhoneNumber#로 전화하세요."
GOOD = "#Person1#은 #Person2#에게 내일 만나자고 합니다."
TEST = [f"test_{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("summary", "faults"),
    [
        (GOOD, []),
        ("두 사람은 #PhoneNumber#로 전화하기로 합니다.", []),
        ("", ["empty"]),
        (" \n\u3000", ["empty"]),
        ("\u3164", ["empty"]),
        ("\u2800\u115f\u1160\uffa0", ["empty"]),
        ("\u200b" * 12, ["empty"]),
        ("두 사람은 내일\u3164만나기로 합니다.", ["invisible characters"]),
        ("두 사람은 내일\u200b 만나기로 합니다.", ["invisible characters"]),
        ("두 사람은 👨\u200d👩\u200d👧 내일 만나기로 합니다.", []),
        ("두 사람은 내일 만나기로 하고 #@이모티콘#", []),
        ("#@이름#은 내일 만나기로 하고 #@시스템#사진#", []),
        ("＃Person1＃은 #Person2#에게 내일 &lt;만나자&gt;고<br>합니다.", ["full width tag", "html break", "html entity"]),
        (unicodedata.normalize("NFD", "두 사람은 내일 만납니다."), ["decomposed hangul"]),
        ("'- 두 사람은 내일 만나기로 합니다.", ["apostrophe before =, +, - or @, as in a copy for spreadsheets"]),
        ("만난다.", ["very short"]),
        ("만" * 500, []),
        ("만" * 501, ["too long"]),
        ("내일 아침 열 시에 학교 앞 카페에서 만나서 같이 갈까?", ["copies the dialogue"]),
        ("#Person1#: 내일 볼까? #Person2#: 좋아요 그래요", ["copies the dialogue"]),
        ("두 사람은 내일 만나기로 하고 #Perso", ["half-written tag"]),
        ("두 사람은 내일 만나기로 하고 #", ["half-written tag"]),
        ("#Person1 은 내일 만나자고 합니다.", ["half-written tag"]),
        ("#Person1#은 #FlightNumber#를 묻습니다.", ["unknown tag"]),
        ("#Person3#은 내일 만나자고 합니다.", ["tag that is not in the dialogue"]),
        ("두 사람은 #Email#로 연락하기로 합니다.", ["tag that is not in the dialogue"]),
        ("두 사람은 내일 \ufffd 만나기로 합니다.", ["damaged text"]),
        ("두 사람은 내일\x08 만나기로 합니다.", ["damaged text"]),
        ("두 사람은 내일\n만나기로 합니다.", ["newline"]),
        ("nan", ["no text (nan, None, null)"]),
        ("NaN", ["no text (nan, None, null)"]),
        (" None", ["no text (nan, None, null)"]),
        ("null", ["no text (nan, None, null)"]),
        (f"<think>두 사람</think> {GOOD}", ["artefact: reasoning"]),
        (f"```{GOOD}```", ["artefact: code_fence"]),
        (f"요약: {GOOD}", ["artefact: prefix"]),
        (f'"{GOOD}"', ["artefact: quotes"]),
        ("두 사람은 1번# 문을 지나 # 3호로 갑니다.", []),
    ],
)
def test_faults_of_one_summary(summary: str, faults: list[str]) -> None:
    assert summary_faults(summary, DIALOGUE) == faults


def test_the_tags_of_a_damaged_dialogue_are_recognized() -> None:
    dirty = "#사람1#: 내일 볼까?\\n Person2: 좋아요"
    assert summary_faults("#Person1#은 #Person2#에게 내일 보자고 합니다.", dirty) == []
    assert summary_faults("#Person3#은 #Person2#에게 내일 보자고 합니다.", dirty) == ["tag that is not in the dialogue"]
    assert summary_faults(GOOD, "#Person1#: 깨진 글\x1b\n#Person2#: 네") == []  # what cannot be repaired is taken as it is
    assert summary_faults(GOOD, "") == []  # not known: a row of another file


@pytest.fixture
def test_csv(tmp_path: Path) -> Path:
    rows = [{"fname": name, "dialogue": f"{DIALOGUE} {name}"} for name in TEST]
    write_csv(tmp_path / "test.csv", rows, columns=["fname", "dialogue"])
    return tmp_path / "test.csv"


def submission(folder: Path, summaries: dict[str, str]) -> Path:
    rows = [{"fname": name, "summary": text} for name, text in summaries.items()]
    write_csv(folder / "submission.csv", rows, columns=["fname", "summary"])
    return folder / "submission.csv"


def fit() -> dict[str, str]:
    return {name: f"{GOOD} {number}번째" for number, name in enumerate(TEST)}


def test_a_fit_submission(test_csv: Path) -> None:
    assert check_submission(submission(test_csv.parent, fit()), test=test_csv) == ([], [])


@pytest.mark.parametrize(
    ("summaries", "messages"),
    [
        ({name: text for name, text in fit().items() if name != "test_2"}, ["5 rows; the test file has 6", "test_2"]),
        (fit() | {"test_9": GOOD}, ["7 rows; the test file has 6", "not in the test file: 1 (test_9)"]),
        (dict(reversed(fit().items())), ["another order", "row 1 is test_5; expected test_0"]),
        (fit() | {"test_3": "nan"}, ["no text (nan, None, null): 1 row: {path}:5 (fname test_3)"]),
        (fit() | {"test_3": f"<think>음</think>{GOOD}"}, ["artefact: reasoning: 1 row: {path}:5 (fname test_3)"]),
        (fit() | {"test_3": ""}, ["empty: 1 row: {path}:5 (fname test_3)"]),
        (
            fit() | {"test_3": "내일 아침 열 시에 학교 앞 카페에서 만나서 같이 갈까?"},
            ["copies the dialogue: 1 row: {path}:5 (fname test_3)"],
        ),
        (dict.fromkeys(TEST, GOOD), ["only 1 distinct summaries in 6 rows"]),
        (dict.fromkeys(TEST, "") | {"x": ""}, ["empty: 7 rows: {path}:2", "(fname test_4), …"]),
        (
            fit() | {"test_3": "\u200b" * 12, "test_4": "\u3164"},
            ["empty: 2 rows: {path}:5 (fname test_3), {path}:6 (fname test_4)"],
        ),
    ],
)
def test_an_unfit_submission_names_its_faults(test_csv: Path, summaries: dict[str, str], messages: list[str]) -> None:
    path = submission(test_csv.parent, summaries)
    errors, _ = check_submission(path, test=test_csv)
    assert [part for part in messages if part.format(path=path) not in "\n".join(errors)] == []


def test_a_warning_is_not_an_error(test_csv: Path) -> None:
    path = submission(test_csv.parent, fit() | {"test_1": "만난다.", "test_2": "#Person3#은 내일 만나자고 합니다."})
    errors, warnings = check_submission(path, test=test_csv)
    assert errors == []
    assert warnings == [
        f"tag that is not in the dialogue: 1 row: {path}:4 (fname test_2)",
        f"very short: 1 row: {path}:3 (fname test_1)",
    ]


def test_a_row_that_occurs_twice(test_csv: Path) -> None:
    path = submission(test_csv.parent, fit())
    path.write_text(path.read_text(encoding="utf-8").replace("test_1,", "test_0,"), encoding="utf-8")
    errors, _ = check_submission(path, test=test_csv)
    assert errors == ["fname occurs twice: 1 (test_0)", "fname is missing: 1 (test_1)"]


@pytest.mark.parametrize("columns", [["summary", "fname"], ["fname", "summary", "topic"], ["id", "fname", "summary"]])
def test_other_columns_are_unfit(test_csv: Path, columns: list[str]) -> None:
    path = test_csv.parent / "submission.csv"
    rows = [{"fname": name, "summary": text, "topic": "", "id": "1"} for name, text in fit().items()]
    write_csv(path, [{column: row[column] for column in columns} for row in rows], columns=columns)
    errors, _ = check_submission(path, test=test_csv)
    assert errors == [f"the columns are {', '.join(columns)}; expected fname, summary"]


def test_an_fname_that_the_test_file_has_twice(test_csv: Path) -> None:
    path = submission(test_csv.parent, fit())
    test_csv.write_text(test_csv.read_text(encoding="utf-8").replace("test_1,", "test_0,"), encoding="utf-8")
    with pytest.raises(YoyakError, match=r"test\.csv:4 \(fname test_0\): this fname occurs twice"):
        check_submission(path, test=test_csv)


def test_a_file_that_is_no_submission(test_csv: Path) -> None:
    with pytest.raises(YoyakError, match="no column summary"):
        check_submission(test_csv, test=test_csv)


def test_read_predictions_in_order(tmp_path: Path) -> None:
    path = submission(tmp_path, fit())
    assert read_predictions(path, fnames=TEST) == list(fit().values())


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ([*TEST[:2], *TEST[3:]], r"6 rows; the references have 5\n  fname is not in the references: 1 \(test_2\)"),
        ([*TEST, "test_6"], r"6 rows; the references have 7\n  fname is missing: 1 \(test_6\)"),
        ([*TEST[:5], "x"], r"fname is missing: 1 \(x\)\n  fname is not in the references: 1 \(test_5\)"),
    ],
)
def test_read_predictions_names_missing_and_unknown_rows(tmp_path: Path, expected: list[str], message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        read_predictions(submission(tmp_path, fit()), fnames=expected)


def test_read_predictions_matches_rows_by_fname(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_predictions(submission(tmp_path, fit()), fnames=TEST[::-1]) == list(fit().values())[::-1]
    assert "they are matched by fname" in capsys.readouterr().err


def test_a_name_in_another_unicode_form_matches_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = submission(tmp_path, {unicodedata.normalize("NFD", "평가_0"): GOOD})
    assert read_predictions(path, fnames=["평가_0"]) == [GOOD]
    assert "U+1111 U+1167 U+11BC at character 1; expected U+D3C9 U+AC00 U+005F" in capsys.readouterr().err
    write_csv(tmp_path / "test.csv", [{"fname": "평가_0", "dialogue": DIALOGUE}], columns=["fname", "dialogue"])
    errors, _ = check_submission(path, test=tmp_path / "test.csv")
    assert "fname looks the same, but has other characters: " in errors[-1] and "U+1111" in errors[-1]


def test_a_name_with_an_outer_space_or_an_invisible_character_matches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = submission(tmp_path, {"test_0 ": GOOD, "test_1\u200b": GOOD})
    assert read_predictions(path, fnames=["test_0", "test_1"]) == [GOOD, GOOD]
    assert "2 fnames look like in the references, but not of the same characters: test_0  (U+0020 at" in capsys.readouterr().err


def test_summaries_without_any_text_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_predictions(submission(tmp_path, {"a": GOOD, "b": "\u3164"}), fnames=["a", "b"]) == [GOOD, "\u3164"]
    assert "submission.csv:3 (fname b): 1 summary without any text" in capsys.readouterr().err


def test_a_protected_name_is_explained(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="an apostrophe in front, as in a copy for spreadsheets"):
        read_predictions(submission(tmp_path, {"'=1": GOOD}), fnames=["=1"])


@pytest.mark.parametrize(
    ("change", "error", "warning"),
    [
        (lambda text: "\ufeff" + text, "", "byte order mark"),
        (lambda text: text.replace(",", ";"), 'separated by ";"', ""),
        (lambda text: text.replace("\n", ",\n"), "1 column without a name", ""),
        (lambda text: text + ",\n", "", "1 blank row skipped"),
    ],
)
def test_a_submission_that_only_yoyak_reads_is_told(
    test_csv: Path, change: Callable[[str], str], error: str, warning: str
) -> None:
    path = submission(test_csv.parent, fit())
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    errors, warnings = check_submission(path, test=test_csv)
    assert (len(errors), len(warnings)) == (bool(error), bool(warning))
    assert error in "".join(errors) and warning in "".join(warnings)


def test_the_longest_summary_follows_the_train_split(tmp_path: Path) -> None:
    train = tmp_path / "train.csv"
    assert longest_allowed(train) == MAX_CHARACTERS
    train.write_text(f"fname,summary\na,짧다.\nb,{'가' * 900}\n", encoding="utf-8")
    assert longest_allowed(train) == 900
    assert summary_faults("가" * 900, "", longest=900) == []
    assert summary_faults("가" * 901, "", longest=900) == ["too long"]
