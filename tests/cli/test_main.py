"""python -m yoyak, run in this process: what each command prints, and its exit status."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES, save_csv
from yoyak import __main__ as cli

PREDICTIONS = [*SUMMARIES[:6], "#Person1#은 버스를 탑니다.", "모두가 기뻐합니다."]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> Path:
    """A folder with a small params.yaml and data, which is the current one."""
    from ruamel.yaml import YAML

    values["data"]["dir"] = "data"
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev", "test"):
        rows = [
            {"fname": f"{split}_{at}", "dialogue": text, "summary": summary}
            for at, (text, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
        ]
        save_csv(tmp_path / "data" / f"{split}.csv", rows)
    with open(tmp_path / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)
    return tmp_path


def predictions(texts: list[str], *, name: str = "dev", fnames: list[str] | None = None) -> Path:
    fnames = fnames or [f"{name}_{at}" for at in range(len(texts))]
    return save_csv(Path("given.csv"), [{"fname": a, "summary": b} for a, b in zip(fnames, texts, strict=True)])


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["yoyak", *words])
    cli.main()


def fails(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The message with which a command ends; its exit status is 1."""
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, *words)
    assert isinstance(caught.value.code, str)  # Python prints it and exits with 1
    return caught.value.code


SCORE = ("score", "--predictions", "given.csv", "--references")


def test_score_beside_its_baselines(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    predictions(PREDICTIONS)
    run(monkeypatch, *SCORE, "data/dev.csv", "--json", "out/scores.json")
    shown = capsys.readouterr().out
    result = json.loads((here / "out" / "scores.json").read_text(encoding="utf-8"))
    assert list(result["baselines"]) == ["lead1", "lead2", "lead3", "constant", "medoid"]
    assert 200 < result["rouge_sum"] < 300
    assert f"{result['rouge_sum']:.2f}" in shown
    assert all(name in shown for name in ("model", "lead1", "medoid", "signature", "interval"))


def test_score_is_that_of_the_library(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoyak.evaluation import rouge, scoring

    predictions(PREDICTIONS)
    run(monkeypatch, *SCORE, "data/dev.csv", "--json", "scores.json")
    mecab = rouge.Morphemes()
    expected, _ = scoring.score(
        predictions=PREDICTIONS,
        references=[[text] for text in SUMMARIES],
        how="mean",
        bootstrap_samples=100,
        seed=42,
        tokenizer=mecab,
        against=scoring.baselines(DIALOGUES, medoid=rouge.medoid(SUMMARIES, tokenizer=mecab)),
        decoding="unknown",
    )
    assert json.loads((here / "scores.json").read_text(encoding="utf-8")) == expected


def test_score_takes_the_first_turns_as_the_pipeline_does(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A literal backslash-n or a lone CR in the raw file parts turns too."""
    predictions(PREDICTIONS)
    run(monkeypatch, *SCORE, "data/dev.csv", "--json", "clean.json")
    dirty = [
        {"fname": f"dev_{at}", "dialogue": text.replace("\n", "\\n" if at % 2 else "\r"), "summary": summary}
        for at, (text, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
    ]
    save_csv(here / "dirty.csv", dirty)
    run(monkeypatch, *SCORE, "dirty.csv", "--json", "dirty.json")
    assert json.loads(Path("dirty.json").read_text("utf-8")) == json.loads(Path("clean.json").read_text("utf-8"))


def test_score_without_dialogues_has_no_baselines(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"fname": f"dev_{at}", "summary": text} for at, text in enumerate(SUMMARIES)]
    save_csv(here / "bare.csv", rows)
    predictions(PREDICTIONS)
    run(monkeypatch, *SCORE, "bare.csv", "--json", "scores.json")
    assert json.loads(Path("scores.json").read_text("utf-8"))["baselines"] == {}
    assert "medoid" not in capsys.readouterr().out


@pytest.mark.parametrize(("how", "best"), [(None, False), ("mean", False), ("max", True)])
def test_score_with_several_references(here: Path, monkeypatch: pytest.MonkeyPatch, how: str | None, best: bool) -> None:
    rows = [{"fname": f"dev_{at}", "summary": "비가 온다", "summary2": text} for at, text in enumerate(SUMMARIES)]
    save_csv(here / "two.csv", rows)
    predictions(list(SUMMARIES))
    run(monkeypatch, *SCORE, "two.csv", "--json", "scores.json", *(["--how", how] if how else []))
    assert (json.loads(Path("scores.json").read_text("utf-8"))["rouge_sum"] == 300) == best


def test_score_takes_another_train_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions(PREDICTIONS)
    save_csv(here / "other.csv", [{"summary": SUMMARIES[2]}])
    run(monkeypatch, *SCORE, "data/dev.csv", "--train", "other.csv", "--json", "scores.json")
    baseline = json.loads(Path("scores.json").read_text("utf-8"))["baselines"]["medoid"]
    predictions([SUMMARIES[2]] * len(SUMMARIES))
    run(monkeypatch, *SCORE, "data/dev.csv", "--json", "again.json")
    assert json.loads(Path("again.json").read_text("utf-8"))["rouge_sum"] == baseline["rouge_sum"]


@pytest.mark.usefixtures("here")
def test_score_warns_of_a_collapsed_model(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    predictions(["#Person1# #Person2#"] * len(SUMMARIES))
    run(monkeypatch, *SCORE, "data/dev.csv")
    shown = capsys.readouterr().out
    assert "WARNING: NOT BETTER than the baseline constant" in shown
    assert "only 1 distinct outputs in 8 rows" in shown


@pytest.mark.parametrize(
    ("fnames", "message"),
    [
        ([f"dev_{at}" for at in range(7)], "7 rows where 8 are due"),
        ([f"dev_{at}" for at in (1, 0, 2, 3, 4, 5, 6, 7)], "line 2: fname dev_1 where dev_0 is due"),
        ([f"dev_{at}" for at in range(9)], "9 rows where 8 are due"),
    ],
)
@pytest.mark.usefixtures("here")
def test_score_of_other_rows_is_refused(monkeypatch: pytest.MonkeyPatch, fnames: list[str], message: str) -> None:
    predictions((PREDICTIONS * 2)[: len(fnames)], fnames=fnames)
    assert message in fails(monkeypatch, *SCORE, "data/dev.csv")
    assert not Path("scores.json").exists()


def test_score_needs_references(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_csv(here / "holes.csv", [{"fname": "dev_0", "summary": "가"}, {"fname": "dev_1", "summary": " "}])
    predictions(PREDICTIONS[:2])
    assert fails(monkeypatch, *SCORE, "holes.csv") == "error: holes.csv: line 3: dev_1: no summary to score against"


def test_score_without_mecab_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions(PREDICTIONS)
    monkeypatch.setitem(sys.modules, "mecab", None)
    assert "Mecab cannot load" in fails(monkeypatch, *SCORE, "data/dev.csv", "--json", "scores.json")
    assert not (here / "scores.json").exists()


@pytest.mark.usefixtures("here")
def test_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    predictions(PREDICTIONS)
    run(monkeypatch, *SCORE, "data/dev.csv", "--json", "metrics/scores.json")
    first = capsys.readouterr().out
    run(monkeypatch, "show")
    assert capsys.readouterr().out == first
    assert "no such file; dvc repro writes it" in fails(monkeypatch, "show", "nowhere.json")


def test_check_submission(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    predictions(list(SUMMARIES), name="test")
    run(monkeypatch, "check-submission", "given.csv")
    assert capsys.readouterr().out.endswith("given.csv: fit for submission\n")
    run(monkeypatch, "check-submission", "given.csv", "--test", str(here / "data" / "test.csv"))
    assert "fit for submission" in fails(monkeypatch, "check-submission", "given.csv", "--test", "data/dev.csv")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([*SUMMARIES[:7], ""], "unfit: empty: 1 rows (line 9 test_7)"),
        (list(SUMMARIES[:7]), "unfit: 7 rows where the test file has 8"),
        ([*SUMMARIES[:7], "축하하고 #Pers"], "unfit: half-written tag: 1 rows (line 9 test_7)"),
        ([SUMMARIES[0]] * 8, "unfit: only 1 distinct summaries in 8 rows"),
        ([*SUMMARIES[:6], DIALOGUES[6], SUMMARIES[7]], "unfit: copies the dialogue: 1 rows"),
    ],
)
@pytest.mark.usefixtures("here")
def test_an_unfit_submission_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], texts: list[str], told: str
) -> None:
    predictions(texts, name="test")
    assert fails(monkeypatch, "check-submission", "given.csv") == "given.csv: not fit for submission"
    assert told in capsys.readouterr().out


@pytest.fixture
def trained(here: Path, tiny: Path) -> Path:
    """The tiny model where the pipeline would put a trained one."""
    (here / "models").mkdir()
    return tiny.rename(here / "models" / "kobart")


@pytest.mark.usefixtures("trained")
def test_summarize_a_file_and_standard_input(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (here / "talk.txt").write_text(DIALOGUES[1], encoding="utf-8")
    run(monkeypatch, "summarize", "talk.txt")
    out = capsys.readouterr().out
    assert out.endswith("\n")
    assert len(out) > 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DIALOGUES[1].encode())))
    run(monkeypatch, "summarize")
    assert capsys.readouterr().out == out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DIALOGUES[5].encode())))
    run(monkeypatch, "summarize", "--model", "models/kobart")
    assert capsys.readouterr().out != out


@pytest.mark.usefixtures("trained")
def test_summarize_a_csv(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    run(monkeypatch, "summarize", "data/test.csv", "--output", "out.csv")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("out.csv: 8 summaries\n")
    with open(here / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fname"] for row in rows] == [f"test_{at}" for at in range(8)]
    (here / "talk.txt").write_text(DIALOGUES[4], encoding="utf-8")
    run(monkeypatch, "summarize", "talk.txt")
    assert capsys.readouterr().out.rstrip("\n") == rows[4]["summary"]


@pytest.mark.parametrize(
    ("postprocess", "decided", "expected"),
    [
        ("never", True, False),
        ("always", False, True),
        ("auto", True, True),
        ("auto", False, False),
        ("auto", None, False),  # predict has not decided yet
    ],
)
def test_summarize_mends_as_predict_decided(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    *,
    postprocess: str,
    decided: bool | None,
    expected: bool,
) -> None:
    from ruamel.yaml import YAML

    from yoyak.inference import summarize

    values["generation"]["postprocess"] = postprocess
    with open(here / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)
    if decided is not None:
        (here / "metrics").mkdir()
        Path("metrics/predict.json").write_text(json.dumps({"postprocess": {"used": decided}}), encoding="utf-8")
    given: list[bool] = []
    monkeypatch.setattr(summarize, "summarize_text", lambda *_, mend, **__: given.append(mend))
    (here / "talk.txt").write_text(DIALOGUES[1], encoding="utf-8")
    run(monkeypatch, "summarize", "talk.txt")
    assert given == [expected]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("talk.txt", None, "talk.txt: no such file"),
        ("talk.txt", b"", "talk.txt: the file is empty"),
        ("talk.txt", "안녕".encode("utf-16"), "this is UTF-16"),
        ("talk.txt", "#Person1#: 안녕".encode("cp949"), "talk.txt: not UTF-8"),
        ("talk.txt", "안녕하세요?".encode(), "talk.txt: no_speaker; a dialogue has one turn a line"),
        ("talk.csv", b"", "summarize: a CSV needs --output FILE.csv"),
        ("talk.txt", "#Person1#: 안녕".encode(), "no trained model here; run dvc repro"),
    ],
)
def test_summarize_of_bad_input_is_one_clear_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (here / name).write_bytes(data)
    told = fails(monkeypatch, "summarize", name)
    assert message in told
    assert "\n" not in told


@pytest.mark.usefixtures("here")
def test_standard_input_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO("#Person1#: 안녕".encode("cp949"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw, encoding="utf-8"))
    assert "standard input: not UTF-8" in fails(monkeypatch, "summarize")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("doctor",), marks=pytest.mark.slow),
        ("score", "--predictions", "a", "--references", "b"),
        ("summarize", "a.txt"),
        ("check-submission", "a"),
    ],
)
def test_faults_in_params_come_first(here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    text = (here / "params.yaml").read_text(encoding="utf-8")
    (here / "params.yaml").write_text(text.replace("num_beams", "num_beans"), encoding="utf-8")
    assert "generation.num_beans: unknown key (did you mean generation.num_beams?)" in fails(monkeypatch, *words)


def test_outside_a_project_a_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run from the repository's root" in fails(monkeypatch, "check-submission", "a.csv")


def test_presets_are_listed_and_used(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "presets").mkdir()
    (here / "presets" / "small.yaml").write_text("training: {num_train_epochs: 1}\n", encoding="utf-8")
    run(monkeypatch, "presets")
    assert capsys.readouterr().out == "small\n"
    run(monkeypatch, "use", "small")
    assert capsys.readouterr().out == "training.num_train_epochs: 2 → 1\n"
    run(monkeypatch, "use", "small")
    assert capsys.readouterr().out == "nothing to change\n"
    assert "no preset 'smal'" in fails(monkeypatch, "use", "smal")


@pytest.mark.parametrize("words", [(), ("sumarize",), ("score",), ("use",), ("score", "--how", "best")])
def test_a_wrong_command_line_exits_with_2(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setattr(sys, "argv", ["yoyak", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
