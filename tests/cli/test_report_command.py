"""`yoyak report`, and the pages of compare and score. tests/reports/run_page has the pages themselves."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import error_of, save_predictions
from tests.conftest import SUMMARIES
from tests.reports.page.test_page import Elements
from tests.reports.test_comparison import git, repository, write_run  # noqa: F401  (a fixture)
from yoyak.cli.main import main


def test_a_fresh_folder_gives_a_page_that_names_what_is_missing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", "--language", "en"])
    page = (root / "reports" / "workspace.html").read_text(encoding="utf-8")
    assert "This run has no scores." in page and "<title>Run workspace</title>" in page
    printed = capsys.readouterr().out
    assert "not shown: metrics/scores.json: no such file" in printed and "reports/workspace.html: open it" in printed


@pytest.mark.usefixtures("root")
def test_an_unknown_run_is_named() -> None:
    assert "not a git repository" in error_of("report", "mine")


def test_pages_of_files_of_predictions(root: Path) -> None:
    given = save_predictions([text.replace("#Person1#", "#Person2#") for text in SUMMARIES])
    words = ["score", "--predictions", str(given), "--references", "data/raw/dev.csv", "--language", "en"]
    main([*words, "--html", "one.html", "--json", "scores.json"])
    found = Elements((root / "one.html").read_text(encoding="utf-8"))
    scores = json.loads((root / "scores.json").read_text(encoding="utf-8"))
    assert f"{scores['rouge_sum']:.2f}" in found.texts and "given.csv" in " ".join(found.texts)
    assert found.json["browser"]["fnames"][:2] == ["dev_0", "dev_1"]  # type: ignore[index]
    best = root / "best.csv"
    best.write_bytes(save_predictions(list(SUMMARIES)).read_bytes())
    save_predictions([text.replace("#Person1#", "#Person2#") for text in SUMMARIES])
    main([*words, "--against", str(best), "--html", "two.html"])
    found = Elements((root / "two.html").read_text(encoding="utf-8"))
    assert found.json["browser"]["runs"] == [str(best), "given.csv"]  # type: ignore[index]
    assert found.json["texts-0"][0]["p"][0][0], "the tags differ"  # type: ignore[index]


def test_compare_writes_its_page(repository, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    root, repo = repository
    first = write_run(root, repo, raised=0, beams=1)
    write_run(root, repo, raised=8, beams=4)
    monkeypatch.chdir(root)
    main(["compare", first, "workspace", "--html", "--samples", "200", "--language", "en"])
    page = (root / "reports" / f"compare-{first}-workspace.html").read_text(encoding="utf-8")
    assert ">better</span>" in page and "generation.num_beams" in page
    assert "The summaries of workspace are not there: data/predictions/dev.csv" in page
    main(["report", "HEAD", "--output", "head.html", "--language", "en"])
    page = (root / "head.html").read_text(encoding="utf-8")
    texts = Elements(page).texts
    assert "generation.num_beams" in texts and first[:7] in " ".join(texts), "what differs from the commit below"


def test_a_commit_with_a_damaged_dvc_yaml_shows_what_git_has(  # type: ignore[no-untyped-def]
    repository,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, repo = repository
    write_run(root, repo, raised=0, beams=1)
    (root / "dvc.yaml").write_text("stages: [broken", encoding="utf-8")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "broken")
    monkeypatch.chdir(root)
    main(["report", "HEAD", "--language", "en"])
    assert "generation.num_beams" in (root / "reports" / "HEAD.html").read_text(encoding="utf-8")
    assert "not shown: HEAD: DVC cannot read metrics/per_dialogue.csv of this commit" in capsys.readouterr().out
