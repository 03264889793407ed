"""A metric is one new file and one line. It then stands in scores.json, each baseline, per_dialogue.csv and the table."""

import csv
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import score as stage
from tests.conftest import DIALOGUES, ROOT, SUMMARIES
from yoyak.evaluation import bootstrap, metrics
from yoyak.evaluation.baselines import BASELINES, baseline_predictions
from yoyak.evaluation.metrics.base import Metric, MetricSettings, Rows
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.score_table import score_table
from yoyak.evaluation.scoring import per_dialogue_columns, score
from yoyak.system.atomic import atomic_folder
from yoyak.system.csv_files import write_csv
from yoyak.system.text_files import write_json, write_jsonl

TOY = '''
import numpy as np

from yoyak.evaluation.metrics.base import Metric


class Length(Metric):
    """How long a prediction is, against its dialogue."""

    name = "length"
    keys = ("characters", "share")
    needs_dialogues = True

    def score_rows(self, *, predictions, references, dialogues):
        rows = [[len(text), len(text) / len(dialogue)] for text, dialogue in zip(predictions, dialogues, strict=True)]
        return np.array(rows, dtype=np.float64)

    def signature(self):
        return "unit:characters"


METRIC = Length
'''


@pytest.fixture
def length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The metric of TOY as a further file of the package, and its name in METRICS."""
    folder = tmp_path / "added"
    folder.mkdir()
    (folder / "length.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(folder)])
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, "length"))
    yield
    sys.modules.pop("yoyak.evaluation.metrics.length", None)


def scored(mecab: Morphemes, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    settings: dict[str, Any] = {
        "predictions": list(SUMMARIES),
        "references": [[text] for text in SUMMARIES],
        "dialogues": list(DIALOGUES),
        "baselines": baseline_predictions(DIALOGUES, medoid=SUMMARIES[0]),
        "metrics": build_metrics(tokenizer=mecab, aggregation="mean"),
        "bootstrap_samples": 200,
        "seed": 1,
        "decoding": "unknown",
    }
    return score(**settings | changes)


@pytest.mark.usefixtures("length")
def test_a_further_metric_stands_under_its_name(mecab: Morphemes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MIN_ROWS", 8)
    result, per_row = scored(mecab)
    mean = sum(map(len, SUMMARIES)) / len(SUMMARIES)
    section = result["length"]
    assert set(section) == {"characters", "share", "interval", "signature"}
    assert section["characters"] == pytest.approx(mean, abs=1e-4)
    low, high = section["interval"]["characters"]
    assert low < section["characters"] < high
    assert section["signature"] == "unit:characters"
    assert {name: values["length"]["characters"] for name, values in result["baselines"].items()} == {
        name: pytest.approx(sum(map(len, texts)) / len(texts), abs=1e-4)
        for name, texts in baseline_predictions(DIALOGUES, medoid=SUMMARIES[0]).items()
    }
    assert per_row[2]["length_characters"] == len(SUMMARIES[2])
    assert per_row[2]["length_share"] == pytest.approx(len(SUMMARIES[2]) / len(DIALOGUES[2]), abs=1e-4)
    assert "length characters: " in score_table(result)
    assert "interval" not in result["baselines"]["medoid"]["length"]


def test_the_values_of_rouge_do_not_change(mecab: Morphemes, request: pytest.FixtureRequest) -> None:
    alone, alone_rows = scored(mecab)
    request.getfixturevalue("length")
    both, both_rows = scored(mecab)
    assert both.pop("length")
    for values in both["baselines"].values():
        del values["length"]
    assert json.dumps(both) == json.dumps(alone)
    assert [{key: row[key] for key in alone_rows[0]} for row in both_rows] == alone_rows


@pytest.mark.usefixtures("length")
def test_a_metric_that_needs_dialogues_is_left_out_where_there_are_none(mecab: Morphemes) -> None:
    result, per_row = scored(mecab, dialogues=None, baselines={})
    assert "length" not in result
    assert result["rouge1"] == 100
    assert "length_share" not in per_row[0]


def test_a_metric_with_a_wrong_shape_is_named(mecab: Morphemes) -> None:
    class Broken(Metric):
        name = "broken"
        keys = ("one", "two")

        def score_rows(
            self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
        ) -> Rows:
            return np.zeros((len(predictions), 1))

        def signature(self) -> str:
            return ""

    broken = Broken(MetricSettings(tokenizer=mecab, aggregation="mean"))
    with pytest.raises(ValueError, match=r"metric broken: score_rows returned shape \(8, 1\); expected \(8, 2\)"):
        scored(mecab, metrics=[*build_metrics(tokenizer=mecab, aggregation="mean"), broken])


@pytest.mark.usefixtures("length")
def test_the_score_stage_writes_a_further_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = [
        {"fname": f"dev_{row}", "dialogue": dialogue, "summary": summary, "references": [summary], "topic": ""}
        for row, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
    ]
    with atomic_folder(Path("processed")) as folder:
        for split in ("train", "dev"):
            write_jsonl(folder / f"{split}.jsonl", rows)
    with atomic_folder(Path("predictions")) as folder:
        write_csv(
            folder / "dev.csv", [{key: row[key] for key in ("fname", "summary")} for row in rows], columns=["fname", "summary"]
        )
    write_json(Path("predict.json"), {"decoding": "num_beams=4"})
    written = {name: Path(f"{name}.json") for name in ("scores", "summary")} | {"per_dialogue": Path("rows.csv")}
    stage.main(Path("processed"), Path("predictions"), Path("predict.json"), **written)
    summary = json.loads(Path("summary.json").read_text(encoding="utf-8"))
    assert set(summary["facts"]) == {"unsupported", "recall"}, "the parts for each kind would widen the tables of DVC"
    assert set(summary) == {"rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean", "content", "facts", "length"}
    assert set(summary["length"]) == {"characters", "share"}
    scores = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    assert scores["length"]["characters"] > 0
    assert set(scores["baselines"]) == set(BASELINES)
    assert all("length" in values for values in scores["baselines"].values())
    with open("rows.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == per_dialogue_columns()
    assert [float(row["length_characters"]) for row in table] == [float(len(text)) for text in SUMMARIES]


FURTHER = ("facts_unsupported", "facts_recalled", "surface_length_gap", "surface_repetition")
ROUGE_COLUMNS = ("rouge1", "rouge2", "rougeL", "rouge_sum", "content_sum")


def test_the_columns_without_a_further_metric() -> None:
    assert per_dialogue_columns() == ("fname", *ROUGE_COLUMNS, *FURTHER)
