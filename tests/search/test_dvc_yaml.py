"""DVC's YAML files, read and written faster: the same values and the same bytes as DVC's own functions give."""

from io import StringIO
from typing import Any
from unittest.mock import Mock

import pytest
from dvc.utils.serialize import _yaml

from tests.conftest import ROOT
from yoyak.search import dvc_yaml

STAGES = dvc_yaml._stages_of((ROOT / "dvc.lock").read_text(encoding="utf-8"))
LOCK = dvc_yaml.LOCK_START + STAGES["check_params"] + STAGES["gate"]


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc_yaml, "_parsed", {})
    monkeypatch.setattr(dvc_yaml, "_stage_texts", {})


def written(values: Any) -> str:
    stream = StringIO()
    dvc_yaml.dump(values, stream)
    return stream.getvalue()


def test_a_caller_may_change_its_copy() -> None:
    text = "a: [1, 2e-05]\n"
    first = dvc_yaml.parse_yaml(text, "x.yaml")
    first["a"].append(3)
    assert dvc_yaml.parse_yaml(text, "x.yaml") == {"a": [1, 2e-05]}


def test_a_stage_that_did_not_change_keeps_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three stages one is kept, one has new params and one is new. The text is that of DVC, which formats all of them."""
    new: dict[str, Any] = {
        "rate": 2e-05,
        "none": None,
        "text": "a: #Person1#",
        "on": "yes",
        "list": [1, True],
        "empty": {},
        "long": "말 " * 90,
    }
    expected = _yaml.parse_yaml_for_update(LOCK, "dvc.lock")
    values = dvc_yaml.parse_yaml_for_update(LOCK, "dvc.lock")
    for lock in (expected, values):
        lock["stages"]["gate"]["params"] = {"params.yaml": new}
        lock["stages"]["added"] = {"cmd": "true"}
    stream = StringIO()
    _yaml._dump(expected, stream)
    formats = Mock(side_effect=dvc_yaml._dump)
    monkeypatch.setattr(dvc_yaml, "_dump", formats)
    assert written(values) == stream.getvalue() != LOCK
    assert [list(call.args[0]["stages"]) for call in formats.call_args_list] == [["gate"], ["added"]]


def test_stages_with_quoted_names_are_formatted_again() -> None:
    lock = dvc_yaml.LOCK_START + "  '1':\n    cmd: a\n  b:\n    cmd: b\n"
    assert written(dvc_yaml.parse_yaml_for_update(lock, "dvc.lock")) == lock
    assert dvc_yaml._stage_texts.keys() == {(name, repr({"cmd": cmd})) for name, cmd in (("1", "a"), ("b", "b"))}


def test_only_the_stages_that_changed_are_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = dvc_yaml._parse
    parses = Mock(side_effect=parse)
    monkeypatch.setattr(dvc_yaml, "_parse", parses)
    dvc_yaml.parse_yaml(LOCK, "dvc.lock")
    new = LOCK + "  added:\n    cmd: 'true'\n"
    assert dvc_yaml.parse_yaml(new, "dvc.lock") == parse(new, "dvc.lock")
    assert [list(parse(call.args[0], "dvc.lock")["stages"]) for call in parses.call_args_list] == [
        ["check_params"],
        ["gate"],
        ["added"],
    ]


def test_a_stage_may_name_a_value_of_another_one() -> None:
    for first in ("  a: &one\n    cmd: a\n", "  a:\n    cmd: &one a\n"):
        lock = f"{dvc_yaml.LOCK_START}{first}  b:\n    cmd: b\n  c:\n    cmd: *one\n"
        assert dvc_yaml.parse_yaml(lock, "dvc.lock") == dvc_yaml._parse(lock, "dvc.lock")
        assert "one" in written(dvc_yaml.parse_yaml_for_update(lock, "dvc.lock"))


def test_other_files_keep_their_comments() -> None:
    text = "a: 1 # one\nstages: 2\n"
    assert written(dvc_yaml.parse_yaml_for_update(text, "params.yaml")) == text
