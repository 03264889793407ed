"""The web app: every page, its live data, models to try, and what is hostile, damaged or gone."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.search.test_stored_studies import store_study
from yoyak.app.address import listen
from yoyak.app.site import site as routes
from yoyak.app.site.board import Board, read_all, table_of
from yoyak.app.site.model_pool import ModelPool
from yoyak.app.site.models import Offer
from yoyak.app.site.page_jobs import MadePage, PageJobs
from yoyak.app.site.run_site import build_app, check_port
from yoyak.app.site.try_models import TryRequest, marked_parts, rows_of
from yoyak.inference.shared_model import SharedModel
from yoyak.reports import experiments
from yoyak.reports.experiments import Experiment
from yoyak.system.errors import YoyakError

HOSTILE = "<script>alert(1)</script>\u2028\u202e javascript:x"
DIALOGUE = "#Person1#: 점심 먹었어?\n#Person2#: 아직. 같이 먹을래?"
KEY = "a-key-of-more-than-16-characters"
RUNS = [
    Experiment("workspace", True, params={"a.lr": 0.1, "b": "x"}, metrics={"rouge_sum": 100.0}),
    Experiment("main", True, params={"a.lr": 0.2, "b": "x"}, revision="1" * 40, metrics={"rouge_sum": float("nan")}),
    Experiment("deep-t0003", False, "running", params={"a.lr": 0.3, "b": "x"}, revision="2" * 40, baseline="main"),
    Experiment(f"odd/{HOSTILE}", False, "unreadable", revision="3" * 40, baseline="main", error=HOSTILE),
]


@dataclass
class App:
    """A client, what the app uses, and its repository."""

    client: TestClient
    site: routes.Site
    root: Path

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text[:500]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        return answer.text


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The app on a small repository of git. DVC is not asked."""
    yield from _app(tmp_path, monkeypatch, key=None)


def _app(root: Path, monkeypatch: pytest.MonkeyPatch, *, key: str | None) -> Iterator[App]:
    git(root, "init", "-q", "-b", "main")
    (root / "params.yaml").write_text("model:\n  family: kobart\n", encoding="utf-8")
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first")
    monkeypatch.chdir(root)
    monkeypatch.setattr("yoyak.app.site.models.dvc_cache_folder", lambda root: root / ".dvc/cache")
    guarded, site = build_app(root, "en", key=key, host="127.0.0.1", models=1)
    site.board = Board(root, read=lambda _: RUNS)
    site.wait = 20
    yield App(TestClient(guarded, base_url="http://localhost", raise_server_exceptions=False), site, root)
    site.pages.close()


def board_of(app: App) -> Any:
    app.get("/api/experiments")
    app.site.board.wait(20)
    return json.loads(app.get("/api/experiments"))


def test_the_board_has_runs_with_what_varies_and_hostile_names_as_text(app: App) -> None:
    board = board_of(app)
    assert [row["kind"] for row in board["rows"]] == ["workspace", "commit", "experiment", "experiment"]
    assert board["params"] == ["a.lr"] and board["constant"] == {"b": '"x"'}
    assert board["rows"][1]["metrics"] == {"rouge_sum": None}  # NaN is no JSON
    assert board["rows"][2]["search"] == "deep" and any("deep-t0003" in line for line in board["running"])
    assert (
        "[U+202E]" in board["rows"][3]["name"]
        and board["rows"][3]["state"] == "unreadable"
        and "[U+202E]" in board["rows"][3]["error"]
    )
    page = app.get("/")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page and "\u202e" not in page
    assert "make repro" in page  # nothing is trained yet


def test_no_page_of_the_app_has_an_inline_script_or_style_or_loads_from_elsewhere(app: App) -> None:
    board_of(app)
    for path in ("/", "/try", "/searches", "/augmentation", "/logs", "/compare", "/runs/nothing-here"):
        page = app.client.get(path).text
        for script in re.findall(r"<script([^>]*)>", page):
            assert 'src="/static/' in script or 'type="application/json"' in script
        assert "<style" not in page and " style=" not in page and not re.search(r"""(src|href)=["'](https?:)?//""", page)
        for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            assert app.client.get(name).status_code == 200


def test_an_unchanged_board_is_answered_with_304_and_dvc_is_asked_once(app: App) -> None:
    calls = []

    def read(root: Path) -> list[Experiment]:
        calls.append(root)
        return RUNS

    app.site.board = Board(app.root, read=read)
    board_of(app)
    etag = app.client.get("/api/experiments").headers["etag"]
    for _ in range(3):
        assert app.client.get("/api/experiments", headers={"If-None-Match": etag}).status_code == 304
    assert len(calls) == 1
    git(app.root, "update-ref", "refs/exps/aa/bb/new", "HEAD")  # an experiment has ended
    board_of(app)
    assert len(calls) == 2


def test_a_repository_that_dvc_cannot_read_leaves_the_board_with_a_message(app: App) -> None:
    def fail(_: Path) -> list[Experiment]:
        raise YoyakError(f"dvc exp show: damaged {HOSTILE}")

    app.site.board = Board(app.root, read=fail)
    board = board_of(app)
    assert board["rows"] == [] and "dvc exp show: damaged" in board["error"] and not board["reading"]
    app.get("/")


def test_commits_with_experiments_are_read_although_they_are_old(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def dvc(_: Path, *args: str) -> str:
        asked.extend(args)
        return "[]"

    monkeypatch.setattr(experiments, "dvc", dvc)
    head = git(app.root, "rev-parse", "HEAD")
    git(app.root, "update-ref", f"refs/exps/{'ab'}/{'c' * 38}/old", "HEAD")
    read_all(app.root)
    assert asked[asked.index("--rev") + 1] == head and "ab" + "c" * 38 in asked


def test_names_that_are_not_unique_lead_to_their_commits() -> None:
    twins = [Experiment("same", False, revision=letter * 40, baseline="x") for letter in "ab"]
    assert [row["run"] for row in table_of(twins)["rows"]] == ["a" * 40, "b" * 40]


def test_run_pages_of_nothing_of_a_bare_workspace_and_of_hostile_names(app: App) -> None:
    page = app.get("/runs/workspace")
    policy = app.client.get("/runs/workspace").headers["content-security-policy"]
    assert "'sha256-" in policy and "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert 'class="app-bar"' in page
    for name in ("nope", "..%2f..%2fetc%2fpasswd", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "--help", "%00", "%ED%A0%80"):
        answer = app.client.get(f"/runs/{name}")
        assert answer.status_code == 404 and "<script>alert" not in answer.text, name
    assert "no experiment, branch, tag or commit" in app.get("/runs/nope", 404)


def test_compare_says_what_it_needs(app: App) -> None:
    assert "Choose two to 6" in app.get("/compare")
    assert "Choose two to 6" in app.get("/compare?runs=main", 400)
    app.get("/compare?runs=main,main", 400)
    assert "metrics/" in app.get("/compare?runs=main,workspace", 404)  # neither has scores
    assert "no experiment" in app.get("/compare?run=main&run=gone", 404)


def test_searches_without_any_and_with_a_damaged_database(app: App) -> None:
    assert "No search has run here yet" in app.get("/searches")
    app.get("/searches/x", 404)
    (app.root / ".searches").mkdir()
    (app.root / ".searches/studies.db").write_bytes(b"no database")
    assert "cannot be read" in app.get("/searches", 500)


def test_data_with_invalid_params_is_a_message(app: App) -> None:
    page = app.get("/explore", 404)
    assert "params.yaml" in page and str(app.root) not in page


def test_logs_are_looked_up_in_the_listing_and_their_text_is_harmless(app: App) -> None:
    folder = app.root / ".dvc/tmp/exps/run/abc"
    folder.mkdir(parents=True)
    (folder / "abc.out").write_text(f"start\n 10%|#| 1/10\r 50%|##| 5/10\x1b[A\n{HOSTILE}\n", encoding="utf-8")
    (folder / "abc.run").write_text(json.dumps({"name": "quick"}), encoding="utf-8")
    (folder / "link.out").symlink_to("/etc/passwd")
    found = json.loads(app.get("/api/logs"))["logs"]
    assert [(log["name"], log["kind"], log["percent"], log["live"]) for log in found] == [("quick", "experiment", 50, True)]
    lines = json.loads(app.get(f"/api/logs/{found[0]['id']}"))["lines"]
    assert lines[:2] == ["start", " 50%|##| 5/10"] and "[U+202E]" in lines[2]
    page = app.get("/logs")
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    for name in ("abc.out", "..%2f..%2fparams.yaml", "0" * 16):
        assert app.client.get(f"/api/logs/{name}").status_code == 404


def test_unknown_paths_and_files(app: App) -> None:
    for path in ("/nothing", "/static/nothing.js", "/static/..%2fsite.py"):
        app.get(path, 404)


def use_model(app: App, monkeypatch: pytest.MonkeyPatch, shared: SharedModel, names: tuple[str, ...] = ("one",)) -> list[str]:
    loads: list[str] = []

    def load(root: Path, offer: Offer, folder: Path) -> SharedModel:
        loads.append(offer.name)
        if offer.name == "damaged":
            raise YoyakError(f"damaged: the model is not there {HOSTILE}")
        return shared

    offers = [Offer(f"id-{name}", name, "kobart", None, 5) for name in names]
    monkeypatch.setattr(app.site.models, "offers", lambda: offers)
    app.site.pool = ModelPool(app.root, most=1, load=load)
    return loads


def events_of(app: App, **sent: Any) -> list[dict[str, Any]]:
    with app.client as client:  # one event loop, to which the pool belongs
        answer = client.post("/api/try", json={"text": DIALOGUE, **sent})
        assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_models_write_one_after_another_and_one_that_is_gone_says_so(
    app: App, monkeypatch: pytest.MonkeyPatch, shared: SharedModel
) -> None:
    loads = use_model(app, monkeypatch, shared, ("one", "damaged", "two"))
    assert 'data-name="damaged"' in app.get("/try")
    events = events_of(app, models=["id-one", "id-damaged", "id-two"])
    assert events[-1] == {"event": "done"} and sorted(loads) == ["damaged", "one", "two"]
    written = {event["model"]: event for event in events if event["event"] == "summary"}
    assert set(written) == {"id-one", "id-two"} and written["id-one"]["parts"] == written["id-two"]["parts"]
    assert written["id-one"]["tokens"]["input"] > 0 and written["id-one"]["seconds"] >= 0
    assert len(app.site.pool.names) == 1  # the others made room
    (failed,) = [event for event in events if event["event"] == "error"]
    assert failed["model"] == "id-damaged" and "[U+202E]" in failed["message"]
    app.site.pool.close()


def test_rows_of_a_csv_and_a_text_that_is_no_dialogue(app: App, monkeypatch: pytest.MonkeyPatch, shared: SharedModel) -> None:
    use_model(app, monkeypatch, shared)
    text = f'fname,dialogue\na,"{DIALOGUE}"\nb,no speaker here\n'
    events = events_of(app, models=["id-one"], text=text, is_csv=True)
    assert [event["row"] for event in events if event["event"] == "summary"] == [0]
    assert [event["row"] for event in events if event["event"] == "error"] == [1]
    app.site.pool.close()


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"models": ["gone"], "text": DIALOGUE}, 404, "no longer there"),
        ({"models": [], "text": DIALOGUE}, 422, "models"),
        ({"models": ["x"], "text": "  "}, 422, "no text"),
        ({"models": ["x"], "text": "a" * 20_001}, 422, "at most 20,000"),
        ({"models": ["x"], "text": "a,b\n1,2\n", "is_csv": True}, 422, "no column dialogue"),
        ({"models": ["x"], "text": "dialogue\n" + "a\n" * 21, "is_csv": True}, 422, "more than 20 rows"),
        ({"models": ["x"], "text": 'dialogue\n"open', "is_csv": True}, 422, "CSV: line 1"),
        ({"models": ["x"], "text": DIALOGUE, "path": "/etc"}, 422, "unknown field"),
        ({"models": ["x"], "text": "a" * 3_000_000}, 413, "too_large"),
    ],
)
def test_wrong_requests(app: App, sent: dict[str, Any], status: int, words: str) -> None:
    answer = app.client.post("/api/try", json=sent)
    assert answer.status_code == status and words in answer.text


def test_facts_that_the_dialogue_lacks_are_marked_and_unseen_characters_shown() -> None:
    parts, facts = marked_parts("#Person9#는 3시에 만납니다.\u202e<b>", DIALOGUE)
    assert ("#Person9#", "tag") in parts and {"text": "#Person9#", "kind": "tag"} in facts
    assert any(kind == "number" for _, kind in parts) and "[U+202E]<b>" in parts[-1][0]
    assert rows_of(TryRequest(models=["x"], text=DIALOGUE, topic="t"))[0].topic == "t"


def test_requests_of_other_sites_and_other_host_names_are_refused(app: App) -> None:
    sent = {"models": ["x"], "text": DIALOGUE}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert app.client.post("/api/try", json=sent, headers=headers).status_code == 403
    assert app.client.post("/api/try", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert app.client.get("/", headers={"Host": "evil.example"}).status_code == 403
    own = app.client.post("/api/try", json=sent, headers={"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 404


def test_a_key_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for app in _app(tmp_path, monkeypatch, key=KEY):
        app.client.follow_redirects = False
        assert app.client.get("/api/experiments").status_code == 401
        assert app.client.get("/runs/a").headers["location"] == "/login?next=%2Fruns%2Fa"
        assert "password" in app.get("/login") and app.client.get("/static/app.css").status_code == 200
        assert app.client.post("/login", data={"key": "wrong"}).status_code == 401
        done = app.client.post("/login?next=//evil.example", data={"key": KEY})
        assert done.status_code == 303 and done.headers["location"] == "/"
        assert "HttpOnly" in done.headers["set-cookie"] and KEY not in done.headers["set-cookie"]
        app.get("/")
        app.client.cookies.clear()
        app.client.cookies.set("yoyak-app", "0" * 64)
        assert app.client.get("/api/experiments").status_code == 401
        assert app.client.get("/api/experiments", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_a_port_in_use_names_a_free_one() -> None:
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(YoyakError, match=rf"--port {port}: in use .*free: yoyak app --port \d+"):
            check_port("127.0.0.1", port)


def test_a_slow_page_is_made_once_and_a_failed_one_again() -> None:
    jobs, made = PageJobs(most_bytes=10), []

    def slow() -> MadePage:
        made.append(1)
        time.sleep(0.2)
        return MadePage(b"123456", "")

    def fail() -> MadePage:
        made.append(2)
        raise YoyakError("no")

    assert jobs.get(("a",), slow, wait=0) is None
    assert jobs.get(("a",), slow, wait=5) == MadePage(b"123456", "") and made == [1]
    jobs.get(("b",), slow, wait=5)  # both have more than ten bytes, so the older one goes
    jobs.get(("a",), slow, wait=5)
    assert made == [1, 1, 1]
    for _ in range(2):
        with pytest.raises(YoyakError, match="no"):
            jobs.get(("c",), fail, wait=5)
    assert made[-2:] == [2, 2]
    jobs.close()


def test_the_page_of_a_search_stands_in_a_sandbox(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    store_study(app.root, commit="0" * 40, tree="0" * 40)
    assert '<a href="/searches/s">s</a>' in app.get("/searches")
    page = app.get("/searches/s")
    assert 'class="app-bar"' in page and "Best trials" in page
    assert app.client.get("/searches/s").headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "no study gone" in app.get("/searches/gone", 404)


def save_augmented(root: Path, *, rows: int) -> None:
    """Files as the stages preprocess and augment leave them."""
    for folder in ("data/processed", "data/augmented", "metrics"):
        (root / folder).mkdir(parents=True, exist_ok=True)

    def save(path: str, lines: list[dict[str, Any]]) -> None:
        (root / path).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")

    train = [
        {"fname": f"train_{n}", "dialogue": f"{DIALOGUE}\n{n}번", "summary": "점심 약속.", "topic": ""} for n in range(rows)
    ]
    save("data/processed/train.jsonl", train)
    new = [{**row, "fname": f"{row['fname']}+noise", "source": row["fname"], "method": "noise"} for row in train]
    new[0]["dialogue"] = new[0]["dialogue"].replace("아직", HOSTILE)
    save("data/augmented/train.jsonl", new)
    refused = {"method": "templates", "source": "train_1", "reason": "one_speaker"}
    repeated = {"method": "noise", "source": "train_2", "reason": "repeated", "dialogue": "버린 대화", "summary": "버린 요약"}
    save("data/augmented/rejected.jsonl", [refused, repeated])
    counts = {"noise": {"tried": rows + 1, "kept": rows, "rejected": {"repeated": 1}}}
    counts["templates"] = {"tried": 1, "kept": 0, "rejected": {"one_speaker": 1}}
    (root / "metrics/augment.json").write_text(json.dumps({"added": rows, "methods": counts}), encoding="utf-8")


def test_augmented_rows_stand_beside_their_sources_and_rejected_ones_under_their_reason(app: App) -> None:
    assert "has not run here yet" in app.get("/augmentation")
    save_augmented(app.root, rows=45)
    page = app.get("/augmentation")
    assert "1–20 of 45" in page and page.count('<section class="panel">') == 22
    assert "<mark>" in page and "&lt;script&gt;alert(1)" in page and "<script>alert" not in page  # only what differs is marked
    assert page.partition("Why rows were rejected")[0].count("<mark>") == 2
    assert "templates: one_speaker (1)" in page and "noise: repeated (1)" in page and "버린 대화" in page
    last = app.get("/augmentation?method=noise&page=99")
    assert "41–45 of 45" in last and "train_44+noise" in last and "one_speaker (1)" not in last
    assert "0–0 of 0" in app.get("/augmentation?method=templates&page=%EF%BC%91")
    assert "1–20 of 45" in app.get("/augmentation?method=%3Cscript%3E&page=-1")
    (app.root / "metrics/augment.json").write_text(json.dumps({"added": 0}), encoding="utf-8")
    assert "adds nothing here" in app.get("/augmentation")
    save_augmented(app.root, rows=2)
    (app.root / "data/augmented/train.jsonl").write_text("{", encoding="utf-8")
    assert "data/augmented cannot be read" in app.get("/augmentation")
