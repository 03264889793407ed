"""Dialogues that are almost the same: MinHash (Broder 1997) over character n-grams, by the library rensa."""

from typing import TYPE_CHECKING

from yoyak.data.dialogue import without_tags
from yoyak.data.leak_guard import letters_of, without_speakers
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from rensa import RMinHash, RMinHashLSH

THRESHOLD = 0.7  # Jaccard index from which two dialogues count as near-duplicates; about one word in ten may differ
SHINGLE = 3  # characters of an n-gram; n-grams without spaces survive other spacing and other punctuation
PERMUTATIONS, BANDS = 64, 16  # of two texts with the index 0.7, 98.8 % become candidates; with 0.8, 99.98 %
_SEED = 42


def spoken_letters(dialogue: str) -> str:
    """What a dialogue says, without speakers, tags, spaces and punctuation. Other speakers do not make another dialogue."""
    return letters_of(without_tags(without_speakers(dialogue)))


def shingles(letters: str) -> list[str]:
    """The n-grams of `spoken_letters`; a shorter text is one n-gram."""
    return [letters[start : start + SHINGLE] for start in range(max(1, len(letters) - SHINGLE + 1))]


def jaccard(first: str, second: str) -> float:
    """The share of common n-grams of two texts of `spoken_letters`, from 0 to 1."""
    one, other = set(shingles(first)), set(shingles(second))
    return len(one & other) / len(one | other)


def signature(letters: str) -> "RMinHash":
    """The MinHash of a text of `spoken_letters`.

    Raises:
        YoyakError: if rensa is not installed.
    """
    try:
        from rensa import RMinHash
    except ImportError:
        raise YoyakError("the search for near-duplicates needs the package rensa: pip install rensa==0.5.0") from None
    minhash = RMinHash(num_perm=PERMUTATIONS, seed=_SEED)
    minhash.update(shingles(letters))
    return minhash


def new_index() -> "RMinHashLSH":
    """An index (locality-sensitive hashing) that gives candidates for a signature. Check them with `jaccard`."""
    from rensa import RMinHashLSH

    return RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=BANDS)
