"""`make gpu` without a GPU: each check in a small form, the runner, the table; and the table of costs."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import costs
from bench.gpu import checks, outcomes, running, table
from bench.gpu.checks import Check
from tests.conftest import ROOT

CHEAP = ("sdpa", "matrix-products", "greedy-kobart", "packing-encoder-decoder", "memory-kobart")


def numbers(small: bool) -> outcomes.Figures:
    return outcomes.require_at_most({"good": 1.0, "bad": 2.0 if small else float("nan")}, {"good": 1.0, "bad": 2.0})


def absent(small: bool) -> outcomes.Figures:
    raise outcomes.CannotRunError("bitsandbytes has no CUDA")


def broken(small: bool) -> outcomes.Figures:
    raise RuntimeError("kernel")


@pytest.mark.parametrize(
    ("place", "small", "status", "why"),
    [
        ("numbers", True, "passed", ""),
        ("numbers", False, "failed", "bad is nan, at most 2 is expected"),
        ("absent", True, "skipped", "bitsandbytes has no CUDA"),
        ("broken", True, "crashed", "RuntimeError: kernel"),
    ],
)
def test_a_check_becomes_a_status_with_its_reason(
    place: str, small: bool, status: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Check("one", "correctness", 9, "unused")
    monkeypatch.setattr(Check, "function", lambda self: globals()[place])
    result = running.perform(check, small=small)
    assert (result["status"], result["why"]) == (status, why)


class Interpreter:
    """Instead of this module's process: one that ends in the way that the name of the check says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", self.start)

    def start(self, words: list[str], **kwargs: Any) -> Any:
        done = {"name": words[4], "kind": "correctness", "status": "passed", "why": "", "figures": {"a": 1.5}, "seconds": 1.0}
        code = {
            "good": f"print('noise'); print({running.PREFIX + json.dumps(done)!r})",
            "killed": "import os; os.kill(os.getpid(), 9)",
            "hangs": "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)",
        }[words[4]]
        return self.real([sys.executable, "-c", code], **kwargs)


def test_a_crash_and_a_hang_end_one_check_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Interpreter(monkeypatch)
    monkeypatch.setattr(running, "SMALL_FACTOR", 1)
    chosen = [Check(name, "correctness", 1 if name == "hangs" else 60, "") for name in ("killed", "hangs", "good")]
    report = running.Report(tmp_path / "gpu.json", {"form": "small"}, [check.name for check in chosen])
    start = time.monotonic()
    running.run_all(chosen, report, small=True, seconds=100, jobs=3)
    assert time.monotonic() - start < 30
    written = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["checks"]
    assert [(found["name"], found["status"], found["why"]) for found in written] == [
        ("killed", "crashed", "ended by signal 9"),
        ("hangs", "timed out", "it took more than 1 s"),
        ("good", "passed", ""),
    ]


def test_checks_that_measure_time_run_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running_now: set[str] = set()
    seen: dict[str, set[str]] = {}

    def run_one(check: Check, **_: Any) -> running.Result:
        running_now.add(check.name)
        time.sleep(0.05)
        seen[check.name] = set(running_now)
        running_now.discard(check.name)
        return {"name": check.name, "kind": check.kind, "status": "passed", "why": "", "figures": {}, "seconds": 0.0}

    monkeypatch.setattr(running, "run_one", run_one)
    chosen = [Check("a", "correctness", 9, ""), Check("b", "correctness", 9, ""), Check("t", "measurement", 9, "", alone=True)]
    chosen.append(Check("c", "measurement", 9, ""))
    running.run_all(chosen, running.Report(tmp_path / "g.json", {}, list("abtc")), small=True, seconds=9, jobs=2)
    assert "b" in seen["a"] | seen["b"] and len(seen["a"] | seen["b"]) == 2 and seen["t"] == {"t"} and seen["c"] == {"c"}


def test_without_time_a_check_says_so() -> None:
    result = running.run_one(Check("late", "correctness", 60, ""), small=True, end=time.monotonic() + 1)
    assert (result["status"], result["why"]) == ("skipped", "no time was left")


def test_every_check_has_a_function_and_a_name_of_its_own() -> None:
    listed = checks.all_checks()
    assert len({check.name for check in listed}) == len(listed)
    for check in listed:
        assert callable(check.function())
    assert {entry[place] for entry in table.RATIOS for place in (0, 1)} <= {check.name for check in listed}


def test_the_page_has_ratios_utilisation_and_memory() -> None:
    def measured(name: str, **figures: Any) -> dict[str, Any]:
        return {"name": name, "kind": "measurement", "status": "measured", "why": "", "figures": figures, "seconds": 2.0}

    report = {
        "about": {"device": "some GPU"},
        "checks": [
            {"name": "nf4", "kind": "correctness", "status": "skipped", "why": "a | b", "figures": {}, "seconds": 1.0},
            measured("matrix-products", bfloat16_tflops=800.0),
            measured("train-kobart-yoyak", tokens_a_second_warm=300.0, tflops=200.0),
            measured("train-kobart-plain", tokens_a_second_warm=100.0, tflops=60.0),
            measured(
                "memory-x",
                estimated_training_gib=4.0,
                estimated_prediction_gib=3.0,
                training_peak_gib=5.0,
                **{"training: measured over estimated": 1.25},
            ),
        ],
    }
    page = table.page(report)
    assert "| nf4 | skipped | 1 | a / b |" in page
    assert "| training KoBART's shape beside a plain script | 3.00 |" in page
    assert "| kobart-yoyak | 200 | 25.0% |" in page
    assert "| x | 4.0, 3.0 | 5.0, no GPU | 1.25 |" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEAP)
def test_a_check_runs_in_small_form(name: str) -> None:
    _run_small(name)


@pytest.mark.very_slow
@pytest.mark.parametrize("name", [check.name for check in checks.all_checks() if check.name not in CHEAP])
def test_every_check_runs_in_small_form(name: str) -> None:
    _run_small(name)


def _run_small(name: str) -> None:
    (check,) = [check for check in checks.all_checks() if check.name == name]
    result = running.perform(check, small=True)
    assert result["status"] in ("passed", "measured", "skipped"), result
    assert result["figures"] or result["why"]


@pytest.mark.very_slow
def test_the_command_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench.gpu", "--output", str(tmp_path / "gpu.json")]
    done = subprocess.run(
        words, check=False, cwd=ROOT, env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 3 and done.stderr.strip().count("\n") == 0 and "finds no NVIDIA GPU" in done.stderr
    assert not list(tmp_path.iterdir())


def test_costs_follow_the_utilisation_and_the_price() -> None:
    found = costs.model_of("qwen3-4b")
    assert found
    h100 = costs.GPUS[-1]
    args = costs.parser().parse_args(["--utilisation", "0.2"])
    hours = costs.costs_of(*found, h100, args)
    args.utilisation = 0.4
    faster = costs.costs_of(*found, h100, args)
    assert hours and faster and hours[0] == pytest.approx(2 * faster[0]) and hours[1] > faster[1]
    args.rows *= 3
    more = costs.costs_of(*found, h100, args)
    assert more and more[0] == pytest.approx(3 * faster[0])
    assert costs._cell((2.0, 0.5), 3.0) == "2 h + 30 min, 6.00 + 1.50"
    large = costs.model_of("polyglot-ko-12.8b")
    assert large and costs.costs_of(*large, costs.Gpu("small", 1, 1, 6), args) is None


@pytest.mark.parametrize("text", ["H100", "H100=x", "X9=1", "H100=-1", "H100=nan"])
def test_a_wrong_price_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        costs.parser().parse_args(["--price", text])
    assert "write GPU=PRICE, such as H100=2.5" in capsys.readouterr().err


def test_the_utilisation_comes_from_a_full_run_of_make_gpu(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    assert costs.measured_utilisation(path) is None
    figures = {"train-llama-yoyak": {"tflops": 320.0}, "matrix-products": {"bfloat16_tflops": 800.0}}
    found = [{"name": name, "status": "measured", "figures": values} for name, values in figures.items()]
    for form, expected in (("small", None), ("full", 0.4)):
        path.write_text(json.dumps({"about": {"form": form}, "checks": found}), encoding="utf-8")
        assert costs.measured_utilisation(path) == expected


@pytest.mark.very_slow
def test_the_committed_table_of_costs_is_that_of_the_code() -> None:
    args = costs.parser().parse_args([])
    args.utilisation = costs.measured_utilisation() or costs.UTILISATION
    made = [*costs.table(args), "", f"({costs.assumptions(args)})"]
    for page in costs.PAGES:
        text = page.read_text(encoding="utf-8")
        assert costs.written_into(text, made) == text
