"""What the tests of the scores share."""

import pytest
from rouge_score import tokenizers

from yoyak.evaluation.morphemes import Morphemes


@pytest.fixture(scope="session")
def mecab() -> Morphemes:
    return Morphemes()


class Words(Morphemes):
    """rouge_score's own tokenizer in place of Mecab."""

    def _analyse(self, text: str) -> list[str]:
        tokens: list[str] = tokenizers.DefaultTokenizer(use_stemmer=False).tokenize(text)
        return tokens


class Spaces(Morphemes):
    def _analyse(self, text: str) -> list[str]:
        return text.split()
