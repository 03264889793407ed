"""Compare the results of `hardware.portable: true` on this processor with those that other processors gave.

    python -m bench.portable                                              # a small run of both families, about a minute
    python -m bench.portable --whole                                      # the default run too, about ten minutes
    python -m bench.portable --prefix 'qemu-x86_64 -cpu Haswell' --processor 'Haswell, emulated by QEMU'
    python -m bench.portable --write                                      # after the code, params or packages changed

The hashes are in bench/results/portable.json, with the processors that gave them. Another hash ends the command with status 1.
A processor that gave the same is added to the file. `--write` takes the hashes of this run, and forgets the other processors.
"""

import argparse
import csv
import os
import shlex
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import ROOT

RESULTS = ROOT / "bench/results/portable.json"
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "bitsandbytes", "ctranslate2", "numpy")
ROWS = {"train": 24, "dev": 8, "test": 4}
SMALL = {
    "data.dir": "csv",
    "hardware.portable": True,
    "training.num_train_epochs": 1,
    "training.per_device_train_batch_size": 4,
    "generation.max_new_tokens": 16,
}
STAGES = ("preprocess", "augment", "tokenize", "pretrain", "train_FAMILY", "predict", "score")
OUTPUTS = ("data/tokenized", "models/FAMILY", "metrics/train/FAMILY", "data/predictions", "metrics/scores.json")
WHOLE = ("data/tokenized", "models/kobart", "metrics/train/kobart", "data/predictions", "metrics/scores.json")


def small_run(family: str, folder: Path, *, prefix: str = "") -> dict[str, str]:
    """Run the stages on a few rows of the sample with `hardware.portable: true`.

    Args:
        family: "kobart" or "qlora".
        folder: an empty folder for the run.
        prefix: a command that runs Python on another processor, such as an emulator.

    Returns:
        The SHA-256 of each output, by its path.
    """
    from ruamel.yaml import YAML

    from yoyak.config.yaml_files import read_yaml
    from yoyak.search.base_params import apply_changes

    (folder / "csv").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models/base").symlink_to(ROOT / "models/base")
    for split, rows in ROWS.items():
        with open(ROOT / f"data/sample/{split}.csv", encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file))
        with open(folder / f"csv/{split}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table[: rows + 1])
    values: dict[str, Any] = read_yaml(ROOT / "params.yaml")  # type: ignore[assignment]
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(apply_changes({**SMALL, "model.family": family}, values), file)
    environment = _environment(PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'src'}")
    for stage in STAGES:
        command = [*shlex.split(prefix), sys.executable, "-m", f"stages.{stage.replace('FAMILY', family)}"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return {path: _hash(folder / path) for path in (output.replace("FAMILY", family) for output in OUTPUTS)}


def whole_run(folder: Path) -> dict[str, str]:
    """The hashes in dvc.lock after the default run with `hardware.portable: true`, by the path of the output.

    Args:
        folder: an empty folder, for a clone of the last commit.
    """
    from yoyak.training.tracked_results import output_hashes

    environment = _environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    command = ["dvc", "exp", "run", "-S", "hardware.portable=true"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return output_hashes(folder / "dvc.lock", WHOLE)


def _environment(**changes: str) -> dict[str, str]:
    """The environment without settings of a run of DVC or of yoyak around this one, with these changes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "YOYAK_"))} | changes


def _hash(path: Path) -> str:
    """The SHA-256 of a file, or of the names and hashes of all files in a folder."""
    import hashlib

    from yoyak.system.checksums import sha256

    if path.is_file():
        return sha256(path)
    lines = (f"{file.relative_to(path)} {_hash(file)}\n" for file in sorted(path.rglob("*")) if file.is_file())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def processor_name() -> str:
    """The model of this processor, and its newest instruction set for matrices or vectors."""
    name, flags = "unknown processor", set()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() == "flags":
            flags = set(value.split())
            break
    newest = next((flag for flag in ("amx_tile", "avx512_bf16", "avx512f", "avx2") if flag in flags), "without AVX2")
    return f"{name}, {newest}"


def main() -> int:
    from yoyak.system.text_files import read_json, write_json

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--whole", action="store_true", help="also the default run on all rows of the sample")
    parser.add_argument("--write", action="store_true", help="take the hashes of this run as the expected ones")
    parser.add_argument("--prefix", default="", help="command that runs Python on another processor, such as an emulator")
    parser.add_argument("--processor", help="name of the processor in the file (default: from /proc/cpuinfo)")
    args = parser.parse_args()
    processor = args.processor or processor_name()
    kept: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {}
    packages = {name: version(name) for name in PACKAGES}
    with tempfile.TemporaryDirectory(prefix="yoyak.") as folder:
        found = {family: small_run(family, Path(folder, family), prefix=args.prefix) for family in ("kobart", "qlora")}
        if args.whole:
            found["default run"] = whole_run(Path(folder, "clone"))
    if args.write:
        kept = {name: {"hashes": hashes, "processors": []} for name, hashes in found.items()}
    differ = []
    for name, hashes in found.items():
        entry = kept.setdefault(name, {"hashes": hashes, "processors": []})
        wrong = [path for path, value in hashes.items() if entry["hashes"].get(path) != value]
        differ += [f"{name}: {path}" for path in wrong]
        if not wrong and processor not in entry["processors"]:
            entry["processors"].append(processor)
    print("\n".join(f"differs: {path}" for path in differ) or f"all as expected ({processor})")
    if not differ:
        write_json(RESULTS, {**kept, "packages": packages})
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
