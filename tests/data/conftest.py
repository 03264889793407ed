"""Tokenizers that several tests of yoyak.data share."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED

KOBART = SHARED / "tokenizers" / "kobart"
TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")


@pytest.fixture
def tiny_tokenizer(tiny: Path) -> Any:
    """The tokenizer of the tiny checkpoint, with TAGS as single tokens."""
    from yoyak.models.tokenizer_loading import load_tokenizer

    return load_tokenizer(str(tiny), None, TAGS)


@pytest.fixture(scope="session")
def kobart_tokenizer() -> Any:
    """KoBART's published tokenizer, if ../shared has it."""
    from yoyak.models.tokenizer_loading import load_tokenizer

    if not KOBART.is_dir():
        pytest.skip("no ../shared/tokenizers")
    return load_tokenizer(str(KOBART), None, TAGS)
