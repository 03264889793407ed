"""The app in a real Chromium, driven by Playwright. Skipped where one of them is missing; `make test-slow` says so.

    apt install chromium && pip install -r requirements-slow.lock && pytest -rs -m very_slow tests/app/site/test_browser.py

With YOYAK_TEST_SCREENSHOTS=FOLDER a picture of each page at each width is kept there.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.app.site.test_site import git, save_augmented
from yoyak.app.address import listen
from yoyak.app.site.board import Board
from yoyak.app.site.run_site import build_app
from yoyak.reports.experiments import Experiment

pytestmark = pytest.mark.very_slow

RUNS, WIDTHS = 3000, (390, 768, 1280)
PAGES = ("/", "/try", "/searches", "/augmentation", "/logs", "/compare")
SECONDS = 60_000  # milliseconds that a busy machine may take


def many_runs() -> list[Experiment]:
    """A search with thousands of trials, with ten params that vary and twelve metrics."""
    runs = [Experiment("workspace", True, params={"model.family": "kobart"}, metrics={"rouge_sum": 100.0})]
    for number in range(RUNS - 1):
        params: dict[str, float | str] = {
            f"training.param_{place}": round((number * 37 + place) % 101 / 7, 4) for place in range(9)
        }
        params["generation.source"] = ("samples", "beams", "dropout")[number % 3]
        metrics = {"rouge_sum": 100 + number % 997 / 10, "content.rouge_sum": 50 + number % 613 / 10}
        metrics |= {f"metric_{place}": float(number % (place + 3)) for place in range(10)}
        runs.append(
            Experiment(f"wide-t{number:04}", False, params=params, metrics=metrics, revision=f"{number:040x}", baseline="main")
        )
    return runs


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an app with thousands of runs and with augmented rows."""
    root = tmp_path_factory.mktemp("app")
    git(root, "init", "-q", "-b", "main")
    (root / "params.yaml").write_text("model:\n  family: kobart\n", encoding="utf-8")
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first")
    save_augmented(root, rows=45)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("yoyak.app.site.models.dvc_cache_folder", lambda root: root / ".dvc/cache")
        guarded, site = build_app(root, "en", key=None, host="127.0.0.1", models=1)
        site.board = Board(root, read=lambda _: many_runs())
        site.board.snapshot()
        site.board.wait(60)
        with listen("127.0.0.1", 0) as opened:
            server = uvicorn.Server(uvicorn.Config(guarded, log_config=None, lifespan="off", ws="none"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
            thread.start()
            while not server.started:
                time.sleep(0.05)
            yield f"http://localhost:{opened.getsockname()[1]}"
            server.should_exit = True
            thread.join(20)
            site.pages.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    how = "python -m pip install -r requirements-slow.lock, which `make test-slow` does"
    sync_api = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed: {how}")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        path = path or playwright.chromium.executable_path
        if not Path(path).is_file():
            pytest.skip("no Chromium for the tests of the app: apt install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page whose script errors and messages of the console end the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.set_default_timeout(SECONDS)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert not faults


def test_a_board_of_thousands_of_runs_shows_a_page_of_them_soon(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("#board tbody tr a")
    seen = page.evaluate("performance.now()")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"{RUNS} runs: first paint after {paint:.0f} ms, first rows after {seen:.0f} ms")
    assert paint < 20_000 and seen < SECONDS  # the printed times say more, where the machine is not busy
    assert page.locator("#board tbody tr").count() == 100
    assert "1–100 of 3000" in page.inner_text(".pager")
    page.click(".pager button:last-child")
    assert "101–200 of 3000" in page.inner_text(".pager")
    page.click('button[data-name="rouge_sum"]')  # back to the first page, the best run first
    assert "1–100 of 3000" in page.inner_text(".pager")
    assert "199.60" in page.inner_text("#board tbody tr:first-child")
    page.fill('input[type="search"]', "wide-t0042")
    assert page.locator("#board tbody tr").count() == 1 and not page.is_visible(".pager")
    page.fill('input[type="search"]', "source=beams")
    assert "1000 of 3000 runs" in page.inner_text(".count") and "1–100 of 1000" in page.inner_text(".pager")
    page.select_option("select", "search")
    assert "wide (1000)" in page.inner_text("#board .group")
    page.wait_for_selector("figure svg circle")
    assert page.locator("figure svg circle").count() == 500
    assert "the 500 runs of 1000 with the highest rouge_sum" in page.inner_text("#board")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen(page: Any, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    kept = os.environ.get("YOYAK_TEST_SCREENSHOTS")
    for path in PAGES:
        page.goto(address + path)
        if path == "/":
            page.wait_for_selector("#board tbody tr a")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.inner_text("h1")
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{kept}/{path.strip('/') or 'board'}-{width}.png")


def test_augmented_rows_can_be_paged_and_rejected_ones_opened(page: Any, address: str) -> None:
    page.goto(f"{address}/augmentation")
    page.click("text=Next")
    assert "21–40 of 45" in page.inner_text("main")
    page.goto(f"{address}/augmentation")
    assert not page.is_visible("text=버린 대화")
    page.click("text=noise: repeated (1)")
    assert page.is_visible("text=버린 대화")
