"""Korean particles after a name: which endings can follow it, and the form that agrees with its last letter."""

import re

# What may follow a name within a word: a title, then particles. Longer ones come first.
_TITLE = "(?:선생님|씨|님|군|양)"
_FIRST = (
    "에게서|에게|한테서|한테|께서|께|으로부터|로부터|으로서|로서|이라고|라고|이라는|라는|이라면|라면|이랑|랑|하고|으로|로|과|와|이나|나|"
    "이든|든|까지|부터|처럼|보다|마저|조차|밖에|뿐|마다|만|대로|에|의"
)
_LAST = "은커녕|는커녕|은|는|이|가|을|를|도|만|의|까지|조차|마저|부터|이라도|라도|요"
_COPULA = "이에요|예요|이었다|였다|이었고|였고|이다|다|입니다|이며|며|이고|고|이라서|라서|이자|인데|인지|임|일|인"
FOLLOWING = re.compile(rf"(?:들|네)?{_TITLE}?(?:(?:{_FIRST})?(?:{_LAST})?|{_COPULA}|아|야)")
# "민준이가", "민준이는": after a consonant, 이 is a part of the name.
AFTER_I = re.compile(r"이(?:가|는|를|도|와|의|한테서?|에게서?|만|하고|께서|로|처럼|보다|네|까지|부터|랑)(?:[는도]|은)?")
# These follow persons only, so a word before them is a name even if it is a common word too.
PERSONAL = re.compile(rf"(?:에게|한테|께)|{_TITLE}(?:{_LAST}|에게|한테|께|과|와|의|이랑|랑)?$")
SPACED_TITLE = re.compile(r" (?:씨|님|군|양)(?![가-힣])|[ ](?:씨|님)(?=[가-힣])")
VOCATIVE = re.compile(r"[아야](?=[,!?~.…]|$)")

_PAIRS = (
    ("은", "는"),
    ("이", "가"),
    ("을", "를"),
    ("과", "와"),
    ("으로", "로"),
    ("이랑", "랑"),
    ("이라고", "라고"),
    ("아", "야"),
)
_FORMS = {form: pair for pair in _PAIRS for form in pair}
# The particle directly after a name, if it ends the word or only these follow it.
AGREEING = re.compile(
    r"(?:(?:은|는|을|를)(?:커녕)?|이랑|랑|이라고|라고|이|가|(?:과|와)(?:의|는|도)?|(?:으로|로)(?:서|써|부터)?(?:는|도)?|[아야](?=[,!?]))(?![가-힣])"
)
_DIGITS_WITH_CONSONANT = "013678"  # 영, 일, 삼, 육, 칠, 팔
_ENDS_IN_L = "178"


def agree(name: str, following: str) -> str:
    """A particle in the form that follows `name`.

    Args:
        name: a name that ends with a Hangul syllable or a digit; after any other letter the particle stays as it is.
        following: a text that AGREEING matches.

    Returns:
        `following` with its first particle in the right form.
    """
    if not name or not (("가" <= name[-1] <= "힣") or name[-1] in "0123456789"):
        return following
    form = max((each for each in _FORMS if following.startswith(each)), key=len, default="")
    if not form:
        return following
    with_consonant, without = _FORMS[form]
    last = name[-1]
    is_hangul = last >= "가"
    final = (ord(last) - ord("가")) % 28 if is_hangul else int(last in _DIGITS_WITH_CONSONANT)
    ends_in_l = final == 8 if is_hangul else last in _ENDS_IN_L
    closed = bool(final) and not (with_consonant == "으로" and ends_in_l)
    return (with_consonant if closed else without) + following[len(form) :]


def ends_with_consonant(name: str) -> bool:
    """Whether the last Hangul syllable of `name` has a final consonant."""
    return bool(name) and "가" <= name[-1] <= "힣" and (ord(name[-1]) - ord("가")) % 28 > 0
