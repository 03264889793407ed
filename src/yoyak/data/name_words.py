"""Korean words that matter for names: family names, everyday words that are names too, and what Mecab says about a word."""

from functools import cache
from typing import Any

from yoyak.system.errors import YoyakError

# The frequent family names, with those of two syllables.
_FAMILY_NAMES = (
    "김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권 황 안 송 류 유 전 홍 고 문 양 손 배 백 허 남 심 노 하 곽 성 차 주 "
    "우 구 나 민 진 지 엄 채 원 천 방 공 현 함 변 염 여 추 도 소 석 선 설 마 길 연 위 표 명 기 반 라 왕 금 옥 육 인 "
    "맹 제 모 남궁 황보 제갈 선우 독고 사공 서문"
)
# Everyday words that people are named after, and words for persons, which Mecab's dictionary does not tell from rare nouns.
_EVERYDAY_WORDS = (
    "하늘 보라 지혜 슬기 수정 나라 진주 미래 은하 가을 봄 여름 겨울 사랑 유리 소라 별 샛별 달 해 태양 바다 우주 노을 "
    "새벽 아침 이슬 구름 단비 보람 기쁨 희망 소망 믿음 장미 나리 다정 한결 우리 하나 누리 가람 초롱 아름 빛나 힘찬 "
    "시내 마루 연두 미소 진리 정의 자유 평화 지수 지원 연수 인수 정수 기수 상수 수지 철수 고객 손님 직원 점원 상담원 "
    "상담사 환자 의사 간호사 선생님 선생 교수 학생 기자 경찰 사장 사장님 부장 과장 대리 팀장 엄마 아빠 어머니 아버지 "
    "아들 딸 언니 오빠 누나 형 동생 할머니 할아버지 남편 아내 친구 남자 여자 기사 종업원 매니저 면접관 지원자 진행자 "
    "사회자 판매자 구매자 주인 승객 나 너 저"
)
FAMILY_NAMES, EVERYDAY_WORDS = frozenset(_FAMILY_NAMES.split()), frozenset(_EVERYDAY_WORDS.split())
_MAX_COST = 2600  # of a noun in Mecab's dictionary; nouns that are frequent in its texts cost less


@cache
def _mecab() -> Any:
    try:
        from mecab import MeCab

        return MeCab()
    except Exception as error:  # a missing package, library or dictionary: each raises a different type
        raise YoyakError(f"Mecab cannot load ({error}); names need it: pip install python-mecab-ko==1.3.7") from error


@cache
def is_common_word(name: str) -> bool:
    """Whether a name is an everyday word too, by the list above and by Mecab's dictionary.

    A frequent noun, a pronoun, a numeral, an adverb, a form of a verb, and anything of one syllable is common. A noun that
    Mecab knows as the name of a person is not.
    """
    if name in EVERYDAY_WORDS or len(name) < 2:
        return True
    nodes = _nodes(name)
    tags = [node[2] for node in nodes]
    if len(nodes) == 1:
        tag, cost = tags[0], nodes[0][3]
        return not (tag.startswith(("NNP", "UNKNOWN", "SL")) or (tag == "NNG" and cost >= _MAX_COST))
    return any(tag.startswith("V") for tag in tags)


def morphemes_at(text: str, start: int, end: int) -> tuple[list[str], list[str]]:
    """The part-of-speech tags of the morphemes within `text[start:end]`, and of those after it up to the next space.

    Both are empty if no morpheme begins at `start` or none ends at `end`: Mecab reads other words there.
    """
    nodes = _nodes(_sentence(text, start, end))
    offset = _sentence_start(text, start)
    within = [tag for first, last, tag, _ in nodes if start <= first + offset and last + offset <= end]
    starts, ends = {first + offset for first, _, _, _ in nodes}, {last + offset for _, last, _, _ in nodes}
    if start not in starts or end not in ends:
        return [], []
    word_end = next((index for index in range(end, len(text)) if text[index].isspace()), len(text))
    return within, [tag for first, _, tag, _ in nodes if end <= first + offset < word_end]


_REACH = 60  # characters on each side that Mecab sees, so that a long text costs no more than a short one


def _sentence_start(text: str, start: int) -> int:
    return 0 if start <= _REACH else text.rfind(" ", 0, start - _REACH) + 1


def _sentence(text: str, start: int, end: int) -> str:
    return text[_sentence_start(text, start) : end + _REACH]


def _nodes(text: str) -> list[tuple[int, int, str, int]]:
    """Start, end, part-of-speech tag and cost of each morpheme."""
    from mecab.utils import create_lattice

    lattice = create_lattice(text)
    if not _mecab()._tagger.parse(lattice):
        return []
    found, position = [], 0
    for _, node in lattice:
        position = text.index(node.surface, position)
        tag = "UNKNOWN" if node.stat == 1 else node.feature.partition(",")[0]
        found.append((position, position + len(node.surface), tag, node.wcost))
        position += len(node.surface)
    return found
