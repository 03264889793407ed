import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT, save_csv
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.data import tokenization
from yoyak.data.dialogue import BadDialogueError
from yoyak.inference import decoding, summarize
from yoyak.inference.decoding import Output
from yoyak.models import checkpoints, trained
from yoyak.system.errors import YoyakError


@pytest.fixture
def model() -> Any:
    """Nothing but what tells the family: an encoder-decoder, unless a test says otherwise."""
    return SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=True))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tiny: Path, model: Any) -> list[dict[str, Any]]:
    """Calls of the model, which here writes "요약 N: " and the dialogue's first words."""
    calls: list[dict[str, Any]] = []

    def generate(_: object, __: object, ids: list[list[int]], dialogues: list[str], **rest: Any) -> list[Any]:
        calls.append({"ids": ids, "dialogues": list(dialogues), **rest})
        return [Output(f"요약 {at}: {text.split(':')[0]}", hit_limit=False) for at, text in enumerate(dialogues)]

    monkeypatch.setattr(decoding, "generate", generate)
    monkeypatch.setattr(decoding, "choose_writer", lambda model, _, **chosen: (model, chosen))
    monkeypatch.setattr(trained, "load", lambda _: (model, checkpoints.load_tokenizer(str(tiny), None, ())))
    return calls


def rows(*dialogues: str) -> list[dict[str, str]]:
    return [{"dialogue": text} for text in dialogues]


def with_preprocess(values: dict[str, Any], **changes: str) -> Params:
    return parse_params(values | {"preprocess": values["preprocess"] | changes}, source="test")


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
    params = with_preprocess(values, **({"noise": "moderate", "person_tags": "keep_original"} | changes))
    assert summarize.prepare("Person1 :  안녕ㅋㅋㅋ\r\n#사람2#: 네 ", params) == expected


@pytest.mark.parametrize("text", ["", "   \n", "안녕하세요?", "#Person1#: 안\0녕", "#Person1#: " + "가" * 50_000])
def test_what_is_no_dialogue_is_refused(values: dict[str, Any], text: str) -> None:
    params = parse_params(values, source="test")
    with pytest.raises(BadDialogueError):
        summarize.prepare(text, params)
    with pytest.raises(YoyakError, match=r"^note\.txt: \w+; a dialogue has one turn a line"):
        summarize.summarize_text(text, source="note.txt", model=Path("nowhere"), params=params, mend=False)


@pytest.mark.parametrize(("mend", "point"), [(True, "."), (False, "")])
def test_tags_come_back_and_mending_is_a_choice(
    values: dict[str, Any], written: list[dict[str, Any]], mend: bool, point: str
) -> None:
    params = with_preprocess(values, person_tags="abstract")
    text = summarize.summarize_text(DIALOGUES[0], source="-", model=Path("m"), params=params, mend=mend)
    assert written[0]["dialogues"] == [DIALOGUES[0].replace("#Person1#", "화자1").replace("#Person2#", "화자2")]
    assert text == "요약 0: #Person1#" + point


def test_settings_reach_the_model(values: dict[str, Any], written: list[dict[str, Any]], tiny: Path) -> None:
    values["tokenizer"]["max_input_length"] = 20
    params = parse_params(values, source="test")
    summarize.summarize(rows(*DIALOGUES[:2]), model=Path("m"), params=params, mend=False)
    assert written[0]["settings"] == params.generation
    assert written[0]["dialogues"] == [*DIALOGUES[:2]]
    assert written[0]["ids"] == tokenization.encode_inputs(checkpoints.load_tokenizer(str(tiny), None, ()), DIALOGUES[:2], 20)
    assert [len(ids) for ids in written[0]["ids"]] == [20, 20]


def test_the_model_chooses_the_family_whatever_the_params_say(
    values: dict[str, Any], written: list[dict[str, Any]], model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`summarize --model` takes any folder."""
    asked: list[dict[str, Any]] = []

    def encode_rows(given: object, _: object, **rest: Any) -> list[list[int]]:
        asked.append({"rows": given, **rest})
        return [[1]]

    monkeypatch.setattr(tokenization, "encode_rows", encode_rows)
    params = parse_params(values, source="test")
    given = [{"dialogue": DIALOGUES[0], "topic": "여행"}]
    for encoder_decoder, family in ((True, "kobart"), (False, "qlora")):
        model.config.is_encoder_decoder = encoder_decoder
        summarize.summarize(given, model=Path("m"), params=params, mend=False)
        expected = {"family": family, "lengths": params.tokenizer, "ask": params.prompt, "test_rows": given}
        assert asked.pop() == {"rows": given, **expected}
        assert written.pop()["ids"] == [[1]]


@pytest.mark.parametrize(
    ("topics", "subjects"),
    [
        (["여행", " 병원\n예약 "], ["여행", "병원 예약"]),
        (["여행", ""], ["대화", "대화"]),  # not every row has one
        (None, ["대화", "대화"]),
    ],
)
def test_a_csvs_topics_are_named_if_every_row_has_one(
    values: dict[str, Any],
    written: list[dict[str, Any]],
    model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    topics: list[str] | None,
    subjects: list[str],
) -> None:
    model.config.is_encoder_decoder = False
    tokenizer = checkpoints.load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ("#Person1#", "#Person2#"))
    monkeypatch.setattr(trained, "load", lambda _: (model, tokenizer))
    table = [{"fname": str(at), "dialogue": DIALOGUES[at], "topic": topics[at] if topics else ""} for at in range(2)]
    if not topics:
        table = [{"fname": row["fname"], "dialogue": row["dialogue"]} for row in table]
    source = save_csv(tmp_path / "in.csv", table)
    params = parse_params(values, source="test")
    summarize.summarize_csv(source, tmp_path / "out.csv", model=Path("m"), params=params, mend=False)
    for ids, subject, dialogue in zip(written[0]["ids"], subjects, DIALOGUES, strict=False):
        text = tokenizer.decode(ids)
        assert f"위 {subject} 주제에 대한 대화를 요약해주세요." in text
        assert dialogue in text


@pytest.mark.usefixtures("written")
def test_a_csv_keeps_its_order_and_names(values: dict[str, Any], tmp_path: Path) -> None:
    source = save_csv(
        tmp_path / "in.csv",
        [{"topic": "-", "dialogue": text, "fname": f'이름 "{at}", {at}'} for at, text in enumerate(DIALOGUES)],
    )
    target = tmp_path / "new" / "out.csv"
    count = summarize.summarize_csv(source, target, model=Path("m"), params=parse_params(values, source="test"), mend=False)
    assert count == len(DIALOGUES)
    with open(target, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["fname", "summary"]
    assert rows[1:] == [[f'이름 "{at}", {at}', f"요약 {at}: #Person1#"] for at in range(len(DIALOGUES))]


def test_a_bad_row_is_named_and_nothing_is_written(values: dict[str, Any], tmp_path: Path) -> None:
    source = save_csv(
        tmp_path / "in.csv", [{"fname": "a", "dialogue": DIALOGUES[0]}, {"fname": "b", "dialogue": "아무도 없다"}]
    )
    target = tmp_path / "out.csv"
    with pytest.raises(YoyakError, match=r"in\.csv: line 4: b: no_speaker"):
        summarize.summarize_csv(source, target, model=Path("m"), params=parse_params(values, source="test"), mend=False)
    assert not target.exists()


@pytest.mark.parametrize("fname", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_an_fname_that_a_spreadsheet_would_run_is_named(values: dict[str, Any], tmp_path: Path, fname: str) -> None:
    source, target = save_csv(tmp_path / "in.csv", [{"fname": fname, "dialogue": DIALOGUES[0]}]), tmp_path / "out.csv"
    with pytest.raises(YoyakError, match=r"in\.csv: line 2: .*formula_in_fname"):
        summarize.summarize_csv(source, target, model=Path("m"), params=parse_params(values, source="test"), mend=False)
    assert not target.exists()


def test_a_missing_model_says_what_to_do(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="no trained model here; run dvc repro"):
        summarize.summarize(rows(DIALOGUES[0]), model=tmp_path, params=parse_params(values, source="test"), mend=False)


def test_with_the_tiny_model_a_summary_is_a_line_of_text(params: Params, tiny: Path) -> None:
    texts = summarize.summarize(rows(*DIALOGUES), model=tiny, params=params, mend=False)
    assert len(texts) == len(DIALOGUES)
    alone = summarize.summarize(rows(DIALOGUES[3]), model=tiny, params=params, mend=False)
    assert alone == [texts[3]]
    assert len(set(texts)) > 1


def test_a_dialogue_longer_than_the_limit_is_summarized(params: Params, tiny: Path) -> None:
    long = "#Person1#: " + "안녕하세요 " * 2000
    assert len(summarize.summarize(rows(long, DIALOGUES[0]), model=tiny, params=params, mend=False)) == 2


def test_a_text_whose_tags_could_not_come_back_is_refused(values: dict[str, Any]) -> None:
    values["preprocess"]["person_tags"] = "simplify"
    with pytest.raises(BadDialogueError, match="simplify_could_not_be_undone"):
        summarize.prepare("#Person1#: P1 주차장에 세웠어요.", parse_params(values, source="it"))
