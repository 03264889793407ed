"""TQDM_DISABLE switches off every bar, also where yoyak decides itself when to show one."""

import ast

import pytest

from tests.conftest import ROOT
from yoyak.system.progress_bars import bars_hidden


@pytest.mark.parametrize(("value", "hidden"), [("1", True), ("true", True), ("0", False), ("", False), (None, False)])
def test_the_variable_decides_before_the_caller(monkeypatch: pytest.MonkeyPatch, value: str | None, hidden: bool) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    if value is not None:
        monkeypatch.setenv("TQDM_DISABLE", value)
    assert bars_hidden(False) is hidden
    assert bars_hidden(True) is True
    assert bars_hidden(None) is (True if hidden else None)


def test_no_bar_ignores_the_variable() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tqdm":
                given = [keyword.value for keyword in node.keywords if keyword.arg == "disable"]
                assert not given or (isinstance(given[0], ast.Call) and getattr(given[0].func, "id", "") == "bars_hidden"), path
