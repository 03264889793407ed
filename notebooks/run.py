"""Run the notebooks from top to bottom in a clone of this repository, and keep what they print.

    python notebooks/run.py                      # all, in their order
    python notebooks/run.py 2-own-data.ipynb
    python notebooks/run.py --write              # the notebooks here get the outputs

A cell that fails ends the run with its output and status 1. It needs the packages of requirements-slow.txt.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
SECONDS_A_CELL = 1800
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\u2800-\u28ff] [^\n]*")  # of the terminal, and DVC's spinner
MAX_LINES, MAX_LINE = 40, 200  # of the output of a cell that a notebook keeps


def clone(folder: Path) -> None:
    """A clone of this repository with its files as they are now. The cache of DVC is shared, so that nothing trains twice."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    listed = ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"]
    changed = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, changed):
        if (source := ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(source.read_bytes())
    for command in (["add", "--all"], ["commit", "--quiet", "--allow-empty", "--message", "Working tree"]):
        identity = ["-c", "user.name=notebooks", "-c", "user.email=notebooks@localhost"]
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    subprocess.run(
        [sys.executable, "-m", "dvc", "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")], cwd=folder, check=True
    )


def environment_of(folder: Path) -> dict[str, str]:
    """The cells call the programs of this Python's environment, with the library of the clone."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def run_notebook(path: Path, folder: Path) -> Any:
    """Run a notebook in `folder`.

    Returns:
        The notebook with its outputs.

    Raises:
        CellExecutionError: with the output of the cell that failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS_A_CELL, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment_of(folder))
    shorten_outputs(notebook, folder)
    return notebook


def shorten_outputs(notebook: Any, folder: Path) -> None:
    """Keep the end of each output, without progress bars and without the place of the clone."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        texts = {"stdout": "", "stderr": ""}
        for output in cell.get("outputs", []):
            texts[output.get("name", "stdout")] += output.get("text", "")
        text = CONTROL.sub("", "".join(texts.values()))
        lines = [line.rpartition("\r")[2].rstrip()[:MAX_LINE] for line in text.split("\n")]
        kept = "\n".join(lines[-MAX_LINES:]).strip("\n")
        for place in (folder, ROOT):
            kept = kept.replace(f"{place}/", "").replace(str(place), ".")
        if "outputs" in cell:
            cell["outputs"] = [nbformat.v4.new_output("stream", name="stdout", text=f"{kept}\n")] if kept else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="files of notebooks/ (default: all)")
    parser.add_argument("--write", action="store_true", help="write the outputs into the notebooks")
    args = parser.parse_args()
    names = args.names or sorted(path.name for path in FOLDER.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "yoyak"
        clone(folder)
        for name in names:
            print(f"{name}: running", flush=True)
            try:
                notebook = run_notebook(FOLDER / name, folder)
            except CellExecutionError as error:
                raise SystemExit(f"{name}: {error}") from None
            if args.write:
                nbformat.write(notebook, FOLDER / name)


if __name__ == "__main__":
    main()
