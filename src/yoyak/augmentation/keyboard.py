"""The Korean keyboard with two sets of keys (dubeolsik, KS X 5002): keys of a word, its word, and keys beside a key."""

import random
import unicodedata

# The letters by row, without and with shift. Consonants are on the left hand, vowels on the right.
ROWS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
ROW_STARTS = (0.0, 0.25, 0.75)  # how far right each row begins, in keys
SHIFTED = dict(zip("ㅃㅉㄸㄲㅆㅒㅖ", "ㅂㅈㄷㄱㅅㅐㅔ", strict=True))
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"  # in the order of Unicode
INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# Letters of two keys.
PAIRS = {
    **{"ㅘ": "ㅗㅏ", "ㅙ": "ㅗㅐ", "ㅚ": "ㅗㅣ", "ㅝ": "ㅜㅓ", "ㅞ": "ㅜㅔ", "ㅟ": "ㅜㅣ", "ㅢ": "ㅡㅣ"},
    **{"ㄳ": "ㄱㅅ", "ㄵ": "ㄴㅈ", "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ"},
    **{"ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ", "ㄿ": "ㄹㅍ", "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ"},
}
_JOINED = {keys: letter for letter, keys in PAIRS.items()}
_FIRST_SYLLABLE = ord("가")


def keys_of(word: str) -> list[str]:
    """The keys that type a word: 과일 is ㄱㅗㅏㅇㅣㄹ. What is no Hangul is one key for each character."""
    keys: list[str] = []
    for letter in unicodedata.normalize("NFC", word):
        if "가" <= letter <= "힣":
            number = ord(letter) - _FIRST_SYLLABLE
            initial, vowel, final = number // (21 * 28), number // 28 % 21, number % 28
            letters = [INITIALS[initial], VOWELS[vowel], *([FINALS[final]] if final else [])]
        else:
            letters = [letter]
        keys += [key for part in letters for key in PAIRS.get(part, part)]
    return keys


def word_of(keys: list[str]) -> str:
    """What an input method writes for keys. Letters that fit into no syllable stand alone (ㅇㅏㅏ is 아ㅏ)."""
    word, place = "", 0
    while place < len(keys):
        if keys[place] not in INITIALS or _vowel_at(keys, place + 1) == ("", 0):
            letter, size = _vowel_at(keys, place)
            word += letter or keys[place]
            place += size or 1
            continue
        initial = keys[place]
        vowel, size = _vowel_at(keys, place + 1)
        place += 1 + size
        final, size = _final_at(keys, place)
        place += size
        word += chr(_FIRST_SYLLABLE + (INITIALS.index(initial) * 21 + VOWELS.index(vowel)) * 28 + FINALS.index(final))
    return word


def _vowel_at(keys: list[str], place: int) -> tuple[str, int]:
    """The vowel that begins at a place and its number of keys; ("", 0) if none does."""
    pair = "".join(keys[place : place + 2])
    if pair in _JOINED and _JOINED[pair] in VOWELS:
        return _JOINED[pair], 2
    return (keys[place], 1) if place < len(keys) and keys[place] in VOWELS else ("", 0)


def _final_at(keys: list[str], place: int) -> tuple[str, int]:
    """The final consonant of a syllable and its number of keys. A consonant before a vowel begins the next syllable."""
    for size in (2, 1):
        letter = "".join(keys[place : place + size])
        letter = _JOINED.get(letter, letter)
        is_final = len(letter) == 1 and letter in FINALS and len(keys[place : place + size]) == size
        if is_final and _vowel_at(keys, place + size) == ("", 0):
            return letter, size
    return " ", 0


def neighbors(key: str) -> str:
    """The letters on keys that touch a key and are of the same kind (consonant or vowel), and the key without shift.

    A consonant in place of a vowel breaks the syllable, so that nobody overlooks it.
    """
    if key in SHIFTED:
        return SHIFTED[key]
    return _NEIGHBORS.get(key, "")


_PLACES = {key: (row, ROW_STARTS[row] + column) for row, keys in enumerate(ROWS) for column, key in enumerate(keys)}
_NEIGHBORS = {
    key: "".join(
        other
        for other, (other_row, other_column) in _PLACES.items()
        if other != key
        and abs(row - other_row) <= 1
        and abs(column - other_column) <= 1
        and (other in VOWELS) == (key in VOWELS)
    )
    for key, (row, column) in _PLACES.items()
}


def mistype(word: str, generator: random.Random) -> str:
    """A word with one typing error; a word without Hangul is returned unchanged.

    It is a key beside the right one (or the right one without shift), a key twice, or a final consonant that is missing. Other
    missing keys break the syllable, so that nobody overlooks them.
    """
    keys = keys_of(word)
    places = [index for index, key in enumerate(keys) if neighbors(key)]
    if not places:
        return word
    place = generator.choice(places)
    kind = generator.choice(("beside", "beside", "beside", "twice", "missing"))
    if kind == "twice":
        keys.insert(place, keys[place])
    elif kind == "missing" and _is_final(keys, place):
        del keys[place]
    else:
        keys[place] = generator.choice(neighbors(keys[place]))
    return word_of(keys)


def _is_final(keys: list[str], place: int) -> bool:
    """Whether a key is a consonant that ends a syllable: it follows another key, and no vowel follows it."""
    return place > 0 and keys[place] in FINALS and keys[place + 1 : place + 2] not in [[vowel] for vowel in VOWELS]
