"""`yoyak compare`. tests/reports/test_comparison.py has the comparison itself."""

import pytest

from tests.cli.conftest import error_of


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("words", [("a", "b", "a"), ("workspace",)])
def test_a_run_is_not_compared_with_itself(words: tuple[str, ...]) -> None:
    assert "name each run once; the first is what the others are compared with" in error_of("compare", *words)


@pytest.mark.usefixtures("root")
def test_a_folder_without_git_is_named() -> None:
    assert "not a git repository" in error_of("compare", "mine")
