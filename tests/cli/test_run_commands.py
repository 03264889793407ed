"""`yoyak show`, `summarize`, `screen`, `merge` and `time`."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import error_of, save_predictions
from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.cli.main import main


@pytest.fixture
def model(root: Path, tiny: Path) -> Path:
    """The tiny model in the folder where the pipeline puts a trained one."""
    (root / "models").mkdir()
    return tiny.rename(root / "models" / "kobart")


@pytest.fixture
def no_model(root: Path) -> None:
    """A folder that looks like a model's, for commands that end before they load it."""
    (root / "models" / "kobart").mkdir(parents=True)
    (root / "models" / "kobart" / "config.json").write_text("{}", encoding="utf-8")


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.usefixtures("root")
def test_show_prints_what_score_printed(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(list(SUMMARIES))
    main(["score", "--predictions", "given.csv", "--references", "data/raw/dev.csv", "--json", "metrics/scores.json"])
    printed = capsys.readouterr().out
    main(["show"])
    assert capsys.readouterr().out == printed


def test_show_of_a_file_works_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pruned.json").write_text('{"pruned": "too slow"}', encoding="utf-8")
    main(["show", "pruned.json"])
    assert capsys.readouterr().out == "no score: too slow\n"
    assert "nowhere.json: no such file" in error_of("show", "nowhere.json")
    assert "params.yaml: not in this folder" in error_of("show")


@pytest.mark.usefixtures("root")
def test_show_before_the_first_run_says_what_writes_the_scores() -> None:
    assert error_of("show") == "error: metrics/scores.json: no such file; `dvc repro` writes it"


@pytest.mark.parametrize("text", ["{}", "[]", "3", '"text"', "null", '{"rouge1": 3, "baselines": []}', '{"models": {}}'])
@pytest.mark.usefixtures("root")
def test_show_of_json_without_scores_says_so(text: str) -> None:
    Path("other.json").write_text(text, encoding="utf-8")
    assert "other.json: this JSON file has no scores; expected metrics/scores.json" in error_of("show", "other.json")


@pytest.mark.usefixtures("root")
def test_show_of_another_file_says_so() -> None:
    Path("other.json").write_text("fname,summary\n", encoding="utf-8")
    assert "other.json: not JSON; it is another kind of file, or damaged" in error_of("show", "other.json")


@pytest.mark.usefixtures("model")
def test_summarize_a_file_and_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("talk.txt").write_text(DIALOGUES[1], encoding="utf-8")
    main(["summarize", "talk.txt"])
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert len(printed) > 1
    give_stdin(monkeypatch, DIALOGUES[1].encode())
    main(["summarize"])
    assert capsys.readouterr().out == printed
    main(["summarize", "talk.txt", "--output", "out/summary.txt"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("out/summary.txt: 1 summary\n")
    assert Path("out/summary.txt").read_text(encoding="utf-8") == printed
    give_stdin(monkeypatch, DIALOGUES[5].encode())
    main(["summarize", "--model", "models/kobart"])
    assert capsys.readouterr().out != printed


@pytest.mark.usefixtures("model")
def test_summarize_a_csv(capsys: pytest.CaptureFixture[str]) -> None:
    main(["summarize", "data/raw/test.csv", "--output", "out.csv"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("out.csv: 8 summaries\n")
    with open("out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fname"] for row in rows] == [f"test_{index}" for index in range(8)]
    Path("talk.txt").write_text(DIALOGUES[4], encoding="utf-8")
    main(["summarize", "talk.txt"])
    assert capsys.readouterr().out.rstrip("\n") == rows[4]["summary"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("talk.txt", None, "talk.txt: no such file"),
        ("talk.txt", b"", "talk.txt: the file is empty"),
        ("talk.txt", "안녕".encode("utf-16"), "this is UTF-16"),
        ("talk.txt", "#Person1#: 안녕".encode("cp949"), "talk.txt: not UTF-8"),
        ("talk.txt", "안녕하세요?".encode(), "talk.txt: no speaker tag with a colon; expected lines such as"),
        ("talk.csv", b"", "talk.csv: a CSV file needs --output FILE"),
    ],
)
@pytest.mark.usefixtures("root", "no_model")
def test_summarize_of_bad_input_is_one_clear_error(name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        Path(name).write_bytes(data)
    text = error_of("summarize", name)
    assert message in text
    assert "\n" not in text


@pytest.mark.usefixtures("root")
def test_summarize_of_another_csv_names_the_missing_column() -> None:
    Path("talk.csv").write_text("fname,text\n1,2\n", encoding="utf-8")
    assert "talk.csv:1: no column dialogue" in error_of("summarize", "talk.csv", "--output", "out.csv")


@pytest.mark.usefixtures("root")
def test_a_wrong_value_of_an_option_names_the_option() -> None:
    text = error_of("summarize", "-S", "generation.num_beams=many", "-S", "training.seed=1")
    assert text.startswith("error: params.yaml with -S generation.num_beams=many -S training.seed=1: 1 error")


@pytest.mark.usefixtures("root", "no_model")
def test_standard_input_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, "#Person1#: 안녕".encode("cp949"))
    assert "standard input: not UTF-8" in error_of("summarize")


@pytest.mark.usefixtures("root", "no_model")
def test_summarize_never_writes_over_its_input_or_a_folder() -> None:
    assert "data/raw/test.csv: --output is the input file" in error_of(
        "summarize", "data/raw/test.csv", "--output", "data/raw/test.csv"
    )
    assert "data: --output is a folder" in error_of("summarize", "data/raw/test.csv", "--output", "data")


@pytest.mark.parametrize("words", [("summarize", "data/raw/test.csv", "--output", "out.csv"), ("time",)])
@pytest.mark.usefixtures("root")
def test_without_a_trained_model_a_command_says_how_to_train_one(words: tuple[str, ...]) -> None:
    assert "models/kobart: no trained model here; run `dvc repro`" in error_of(*words)


@pytest.mark.usefixtures("root", "no_model")
def test_time_needs_processed_rows() -> None:
    assert "data/processed/dev.jsonl: no such file; `dvc repro` writes it" in error_of("time")


@pytest.mark.usefixtures("model")
def test_time_prints_a_number_first(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """yoyak.search reads the first word."""
    (root / "data" / "processed").mkdir()
    rows = [json.dumps({"fname": f"dev_{index}", "dialogue": text}) for index, text in enumerate(DIALOGUES)]
    (root / "data" / "processed" / "dev.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    main(["time", "--rows", "3"])
    printed = capsys.readouterr().out
    assert float(printed.split()[0]) > 0
    assert "first 3 dev dialogues" in printed


@pytest.mark.usefixtures("root")
def test_merge_needs_an_adapter() -> None:
    message = error_of("merge", "--output", "out")
    assert "models/qlora: no adapter here; train one (`yoyak use llama-tiny && dvc repro`)" in message
    assert not Path("out").exists()


def test_screen_of_an_unknown_preset_suggests_one(root: Path) -> None:
    (root / "presets").mkdir()
    (root / "presets" / "small.yaml").write_text("training: {num_train_epochs: 1}\n", encoding="utf-8")
    assert "small" in error_of("screen", "smal")


@pytest.mark.parametrize("status", ["scored", "failed"])
def test_screen_prints_a_table_and_fails_if_a_model_failed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    from yoyak.inference import screening

    (root / "presets").mkdir()
    (root / "presets" / "small.yaml").write_text("training: {num_train_epochs: 1}\n", encoding="utf-8")
    results = {"models": {"small": {"status": status, "why": "it has no weights"}}}
    monkeypatch.setattr(screening, "screen", lambda *_, **__: results)
    if status == "failed":
        assert error_of("screen", "small", "--rows", "2").startswith("failed: small; the table above says why")
    else:
        main(["screen", "small", "--rows", "2"])
    assert "small" in capsys.readouterr().out
