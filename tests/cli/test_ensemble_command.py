"""The options of `yoyak ensemble`."""

from typing import get_args

from yoyak.cli.ensemble_command import METHODS
from yoyak.config.ensemble_section import Method


def test_the_command_knows_every_method() -> None:
    assert get_args(Method) == METHODS
