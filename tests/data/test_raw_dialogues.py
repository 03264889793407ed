from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, save_csv
from yoyak.config.params import parse_params
from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.raw_dialogues import prepare_dialogue, prepare_row, read_dialogues
from yoyak.system.errors import YoyakError


def settings(values: dict[str, Any], **changes: str) -> Preprocess:
    return parse_params(values | {"preprocess": values["preprocess"] | changes}, source="test").preprocess


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "#Person1#: 안녕 웃음\n#Person2#: 네"),
        ({"noise": "minimal"}, "#Person1#: 안녕ㅋㅋㅋ\n#Person2#: 네"),
        ({"person_tags": "simplify"}, "P1: 안녕 웃음\nP2: 네"),
        ({"person_tags": "abstract"}, "화자1: 안녕 웃음\n화자2: 네"),
    ],
)
def test_a_dialogue_is_prepared_as_the_pipeline_does(values: dict[str, Any], changes: dict[str, str], expected: str) -> None:
    chosen = settings(values, **({"noise": "moderate", "person_tags": "keep_original"} | changes))
    assert prepare_dialogue("Person1 :  안녕ㅋㅋㅋ\r\n#사람2#: 네 ", chosen)[0] == expected


@pytest.mark.parametrize("text", ["", "   \n", "안녕하세요?", "#Person1#: 안\0녕", "#Person1#: " + "가" * 50_000])
def test_a_text_that_is_not_a_dialogue_is_refused(values: dict[str, Any], text: str) -> None:
    chosen = settings(values)
    with pytest.raises(BadDialogueError) as reason:
        prepare_dialogue(text, chosen)
    with pytest.raises(YoyakError) as error:
        prepare_row(text, chosen, source="note.txt")
    assert str(error.value).startswith(f"note.txt: {REASONS[str(reason.value)]}")


def test_a_text_without_a_speaker_names_what_was_found_and_what_is_expected(values: dict[str, Any]) -> None:
    with pytest.raises(YoyakError) as error:
        prepare_row("민수: 네", settings(values), source="note.txt")
    assert str(error.value) == (
        'note.txt: no speaker tag with a colon; expected lines such as "#Person1#: 안녕하세요."; '
        '`yoyak import` turns names and other labels into tags (found "민수:")'
    )


def test_lines_without_a_speaker_are_told(values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_row("#Person1#: 밥?\n민수: 네", settings(values), source="note.txt")
    assert 'note.txt: 1 line has no speaker tag and joined the turn above, such as note.txt: "민수:"' in capsys.readouterr().err
    table = [{"fname": "a", "dialogue": "#Person1#: 밥?\n네"}, {"fname": "b", "dialogue": "#Person1#: 밥?"}]
    read_dialogues(save_csv(tmp_path / "in.csv", table), settings(values))
    assert 'in.csv:2 (fname a): "네"' in capsys.readouterr().err


def test_a_text_whose_tags_could_not_be_restored_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(BadDialogueError, match="simplify_could_not_be_undone"):
        prepare_dialogue("#Person1#: P1 어디야?", settings(values, person_tags="simplify"))


def test_a_csv_keeps_its_order_and_names(values: dict[str, Any], tmp_path: Path) -> None:
    table = [{"topic": " 병원\n예약 ", "dialogue": text, "fname": f'이름 "{row}", {row}'} for row, text in enumerate(DIALOGUES)]
    rows = read_dialogues(save_csv(tmp_path / "in.csv", table), settings(values))
    assert [row["fname"] for row in rows] == [row["fname"] for row in table]
    assert {row["topic"] for row in rows} == {"병원 예약"}


def test_all_bad_rows_are_named(values: dict[str, Any], tmp_path: Path) -> None:
    table = [{"fname": "a", "dialogue": DIALOGUES[0]}, {"fname": "b", "dialogue": "아무도 없다"}]
    with pytest.raises(YoyakError, match=r"in\.csv:4 \(fname b\): no speaker tag .* \(found \"아무도 없다\"\)$"):
        read_dialogues(save_csv(tmp_path / "in.csv", table), settings(values))
    with pytest.raises(YoyakError, match=r"in\.csv: 30 rows cannot be used:") as error:
        read_dialogues(save_csv(tmp_path / "in.csv", [table[1]] * 30), settings(values))
    assert str(error.value).endswith("\n  and 10 more")


@pytest.mark.parametrize("fname", ["=1+1", "+1", "-1", "@a", "\t=1"])
def test_an_fname_may_start_as_a_formula(values: dict[str, Any], tmp_path: Path, fname: str) -> None:
    source = save_csv(tmp_path / "in.csv", [{"fname": fname, "dialogue": DIALOGUES[0]}])
    assert read_dialogues(source, settings(values))[0]["fname"] == fname
