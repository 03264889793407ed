"""Which facts of a summary its dialogue does not state."""

from yoyak.evaluation.facts import FactFinder, Facts, fold


def unsupported_facts(summary: str, dialogue: str, finder: FactFinder) -> Facts:
    """Names, numbers and tags of `summary` that `dialogue` lacks, as the metric facts counts them."""
    stated = finder.facts(summary)
    folded = fold(dialogue)
    # The dialogue is analysed only if there is something to look up in it.
    source = finder.facts(dialogue).numbers if stated.numbers else frozenset()
    return Facts(
        frozenset(name for name in stated.names if name not in folded),
        frozenset(number for number in stated.numbers if not any(other.agrees_with(number) for other in source)),
        frozenset(tag for tag in stated.tags if tag not in dialogue),
    )
