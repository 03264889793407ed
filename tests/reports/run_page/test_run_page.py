"""The page of a run: its numbers are those of the files, hostile texts are inert, what is missing is named."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES
from tests.reports.page.test_page import Elements
from yoyak.reports.page import frame
from yoyak.reports.page.frame import Language, render_page
from yoyak.reports.run_page import browser, controls, row_html
from yoyak.reports.run_page.browser import browser_data, run_browser
from yoyak.reports.run_page.compare_page import compare_path
from yoyak.reports.run_page.dev_rows import DevRow, explain_rows
from yoyak.reports.run_page.files import RunFacts, collect_run
from yoyak.reports.run_page.marks import Mark
from yoyak.reports.run_page.row_html import marked_html
from yoyak.reports.run_page.run_page import page_path, run_page
from yoyak.reports.run_page.texts import all_texts
from yoyak.reports.runs import Run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(3) \u2028 \u202e끝\u202c <!-- \ud800"
SUMMARY_SCORES = {"rouge1": 70.0, "rouge2": 60.0, "rougeL": 65.0, "rouge_sum": 195.0, "rouge_mean": 65.0}
COSTS = ("train_seconds", "seconds_a_dialogue", "model_megabytes", "price")  # names of comparison.costs_of
SCORES: dict[str, Any] = {
    **SUMMARY_SCORES,
    "content": {key: value - 5 for key, value in SUMMARY_SCORES.items()},
    "interval": {
        **{key: [value - 1.25, value + 1.5] for key, value in SUMMARY_SCORES.items()},
        "content": {key: [value - 6, value - 4] for key, value in SUMMARY_SCORES.items()},
    },
    "baselines": {
        name: {**dict.fromkeys(SUMMARY_SCORES, value), "content": dict.fromkeys(SUMMARY_SCORES, value - 1)}
        for name, value in (("lead1", 50.0), ("medoid", 194.0), ("constant", 200.0))
    },
    "beaten": {
        "lead1": {"all": True, "content": True},
        "medoid": {"all": False, "content": True},
        "constant": {"all": False, "content": False},
    },
    "difference": {
        "lead1": {"all": [140.0, 150.0], "content": [130.0, 150.0]},
        "medoid": {"all": [-1.5, 3.5], "content": [0.5, 2.0]},
        "constant": {"all": [-7.0, -3.0], "content": [-12.0, -6.0]},
    },
    "rows": 8,
    "distinct": 8,
    "distinct_dialogues": 8,
    "signature": "tok:mecab|decoding:num_beams=4",
    "facts": {"unsupported": 7.5, "recall": 90.0, "interval": {"unsupported": [5.0, 9.0]}, "signature": "facts:x"},
}


def dev_rows(**changes: str) -> list[DevRow]:
    rows = [
        DevRow(f"dev_{number}", "주제", dialogue, [summary], summary, {"rouge1": 10.0 * number, "content_sum": 100.0 - number})
        for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
    ]
    if changes:
        first = {"fname": "dev_0", "topic": "", "dialogue": DIALOGUES[0], "summary": SUMMARIES[0], "reference": "가"} | changes
        text = DevRow(first["fname"], first["topic"], first["dialogue"], [first["reference"]], first["summary"], rows[0].scores)
        rows[0] = text
    return rows


def page_of(facts: RunFacts, language: Language = "en") -> str:
    return render_page(run_page(facts, explain_rows(facts.rows), language))


def full_facts(rows: list[DevRow] | None = None) -> RunFacts:
    return RunFacts(
        name="mine",
        family="kobart",
        params={"training.learning_rate": 2e-05, "model.family": "kobart"},
        base="HEAD (abc1234)",
        base_params={"training.learning_rate": 0.001, "model.family": "kobart"},
        scores=SCORES,
        curves={"train/loss": [(1, 5.0), (20, 2.0)], "dev/rouge1": [(1, 60.0), (2, 70.5)]},
        rows=rows or dev_rows(),
    )


def test_the_numbers_of_the_page_are_those_of_the_files() -> None:
    found = Elements(page_of(full_facts()))
    for shown in ("195.00", "190.00", "95 % interval 193.75 to 196.50", "-1.50 – +3.50", "+145.00", "7.50 %", "HEAD (abc1234)"):
        assert shown in found.texts, shown
    assert "2e-05" in found.texts and "0.001" in found.texts, "the param that differs"
    index: Any = found.json["browser"]
    assert index["values"] == [[[10 * number for number in range(8)], [100 - number for number in range(8)]]]
    assert index["metrics"][1] == {"key": "content_sum", "lower": False} and index["sort"] == "content_sum"
    assert [row["s"][0] if isinstance(row["s"][0], str) else row["s"][0][0] for row in found.json["texts-0"]] == list(SUMMARIES)  # type: ignore[attr-defined]


def test_better_and_worse_are_said_only_where_the_interval_shows_it() -> None:
    page = page_of(full_facts())
    verdicts = re.findall(r"(?:good-text|bad-text)\">([a-z]+)<|<td>(no difference shown)<", page)
    assert [a or b for a, b in verdicts] == ["better", "better", "no difference shown", "better", "worse", "worse"]
    assert "No difference to the baseline medoid is shown in rouge_sum (with tags)" in page
    assert page.count("WORSE than the baseline constant") == 2


@pytest.mark.parametrize("language", ["ko", "en"])
def test_hostile_texts_are_inert_and_shown(language: Language) -> None:
    hostile = dev_rows(fname=HOSTILE, topic=HOSTILE, dialogue=f"#Person1#: {HOSTILE}", summary=HOSTILE, reference=HOSTILE)
    facts = full_facts(hostile)
    facts.name, facts.missing, facts.gates = HOSTILE, {"x": HOSTILE}, [HOSTILE]
    facts.params = {HOSTILE: HOSTILE}
    page = page_of(facts, language)
    found = Elements(page)
    assert [attributes for tag, attributes in found.tags if tag == "script" and "type" not in attributes] == [{}]
    assert not [tag for tag, _ in found.tags if tag in ("img", "iframe", "object", "embed", "link", "base")]
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    for _, attributes in found.tags:
        assert (attributes.get("href") or "#").startswith("#") and "src" not in attributes
    assert "\u202e" not in page and "\u2028" not in page and "[U+202E]" in page and "[U+2028]" in page
    texts: Any = found.json["texts-0"]
    assert "[U+202E]끝" in texts[0]["d"][0] if isinstance(texts[0]["d"], list) else texts[0]["d"]


def test_the_script_sets_texts_as_text() -> None:
    for name in ("rows.js", "theme.js"):
        script = frame._static(name)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", script), (
            name
        )


def test_python_and_the_script_agree_on_marks_and_words() -> None:
    script = frame._static("rows.js")
    assert f"const CLASSES = {json.dumps([row_html.CLASSES[kind] for kind in range(5)])};" in script
    assert f"const SPEAKERS = {row_html.SPEAKER_COLORS};" in script
    words = set(all_texts()["browser"])
    assert set(re.findall(r"words\.([a-z_]+)", script)) <= words
    ids = set(re.findall(r'get\("([a-z]+)"\)', script))
    html = controls.controls_html(
        run_browser("a", explain_rows([*dev_rows(), DevRow("x", "", "대화", ["요약"], "", {})]), sort="rouge1"),
        {key: texts["en"] for key, texts in all_texts()["browser"].items()},
    )
    assert {f'id="rows-{name}"' for name in ids - {"pair", "outcome"}} <= set(re.findall(r'id="rows-[a-z]+"', html))
    assert set(controls.SHORTCUTS) == set(re.findall(r'^    "?([a-z/?])"?: \(\) =>', script, re.MULTILINE))


def test_every_text_has_both_languages_the_same_values_and_a_use() -> None:
    folder = Path(browser.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py")) + frame._static("rows.js")
    for group, entries in all_texts().items():
        for key, entry in entries.items():
            assert set(entry) == {"en", "ko"} and all(entry.values()), (group, key)
            values = [set(re.findall(r"\{(\w+)\}", entry[language])) for language in ("en", "ko")]
            assert values[0] == values[1], (group, key)
            used = rf"\b{key}\b" if group != "browser" else rf"\b{key}\b|{key.split('_')[0]}"
            assert re.search(used, source) or key.startswith("kind_") or key in COSTS, (group, key)


def test_without_javascript_the_worst_and_the_first_rows_are_there() -> None:
    page = page_of(full_facts())
    without = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    plain = "".join(re.findall(r"<noscript>(.*?)</noscript>", without, re.DOTALL))
    texts = re.sub("<[^>]+>", "", plain)
    assert all(f"dev_{number}" in texts and summary in texts for number, summary in enumerate(SUMMARIES))
    outside = re.sub("<noscript>.*?</noscript>", "", without, flags=re.DOTALL)
    worst = re.findall(r'<article class="dev-row"><div class="row-head"><h3>(dev_\d)', outside)
    assert worst == [f"dev_{number}" for number in range(7, -1, -1)], "the lowest content_sum first"


def test_a_run_without_anything_says_what_is_missing(tmp_path: Path) -> None:
    facts = collect_run(Run(tmp_path, "workspace", None))
    page = page_of(facts)
    for text in ("This run has no scores", "There are no dev dialogues", "The params of this run are not known"):
        assert text in page
    for path in ("metrics/scores.json", "data/predictions/dev.csv", "metrics/per_dialogue.csv", "metrics/predict.json"):
        assert path in facts.missing and path in page


def write(root: Path, path: str, content: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    (root / path).write_text(text, encoding="utf-8")


def test_damaged_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    write(tmp_path, "params.yaml", "model: {family: qlora}\ndata: {folds: 5, fold: 2}\npreprocess: {person_tags: simplify}\n")
    write(tmp_path, "metrics/scores.json", '{"rouge1": ')
    write(tmp_path, "metrics/predict.json", ["a", "list"])
    write(tmp_path, "metrics/preprocess.json", {"dev": {"rows_in": 1234, "changed": {"spaces": 7}}})
    row = {"fname": "a\u2028b", "dialogue": "P1: 안녕\u2028하세요", "references": ["요약입니다."]}
    write(tmp_path, "data/processed/dev.jsonl", row)
    write(tmp_path, "data/predictions/dev.csv", "fname,summary\n")
    write(tmp_path, "metrics/per_dialogue.csv", "fname,rouge1\na,x\n")
    write(tmp_path, "metrics/train/qlora/plots/metrics/train/loss.tsv", "step\tloss\n1\tnan\n2\t3.5\n")
    facts = collect_run(Run(tmp_path, "workspace", None))
    assert {"metrics/scores.json", "metrics/predict.json", "metrics/per_dialogue.csv"} < set(facts.missing)
    assert facts.curves == {"train/loss": [(2.0, 3.5)]}
    (only,) = facts.rows
    assert only.dialogue == "#Person1#: 안녕\u2028하세요" and only.summary is None
    page = page_of(facts)
    assert "1,234" in page and "no summary" in page and "dev is fold 2 of 5 of train.csv" in page
    assert "metrics/scores.json: damaged: JSONDecodeError" in page


def test_debug_pruned_and_endpoint_runs_are_named(tmp_path: Path) -> None:
    facts = full_facts()
    facts.scores = {**SCORES, "debug_run": True}
    assert "DEBUG RUN" in page_of(facts) and "디버그 실행" in page_of(facts, "ko")
    write(tmp_path, "metrics/scores.json", {"pruned": "after epoch 1"})
    write(tmp_path, "params.yaml", "model: {family: endpoint, endpoint: {model: solar-pro}}\n")
    write(tmp_path, "dvc.lock", "stages: {predict: {params: {params.yaml: {model: {family: kobart}, x: 1e-05}}}}\n")
    write(tmp_path, "metrics/predict.json", {"backend": "endpoint", "endpoint": {"price": 0.25}, "decoding": "a=1,b=2"})
    page = page_of(collect_run(Run(tmp_path, "workspace", None)))
    assert "The search ended this trial early, so it has no score: after epoch 1" in page
    assert "A model behind an API is not trained here" in page and "solar-pro" in page and "0.25" in page
    assert "results are of other values: model.family." in page


def test_a_mark_around_a_tag_and_an_emoji() -> None:
    html = marked_html(("😀 #Person1#은 간다", [Mark(0, 14, 0)]))
    assert html == '<span class="copied">😀 <span class="tag p1">#Person1#</span>은 </span>간다'


def test_chunks_hold_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "CHUNK", 3)
    data = browser_data(run_browser("a", explain_rows(dev_rows()), sort=""), {})
    chunks: list[Any] = [data[f"texts-{number}"] for number in range(3)]
    assert [len(chunk) for chunk in chunks] == [3, 3, 2] and "texts-3" not in data
    assert chunks[2][0]["r"] == [SUMMARIES[6]]


def test_names_of_files() -> None:
    assert [str(page_path(name)) for name in ("workspace", "feature/a~1", "../x", "..")] == [
        "reports/workspace.html",
        "reports/feature-a-1.html",
        "reports/x.html",
        "reports/run.html",
    ]
    assert compare_path(["HEAD", "a/b"]).name == "compare-HEAD-a-b.html"
