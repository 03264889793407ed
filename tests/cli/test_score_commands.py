"""`yoyak score` and `yoyak check-submission`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import error_of, save_predictions
from tests.conftest import DIALOGUES, SUMMARIES, save_csv
from yoyak.cli.main import main

PREDICTIONS = [*SUMMARIES[:6], "#Person1#은 버스를 탑니다.", "모두가 기뻐합니다."]
SCORE = ("score", "--predictions", "given.csv", "--references")


def scores(path: str = "scores.json") -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("root")
def test_score_beside_its_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(PREDICTIONS)
    main([*SCORE, "data/raw/dev.csv", "--json", "out/scores.json"])
    printed = capsys.readouterr().out
    result = scores("out/scores.json")
    assert list(result["baselines"]) == ["lead1", "lead2", "lead3", "constant", "medoid"]
    assert 200 < result["rouge_sum"] < 300
    assert f"{result['rouge_sum']:.2f}" in printed
    assert all(name in printed for name in ("model", "lead1", "medoid", "signature", "interval"))


@pytest.mark.usefixtures("root")
def test_score_against_other_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(["모두가 기뻐합니다."] * len(SUMMARIES)).rename("other.csv")
    save_predictions(PREDICTIONS)
    main([*SCORE, "data/raw/dev.csv", "--against", "other.csv"])
    printed = capsys.readouterr().out
    assert "WARNING: only 8 dialogues; so few can hardly show a difference." in printed
    assert re.search(r"rouge_sum +other.csv +[0-9.]+\n +given.csv +[0-9.]+ +[+][0-9.]+ .* better\n", printed)
    assert re.search(r"given.csv +better in [67], worse in 0, equal in [12]\n", printed)
    missing = error_of(*SCORE, "data/raw/dev.csv", "--against", "nothing.csv")
    assert "nothing.csv" in missing
    save_predictions(["모두가 기뻐합니다."] * 3).rename("short.csv")
    save_predictions(PREDICTIONS)
    assert "short.csv" in error_of(*SCORE, "data/raw/dev.csv", "--against", "short.csv")


@pytest.mark.usefixtures("root")
def test_correlations_of_each_metric_with_rouge(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(PREDICTIONS)
    main([*SCORE, "data/raw/dev.csv", "--correlations"])
    printed = capsys.readouterr().out
    assert re.search(r"surface_length_gap[*] +8 +-[01]\.[0-9]+ ", printed)
    assert re.search(r"surface_repetition[*] +8 +- \(all values equal\)", printed)


@pytest.mark.usefixtures("root")
def test_a_param_of_the_command_line_chooses_a_metric() -> None:
    save_predictions(PREDICTIONS)
    said = error_of(*SCORE, "data/raw/dev.csv", "-S", "score.embedding.checkpoint=no/such")
    assert "score.embedding: model checkpoint 'no/such'" in said


@pytest.mark.usefixtures("root")
def test_score_is_that_of_the_library() -> None:
    from yoyak.evaluation.baselines import baseline_predictions, medoid
    from yoyak.evaluation.metrics.lookup import build_metrics
    from yoyak.evaluation.morphemes import Morphemes
    from yoyak.evaluation.scoring import score

    save_predictions(PREDICTIONS)
    main([*SCORE, "data/raw/dev.csv", "--json", "scores.json"])
    mecab = Morphemes()
    expected, _ = score(
        predictions=PREDICTIONS,
        references=[[text] for text in SUMMARIES],
        dialogues=DIALOGUES,
        baselines=baseline_predictions(DIALOGUES, medoid=medoid(SUMMARIES, tokenizer=mecab)),
        metrics=build_metrics(tokenizer=mecab, aggregation="mean"),
        bootstrap_samples=100,
        seed=42,
        decoding="unknown",
    )
    assert scores() == expected


def test_score_splits_turns_as_the_pipeline_does(root: Path) -> None:
    """A literal backslash-n and a lone carriage return in the raw file separate turns too."""
    save_predictions(PREDICTIONS)
    main([*SCORE, "data/raw/dev.csv", "--json", "clean.json"])
    dirty = [
        {"fname": f"dev_{index}", "dialogue": text.replace("\n", "\\n" if index % 2 else "\r"), "summary": summary}
        for index, (text, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
    ]
    save_csv(root / "dirty.csv", dirty)
    main([*SCORE, "dirty.csv", "--json", "dirty.json"])
    assert scores("dirty.json") == scores("clean.json")


def test_score_without_dialogues_has_no_baselines(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_csv(root / "bare.csv", [{"fname": f"dev_{index}", "summary": text} for index, text in enumerate(SUMMARIES)])
    save_predictions(PREDICTIONS)
    main([*SCORE, "bare.csv", "--json", "scores.json"])
    assert scores()["baselines"] == {}
    assert "medoid" not in capsys.readouterr().out


@pytest.mark.parametrize(("how", "best"), [(None, False), ("mean", False), ("max", True)])
def test_score_with_several_references(root: Path, how: str | None, best: bool) -> None:
    rows = [{"fname": f"dev_{index}", "summary": "비가 온다", "summary2": text} for index, text in enumerate(SUMMARIES)]
    save_csv(root / "two.csv", rows)
    save_predictions(list(SUMMARIES))
    main([*SCORE, "two.csv", "--json", "scores.json", *(["--how", how] if how else [])])
    assert (scores()["rouge_sum"] == 300) == best


def test_score_takes_the_medoid_from_another_train_file(root: Path) -> None:
    save_predictions(PREDICTIONS)
    save_csv(root / "other.csv", [{"summary": SUMMARIES[2]}])
    main([*SCORE, "data/raw/dev.csv", "--train", "other.csv", "--json", "scores.json"])
    save_predictions([SUMMARIES[2]] * len(SUMMARIES))
    main([*SCORE, "data/raw/dev.csv", "--json", "again.json"])
    assert scores("again.json")["rouge_sum"] == scores()["baselines"]["medoid"]["rouge_sum"]


@pytest.mark.usefixtures("root")
def test_score_warns_of_a_collapsed_model(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(["#Person1# #Person2#"] * len(SUMMARIES))
    main([*SCORE, "data/raw/dev.csv"])
    printed = capsys.readouterr().out
    assert "WARNING: nothing shows whether the model is better than a baseline: too few rows" in printed
    assert "only 1 distinct outputs in 8 rows" in printed


def test_score_matches_rows_by_fname(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(PREDICTIONS)
    main([*SCORE, "data/raw/dev.csv", "--json", "scores.json"])
    capsys.readouterr()
    save_predictions(PREDICTIONS[::-1], fnames=[f"dev_{index}" for index in range(7, -1, -1)])
    main([*SCORE, "data/raw/dev.csv", "--json", "again.json"])
    assert scores("again.json") == scores()
    assert "given.csv: the rows have another order than the references; they are matched by fname" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_a_prediction_is_scored_byte_by_byte(capsys: pytest.CaptureFixture[str]) -> None:
    """A text that starts as a formula is scored as it is, and an apostrophe before one is explained."""
    save_csv(
        Path("references.csv"), [{"fname": f"dev_{index}", "summary": f"- {text}"} for index, text in enumerate(SUMMARIES)]
    )
    save_predictions([f"- {text}" for text in SUMMARIES])
    main([*SCORE, "references.csv", "--json", "scores.json"])
    assert scores()["rouge_sum"] == 300
    assert capsys.readouterr().err == ""
    main(["spreadsheet-copy", "given.csv", "copy.csv"])
    assert Path("copy.csv").read_text(encoding="utf-8").startswith("\ufefffname,summary\ndev_0,'- #Person1#")
    main(["score", "--predictions", "copy.csv", "--references", "references.csv"])
    assert "copy.csv:2 (fname dev_0): 8 summaries with an apostrophe before =, +, - or @" in capsys.readouterr().err


def test_a_spreadsheet_copy_is_another_file(root: Path) -> None:
    assert "name another file" in error_of("spreadsheet-copy", "data/raw/dev.csv", "data/raw/dev.csv")


@pytest.mark.parametrize(
    ("fnames", "message"),
    [
        ([f"dev_{index}" for index in range(7)], "7 rows; the references have 8\n  fname is missing: 1 (dev_7)"),
        (
            [f"dev_{index}" for index in (0, 0, 2, 3, 4, 5, 6, 7)],
            "occurs twice: 1 (dev_0)\n  fname is missing: 1 (dev_1)",
        ),
        ([f"dev_{index}" for index in range(9)], "9 rows; the references have 8\n  fname is not in the references: 1 (dev_8)"),
    ],
)
@pytest.mark.usefixtures("root")
def test_score_of_other_rows_is_refused(fnames: list[str], message: str) -> None:
    save_predictions((PREDICTIONS * 2)[: len(fnames)], fnames=fnames)
    assert message in error_of(*SCORE, "data/raw/dev.csv", "--json", "scores.json")
    assert not Path("scores.json").exists()


def test_score_needs_references(root: Path) -> None:
    save_csv(root / "holes.csv", [{"fname": "dev_0", "summary": "가"}, {"fname": "dev_1", "summary": " "}])
    save_predictions(PREDICTIONS[:2])
    assert error_of(*SCORE, "holes.csv") == (
        "error: holes.csv: 1 fault:\n  holes.csv:3 (fname dev_1): no summary to score against"
    )
    save_csv(root / "twice.csv", [{"fname": "dev_0", "summary": "가"}] * 2 + [{"fname": "dev_1", "summary": "\u3164"}])
    error = error_of(*SCORE, "twice.csv")
    assert "twice.csv:3 (fname dev_0): this fname occurs twice" in error
    assert "twice.csv:4 (fname dev_1): no summary" in error


@pytest.mark.usefixtures("root")
def test_score_without_mecab_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    save_predictions(PREDICTIONS)
    monkeypatch.setitem(sys.modules, "mecab", None)
    assert "Mecab cannot load" in error_of(*SCORE, "data/raw/dev.csv", "--json", "scores.json")
    assert not Path("scores.json").exists()


@pytest.mark.usefixtures("root")
def test_check_submission(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions(list(SUMMARIES), split="test")
    main(["check-submission", "given.csv"])
    assert capsys.readouterr().out.endswith("given.csv: ready for submission\n")
    main(["check-submission", "given.csv", "--test", "data/raw/test.csv"])
    assert "not ready for submission" in error_of("check-submission", "given.csv", "--test", "data/raw/dev.csv")


@pytest.mark.usefixtures("root")
def test_check_submission_passes_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    save_predictions([*SUMMARIES[:7], "축하합니다"], split="test")
    main(["check-submission", "given.csv"])
    assert "warning: very short: 1 row: given.csv:9 (fname test_7)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([*SUMMARIES[:7], ""], "error: empty: 1 row: given.csv:9 (fname test_7)"),
        (list(SUMMARIES[:7]), "error: 7 rows; the test file has 8"),
        ([*SUMMARIES[:7], "축하하고 #Pers"], "error: half-written tag: 1 row: given.csv:9 (fname test_7)"),
        ([SUMMARIES[0]] * 8, "error: only 1 distinct summaries in 8 rows"),
        ([*SUMMARIES[:6], DIALOGUES[6], SUMMARIES[7]], "error: copies the dialogue: 1 row"),
    ],
)
@pytest.mark.usefixtures("root")
def test_a_submission_with_errors_fails(capsys: pytest.CaptureFixture[str], texts: list[str], message: str) -> None:
    save_predictions(texts, split="test")
    assert "given.csv: not ready for submission" in error_of("check-submission", "given.csv")
    assert message in capsys.readouterr().out
