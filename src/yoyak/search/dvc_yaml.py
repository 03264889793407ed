"""Faster reading and writing of DVC's YAML files, with the same results.

DVC reads dvc.yaml, dvc.lock and params.yaml again for each stage, and writes all of dvc.lock after each one. With a lock of
5,000 lines this took more than half of the time of a trial whose results are cached. Here a text is parsed once, and only the
stages of dvc.lock that changed are parsed and formatted again.
"""

import pickle
import re
from io import StringIO
from typing import Any, TextIO

from dvc.utils import serialize
from dvc.utils.serialize import _yaml

LOCK_START = "schema: '2.0'\nstages:\n"  # of every dvc.lock
STAGE_START = re.compile(r"^  ([^\s:]+):$", re.M)  # the first line of a stage in dvc.lock

_parse = _yaml.parse_yaml
_dump = _yaml._dump
_parsed: dict[str, bytes] = {}  # the value of each text, pickled: a caller may change its copy
_stage_texts: dict[tuple[str, str], str] = {}  # the lines of dvc.lock by the stage's name and the repr of its value


def parse_yaml(text: str, path: Any, typ: str = "safe") -> Any:
    """DVC's function of this name: the value of a YAML text."""
    if typ != "safe":
        return _parse(text, path, typ)
    lock = _parse_lock(text, path)
    return _parse_once(text, path) if lock is None else lock


def _parse_lock(text: str, path: Any) -> dict[str, Any] | None:
    """The value of a dvc.lock; None for another text, or if a stage names (by *alias) a value of another one."""
    stages = _stages_of(text)
    try:
        parsed = [_parse_once(f"stages:\n{lines}", path)["stages"] for lines in stages.values()]
    except _yaml.YAMLError:
        return None
    return {"schema": "2.0", "stages": {name: values for stage in parsed for name, values in stage.items()}} if stages else None


def _parse_once(text: str, path: Any) -> Any:
    if text not in _parsed:
        _parsed[text] = pickle.dumps(_parse(text, path))
    return pickle.loads(_parsed[text])


def parse_yaml_for_update(text: str, path: Any) -> Any:
    """DVC's function of this name: a value that `dump` writes again. Other files than dvc.lock keep their comments."""
    values = _parse_lock(text, path)
    if values is None:
        return _parse(text, path, "rt")
    stages = _stages_of(text)
    if list(stages) == list(values["stages"]):  # else a name has quotes, and all stages are formatted again
        _stage_texts.update({(name, repr(values["stages"][name])): lines for name, lines in stages.items()})
    return values


def dump(values: Any, stream: TextIO) -> None:
    """DVC's function `_dump`: write a value as YAML."""
    if not (type(values) is dict and list(values) == ["schema", "stages"] and values["stages"]):
        _dump(values, stream)
        return
    stream.write(LOCK_START)
    for name, stage in values["stages"].items():
        key = name, repr(stage)
        if key not in _stage_texts:
            lines = StringIO()
            _dump({"stages": {name: stage}}, lines)
            _stage_texts[key] = lines.getvalue().removeprefix("stages:\n")
        stream.write(_stage_texts[key])


def _stages_of(text: str) -> dict[str, str]:
    """The lines of each stage of a dvc.lock by its name; nothing for another text."""
    starts = list(STAGE_START.finditer(text))
    if not (text.startswith(LOCK_START) and starts and starts[0].start() == len(LOCK_START)):
        return {}
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {start[1]: text[start.start() : end] for start, end in zip(starts, ends, strict=True)}


def install() -> None:
    """Let DVC, in this process, use the functions of this module."""
    _yaml.parse_yaml = serialize.parse_yaml = parse_yaml
    _yaml.parse_yaml_for_update = serialize.parse_yaml_for_update = parse_yaml_for_update
    _yaml._dump = dump
