"""Download the wheels that a machine with a GPU and PyTorch lacks, to carry them there: `python -m bench.gpu.wheels FOLDER`.

The versions are those of requirements.lock and bench/requirements.txt. torch with its CUDA packages, numpy, pandas, pyarrow and
accelerate are expected there. Of bitsandbytes' compiled libraries only one for the CUDA version there is kept, which makes the
wheel a hundred megabytes smaller.
"""

import argparse
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from bench import ROOT

NAMES = (
    *("annotated-types", "bitsandbytes", "datasets", "dill", "multiprocess", "peft", "pydantic", "pydantic-core", "rapidfuzz"),
    *("ruamel-yaml", "tokenizers", "transformers", "trl", "typing-inspection"),
)
PLATFORMS = [f"manylinux_2_{number}_x86_64" for number in (17, 24, 27, 28, 31, 34)] + [
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
]


def pinned() -> dict[str, str]:
    """The version of each package that is pinned with hashes."""
    files = (ROOT / "requirements.lock", ROOT / "bench/requirements.txt")
    found = (re.findall(r"^([A-Za-z0-9._-]+)==([^ \\;]+)", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files)
    return {name.lower().replace("_", "-").replace(".", "-"): version for pairs in found for name, version in pairs}


def download(folder: Path, *, python: str) -> None:
    versions = pinned()
    wanted = [f"{name}=={versions[name]}" for name in NAMES]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    words = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *words, "-d", str(folder), *wanted], check=True)


def keep_one_cuda(wheel: Path, cuda: str) -> None:
    """Leave out of bitsandbytes' wheel all compiled libraries but that for the CPU and that for one version of CUDA.

    Raises:
        SystemExit: if the wheel has no library for this version.
    """
    wanted = ("libbitsandbytes_cpu.so", f"libbitsandbytes_cuda{cuda}.so")
    smaller = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as old:
        libraries = {name for name in old.namelist() if name.endswith(".so")}
        left_out = {name for name in libraries if not name.endswith(wanted)}
        if not any(name.endswith(wanted[1]) for name in libraries):
            raise SystemExit(f"{wheel.name} has no library for CUDA {cuda}; it has {', '.join(sorted(libraries))}")
        with zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                if entry.filename in left_out:
                    continue
                content = old.read(entry)
                if entry.filename.endswith("/RECORD"):  # pip wants a file for each line
                    lines = content.decode().splitlines(keepends=True)
                    content = "".join(line for line in lines if line.partition(",")[0] not in left_out).encode()
                new.writestr(entry, content)
    smaller.replace(wheel)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python there (default: 3.12)")
    parser.add_argument("--cuda", default="130", help="version of CUDA of torch there, without its point (default: 130)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    download(args.folder, python=args.python)
    for wheel in args.folder.glob("bitsandbytes-*.whl"):
        keep_one_cuda(wheel, args.cuda)
    size = sum(wheel.stat().st_size for wheel in args.folder.glob("*.whl"))
    print(f"{len(list(args.folder.glob('*.whl')))} wheels in {args.folder}, {size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
