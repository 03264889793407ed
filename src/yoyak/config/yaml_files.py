"""Reading of YAML 1.2 files, with limits on what a small file can cost."""

import codecs
import itertools
import re
from pathlib import Path

from yoyak.system.errors import YoyakError
from yoyak.system.text_files import first_bytes, printable, read_lines

# Our files stay far below these limits. Without a limit, deeply nested brackets exhaust the stack, and aliases of aliases
# multiply: a few hundred bytes can expand to gigabytes.
MAX_BYTES, MAX_NESTED_BRACKETS, MAX_ALIASES = 40_000, 50, 10


def read_yaml(path: Path) -> object:
    """Read the value of a YAML 1.2 file. In YAML 1.2, unlike 1.1, 2e-5 and 2e-05 are numbers.

    Raises:
        YoyakError: naming the file, if it is missing, too large, or not valid YAML.
    """
    if not path.exists():
        raise YoyakError(f"{path}: there is no such file here; run from the repository's root")
    # first_bytes raises a clear error for a folder or a pipe.
    if first_bytes(path)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise YoyakError(f"{path}: not readable as YAML: this is UTF-16; save it as UTF-8")
    if path.stat().st_size > MAX_BYTES:
        raise YoyakError(f"{path}: more than {MAX_BYTES:,} bytes; this is not a file of params")
    try:
        return parse_yaml("".join(read_lines(path)))
    except ValueError as error:
        # ruamel ends the message about a duplicate key with advice for programmers.
        message = " ".join(str(error).partition("To suppress this check")[0].split())
        raise YoyakError(f"{path}: not readable as YAML: {printable(message, 500)}") from None


def parse_yaml(text: str) -> object:
    """Parse a YAML 1.2 text.

    Raises:
        ValueError: if the text is not valid YAML, or exceeds MAX_NESTED_BRACKETS or MAX_ALIASES.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent

    steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    if max(itertools.accumulate(steps), default=0) > MAX_NESTED_BRACKETS:
        raise ValueError(f"more than {MAX_NESTED_BRACKETS} nested brackets")
    try:
        if "*" in text:
            events = YAML(typ="safe", pure=True).parse(text)
            if sum(isinstance(event, AliasEvent) for event in events) > MAX_ALIASES:
                raise ValueError(f"more than {MAX_ALIASES} aliases (*name)")
        value: object = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # on unusual tags and nesting, ruamel raises KeyError, IndexError, RecursionError and others
        raise ValueError(error) from None
    return value
