"""Makes the pages of runs, comparisons, searches and data, as the commands of the same names do, with links to the app."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from yoyak.app.site.page_jobs import MadePage
from yoyak.app.site.shell import above_page
from yoyak.reports.experiments import WORKSPACE
from yoyak.reports.page.frame import Language, Page, render_page, script_sources
from yoyak.reports.runs import Run, find_revision
from yoyak.system.errors import YoyakError

RUN_FILES = (
    "params.yaml", "dvc.lock", "metrics/scores.json", "metrics/per_dialogue.csv", "metrics/predict.json",
    "data/predictions/dev.csv", "data/processed/dev.jsonl",
)  # fmt: skip
SAMPLE = 10_000  # rows that the exploration measures, as `yoyak explore`
# plotly's figures have scripts with data in them. A sandbox has no access to the app, whatever runs in it.
SANDBOX = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def run_key(root: Path, name: str) -> str:
    """What the page of a run depends on: its commit, or the state of the files in the workspace.

    Raises:
        YoyakError: if there is no such run.
    """
    if "\0" in name:  # git cannot be asked
        raise YoyakError(f"{name}: no experiment has this name")
    if name != WORKSPACE:
        return find_revision(root, name)
    return _state(root / path for path in RUN_FILES)


def data_key(root: Path) -> str:
    """A hash of params.yaml and of the content of the CSV files of data.dir.

    Raises:
        YoyakError: if params.yaml is invalid.
    """
    from yoyak.config.params import load_params

    folder = root / load_params(root / "params.yaml").data.dir
    digest = hashlib.sha256((root / "params.yaml").read_bytes())
    for path in sorted(folder.glob("*.csv")):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def studies_key(root: Path) -> str:
    """The state of the database of studies."""
    return _state(root / ".searches" / name for name in ("studies.db", "studies.db-wal"))


def _state(paths: Iterable[Path]) -> str:
    parts = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        parts.append(f"{path} {status.st_mtime_ns} {status.st_size}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_run_page(root: Path, name: str, language: Language) -> MadePage:
    """The page of `yoyak report`."""
    from yoyak.reports.run_page.dev_rows import explain_rows
    from yoyak.reports.run_page.files import collect_run
    from yoyak.reports.run_page.run_page import run_page

    facts = collect_run(Run.find(root, name))
    return _made(run_page(facts, explain_rows(facts.rows), language), language)


def make_compare_page(root: Path, names: Sequence[str], language: Language) -> MadePage:
    """The page of `yoyak compare --html`.

    Raises:
        YoyakError: if the runs cannot be compared.
    """
    from yoyak.reports.comparison import compare_runs
    from yoyak.reports.run_page.compare_page import compare_page
    from yoyak.reports.run_page.files import read_dev_rows
    from yoyak.reports.run_page.pair_rows import pairs_browser

    runs = [Run.find(root, name) for name in names]
    comparison = compare_runs(runs)
    rows, missing = {}, {}
    for run in runs:
        rows[run.name], faults = read_dev_rows(run)
        if faults:
            missing[run.name] = "; ".join(faults.values())
    return _made(compare_page(comparison, pairs_browser(rows), language, missing), language)


def make_explore_page(root: Path, language: Language) -> MadePage:
    """The page of `yoyak explore` for data.dir.

    Raises:
        YoyakError: if the data cannot be read.
    """
    from yoyak.config.params import load_params
    from yoyak.data.exploration.corpus import find_corpora
    from yoyak.data.exploration.scan import ScanSettings
    from yoyak.reports.exploration.exploration import explore
    from yoyak.reports.exploration.explore_page import explore_page

    params = load_params(root / "params.yaml")
    # A path below the working folder, so that the page does not show where the repository is.
    corpora = find_corpora([Path(os.path.relpath(root / params.data.dir))])
    return _made(explore_page(explore(corpora, ScanSettings(params.preprocess, SAMPLE, 42), params), language), language)


def make_search_page(name: str, language: Language) -> MadePage:
    """The page of `yoyak search NAME --report`.

    Raises:
        YoyakError: if there is no such study.
    """
    from yoyak.reports.search_page import write_study_page

    with tempfile.TemporaryDirectory(prefix="yoyak-app-") as folder:
        path = Path(folder) / "study.html"
        write_study_page(name, path)
        html = path.read_text(encoding="utf-8")
    return MadePage(html.replace("<body>", f"<body>{above_page(language)}", 1).encode(), SANDBOX)


def _made(page: Page, language: Language) -> MadePage:
    policy = (
        f"default-src 'none'; script-src {' '.join(script_sources(page))}; style-src 'unsafe-inline'; font-src data:; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return MadePage(render_page(page, above=above_page(language)).encode("utf-8", "replace"), policy)
