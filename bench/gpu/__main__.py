import argparse
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bench.gpu
from bench import ROOT
from bench.gpu import table
from bench.gpu.checks import all_checks
from bench.gpu.running import PREFIX, Report, is_bad, perform, run_all

NO_GPU = 3  # exit status
PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "trl", "flash-attn", "vllm")


def about(*, small: bool) -> dict[str, Any]:
    """The machine and the packages, for gpu.json."""
    import torch

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "device": gpu.name if gpu else "CPU",
        "memory_gib": round(gpu.total_memory / 2**30, 1) if gpu else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "form": "small" if small else "full",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.gpu", description=(bench.gpu.__doc__ or "").splitlines()[0])
    made.add_argument("--only", nargs="+", metavar="NAME", help="only checks whose names begin with one of these")
    made.add_argument("--small", action="store_true", help="every check in a small form, which also runs on a CPU")
    made.add_argument(
        "--seconds", type=float, help="end after this time, checks that are left are skipped (default: 570; --small: 3600)"
    )
    made.add_argument("--jobs", type=int, default=4, help="checks of correctness and of memory at the same time")
    made.add_argument("--output", type=Path, default=ROOT / "bench/results/gpu.json", help="the .md file stands beside it")
    made.add_argument("--list", action="store_true", help="the names, kinds and seconds of the checks")
    made.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    return made


def main() -> int:
    args = parser().parse_args()
    checks = all_checks()
    if args.list:
        print("\n".join(f"{check.name:34} {check.kind:12} {check.seconds:4} s" for check in checks))
        return 0
    if args.one:
        (check,) = [check for check in checks if check.name == args.one]
        print(PREFIX + json.dumps(perform(check, small=args.small)), flush=True)
        return 0
    import torch

    if not torch.cuda.is_available() and not args.small:
        print(
            "make gpu: PyTorch finds no NVIDIA GPU here; nothing was run (--small runs every check on a CPU)", file=sys.stderr
        )
        return NO_GPU
    chosen = [check for check in checks if not args.only or check.name.startswith(tuple(args.only))]
    if not chosen:
        print(f"make gpu: no check begins with {' or '.join(args.only)}; --list shows the names", file=sys.stderr)
        return 2
    report = Report(args.output, about(small=args.small), [check.name for check in chosen])
    run_all(chosen, report, small=args.small, seconds=args.seconds or (3600 if args.small else 570), jobs=args.jobs)
    results = list(report.results.values())
    page = table.page({"about": report.about, "checks": results})
    args.output.with_suffix(".md").write_text(page, encoding="utf-8")
    print(f"written: {args.output} and {args.output.with_suffix('.md').name}")
    bad = [result["name"] for result in results if is_bad(result)]
    if bad:
        print(f"make gpu: these checks failed: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
