"""Random texts that hit the rules of cleaning and the places where they meet."""

from hypothesis import settings
from hypothesis import strategies as st

from yoyak.data.noise import Noise
from yoyak.data.person_tags import PersonTags

NOISES: tuple[Noise, ...] = ("minimal", "moderate", "aggressive")
STRATEGIES: tuple[PersonTags, ...] = ("keep_original", "simplify", "abstract")

# Pieces of damaged text, so that random texts meet the rules and the places where two rules meet.
PIECES = st.sampled_from(
    (
        *("#Person1#", "#Person2#:", "Person1", "person2", "#사람1#", "P1", "화자2", "#Email#", "#", ":", "：", "1"),
        *(" ", "\n", "\r\n", "\t", "\\", "n", "r", "\b", "\u200b", "\u3000", "\u1100", "\u1161"),
        *(
            "＃Person1＃",
            "&lt;",
            "&",
            ";",
            "<br>",
            " | ",
            "|",
            "\u3164",
            "\u200d",
            "👨",
            "ﾡ",
            "ￂ",
            "ｶ",
            "ﾞ",
            "#@이름#",
            "민수: ",
        ),
        *("ㅋㅋ", "ㅠ", "ㅇ", "음...", "!!", "😀", "가", "a", "."),
    )
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
QUICK = settings(deadline=None, max_examples=100, database=None, derandomize=True)
