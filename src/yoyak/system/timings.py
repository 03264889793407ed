"""How long the work of a stage took on this machine.

Times are in no output of a stage, because they differ each time. They are kept beside unfinished work in .checkpoints, which
git ignores, under the hash of the output's SHA256SUMS. So a time belongs to exactly these files, in any experiment.
"""

import hashlib
import json
from pathlib import Path

from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.resumable import checkpoints_root
from yoyak.system.text_files import to_json

FILE = "timings.jsonl"


def record_seconds(output: Path, seconds: float | None) -> None:
    """Keep how long it took to make the folder `output`.

    Args:
        output: a folder with SHA256SUMS.
        seconds: None if the time is not known, because the work continued after a kill; nothing is kept then.
    """
    if seconds is None:
        return
    path = checkpoints_root() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:  # one short line, which the system appends whole
        file.write(to_json({"output": _hash((output / CHECKSUMS_FILE).read_text(encoding="utf-8")), "seconds": seconds}) + "\n")


def find_seconds(checksums: str, root: Path) -> float | None:
    """How long it took to make an output, the last time that it was made on this machine; None if it was made elsewhere.

    Args:
        checksums: the content of the output's SHA256SUMS.
        root: folder of the main repository.
    """
    path = root / checkpoints_root() / FILE
    if not path.is_file():
        return None
    wanted, found = _hash(checksums), None
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # a kill or a full disk cut this line off
            continue
        if entry["output"] == wanted:
            found = float(entry["seconds"])
    return found


def _hash(checksums: str) -> str:
    return hashlib.sha256(checksums.encode()).hexdigest()
