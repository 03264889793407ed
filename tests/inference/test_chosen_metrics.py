"""The metrics that params choose: none by default, and then nothing is imported; each one beside ROUGE when it is chosen."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT, SUMMARIES
from yoyak.config.params import load_params
from yoyak.config.score_section import Score
from yoyak.evaluation import bootstrap
from yoyak.evaluation.baselines import baseline_predictions
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.scoring import main_scores, per_dialogue_columns, score
from yoyak.inference.chosen_metrics import chosen_metrics
from yoyak.system.errors import YoyakError

KOBART = str(ROOT / "models/base/kobart-tiny")


def section(**changes: Any) -> Score:
    values = load_params(ROOT / "params.yaml").score.model_dump()
    for name, value in changes.items():
        part, _, key = name.partition("__")
        values[part][key] = value
    return Score.model_validate(values)


def test_by_default_there_is_none_and_no_library_is_imported() -> None:
    assert chosen_metrics(section(), tokenizer=Morphemes()) == []
    code = (
        "import sys; sys.path[:0] = ['src', '.']; import stages.score; from yoyak.config.params import load_params; "
        "from yoyak.evaluation.morphemes import Morphemes; from yoyak.inference.chosen_metrics import chosen_metrics; "
        "chosen_metrics(load_params().score, tokenizer=Morphemes()); "
        "print(sorted({'torch', 'transformers', 'openai', 'yoyak.inference.endpoint.judge'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_chosen_metrics_stand_beside_rouge_with_baselines_and_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MIN_ROWS", 8)
    mecab = Morphemes()
    always = build_metrics(tokenizer=mecab, aggregation="mean")
    chosen = chosen_metrics(section(bert_score__checkpoint=KOBART, embedding__checkpoint=KOBART), tokenizer=mecab)

    def scored(metrics: Any) -> Any:
        return score(
            predictions=list(SUMMARIES[1:] + SUMMARIES[:1]),
            references=[[text] for text in SUMMARIES],
            dialogues=list(DIALOGUES),
            baselines=baseline_predictions(DIALOGUES, medoid=SUMMARIES[0]),
            metrics=metrics,
            bootstrap_samples=100,
            seed=1,
            decoding="unknown",
        )

    alone, _ = scored(always)
    result, rows = scored([*always, *chosen])
    for name, key in (("bert_score", "f1"), ("embedding", "cosine")):
        low, high = result[name]["interval"][key]
        assert low < result[name][key] < high < 100
        assert all(0 <= values[name][key] < 100 for values in result["baselines"].values())
        assert "kobart-tiny#" in result[name]["signature"] and str(ROOT) not in result[name]["signature"]
    assert set(rows[0]) == set(per_dialogue_columns([*always, *chosen])) - {"fname"}
    assert {"bert_score_f1", "embedding_cosine"} <= set(rows[0])
    assert main_scores(result)["bert_score"]["f1"] == result["bert_score"]["f1"]
    for name in ("bert_score", "embedding"):
        del result[name]
        for values in result["baselines"].values():
            del values[name]
    assert result == alone, "the other values are those without them"


def test_a_wrong_checkpoint_is_found_before_anything_runs(tmp_path: Path) -> None:
    from stages.check_params import main as check_params

    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    with contextlib.chdir(tmp_path):
        Path("models").symlink_to(ROOT / "models")
        for name, place in (("bert_score", "# Folder of the model, or its"), ("embedding", "# Folder of a model of sentence")):
            changed = text.replace(f"checkpoint: {place}", f"checkpoint: no/such {place}")
            assert changed != text
            Path("params.yaml").write_text(changed, encoding="utf-8")
            with pytest.raises(YoyakError, match=rf"^score\.{name}: model checkpoint 'no/such'"):
                check_params(Path("checked.txt"))
            assert not Path("checked.txt").exists()


def test_a_fault_names_the_param() -> None:
    with pytest.raises(YoyakError, match=r"^score\.bert_score: layer: 9 is more than"):
        chosen_metrics(section(bert_score__checkpoint=KOBART, bert_score__layer=9), tokenizer=Morphemes())
    with pytest.raises(YoyakError, match=r"^score\.embedding: model checkpoint 'no/such'"):
        chosen_metrics(section(embedding__checkpoint="no/such"), tokenizer=Morphemes())
