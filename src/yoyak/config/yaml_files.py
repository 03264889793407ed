"""YAML 1.2 files, read with limits."""

import itertools
import re
from pathlib import Path

from yoyak.system.errors import YoyakError
from yoyak.system.text_files import first_bytes, printable

# Of a YAML file, far more than ours have. Each bounds what a small file can cost: aliases of aliases multiply.
MOST_BYTES, MOST_BRACKETS, MOST_ALIASES = 20_000, 50, 10


def read_yaml(path: Path) -> object:
    """The values of a YAML 1.2 file (there 2e-5 and 2e-05 are numbers). YoyakError if it is missing or is no YAML."""
    if not path.exists():
        raise YoyakError(f"{path}: there is no such file here; run from the repository's root")
    first_bytes(path)  # says what is wrong with a pipe or a folder
    if path.stat().st_size > MOST_BYTES:
        raise YoyakError(f"{path}: more than {MOST_BYTES:,} bytes; this is another file")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise YoyakError(f"{path}: not readable as YAML: {printable(' '.join(str(error).split()), 500)}") from None


def parse_yaml(text: str) -> object:
    """The value of a YAML text. ValueError if it is none, or if it would grow out of all proportion."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent

    steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    if max(itertools.accumulate(steps), default=0) > MOST_BRACKETS:
        raise ValueError(f"more than {MOST_BRACKETS} brackets in one another")
    try:
        if "*" in text:
            events = YAML(typ="safe", pure=True).parse(text)
            if sum(isinstance(event, AliasEvent) for event in events) > MOST_ALIASES:
                raise ValueError(f"more than {MOST_ALIASES} aliases (*name)")
        value: object = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # on odd tags and nestings ruamel fails with KeyError, IndexError, RecursionError, …
        raise ValueError(error) from None
    return value
