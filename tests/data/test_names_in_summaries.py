"""Names in 50 summaries of our own, counted by hand: what is replaced is a name, and what is left is reported.

Each row has the speakers and a summary in which every mention of a speaker stands in brackets. Many of the names are everyday
words that also occur with their other meaning.
"""

import re

from yoyak.data.speaker_names import NameFinder, assign_tags

ROWS = [
    ("민수 지영", "[민수]가 [지영]에게 영화를 보자고 한다."),
    ("김민수 이지영", "[민수]는 [지영]의 생일 선물을 고른다."),
    ("서연 도윤", "[서연]과 [도윤]은 여행 계획을 세운다."),
    ("하늘 준호", "[하늘]은 [준호]에게 하늘이 맑다고 말한다."),
    ("보라 현우", "[보라]가 보라색 가방을 [현우]한테 자랑한다."),
    ("지우 민지", "[지우]는 칠판을 지우고 [민지]를 돕는다."),
    ("민준 서윤", "[민준이]가 [서윤이]를 기다린다."),
    ("유진 수빈", "[유진] 씨는 [수빈] 씨에게 회의를 미루자고 한다."),
    ("박지훈 최예린", "[박지훈]은 [최예린]의 보고서를 검토한다."),
    ("영수 영희", "[영수]와 [영희]는 영수증을 찾는다."),
    ("은지 태민", "[은지]가 [태민]이라는 친구를 부른다."),
    ("나라 동현", "[나라]는 우리 나라 음식을 [동현]에게 소개한다."),
    ("SD2000001 SD2000002", "[SD2000001]은 [SD2000002]와 주말을 이야기한다. [SD2000001], [SD2000002] 모두 웃는다."),
    ("P01 P02", "[P01]은 길을 묻고 [P02]가 답한다."),
    ("화자1 화자2", "[화자1]은 [화자2]에게 사과한다."),
    ("A B", "[A]는 [B]에게 비타민을 권하고, [B]는 B형 간염 주사를 맞는다."),
    ("Amanda Jerry", "[Amanda]는 [Jerry]에게 쿠키를 준다."),
    ("수진 혜원", "[수진]이 [혜원]이랑 카페에 간다."),
    ("정우 시우", "[정우]도 [시우]도 축구를 좋아한다."),
    ("가을 소연", "[가을]과 [소연]은 가을 축제에 간다."),
    ("철수 미영", "[철수]는 부대가 철수했다는 소식을 [미영]에게 전한다."),
    ("지수 경호", "[지수]가 주가 지수를 묻자 [경호]가 대답한다."),
    ("슬기 진우", "[슬기]는 슬기롭게 [진우]를 설득한다."),
    ("김하늘 박보라", "[김하늘]은 [박보라]를 초대한다."),
    ("선우 연우", "[선우]네 집에서 [연우]가 잔다."),
    ("윤아 민호", "[윤아]에게서 [민호]의 전화번호를 받는다."),
    ("예은 하준", "[예은]이 [하준]을 칭찬한다."),
    ("수아 지안", "[수아]까지 오자 [지안]은 놀란다."),
    ("이준 다은", "[이준]은 [다은]보다 키가 크다."),
    ("현수 승민", "[현수]의 의견에 [승민]이 반대한다."),
    ("김영호 이영호", "[김영호]와 [이영호]는 동명이인이다."),
    ("민아 성훈", "[민아]한테서 [성훈]의 소식을 듣는다."),
    ("찬우 나연", "[찬우]부터 [나연]까지 줄을 선다."),
    ("미래 준서", "[미래]는 미래를 걱정하고 [준서]는 위로한다."),
    ("태양 지혜", "[태양]이 [지혜]에게 지혜로운 답을 듣는다."),
    ("고객 상담원", "[고객]이 환불을 요청하자 [상담원]이 절차를 안내한다."),
    ("엄마 아들", "[엄마]는 [아들]에게 숙제를 하라고 한다."),
    ("재민 소희", "[재민]아, 하고 부르자 [소희]가 웃는다."),
    ("강민 은서", "[강민]이며 [은서]며 모두 바쁘다."),
    ("정민수 한지영", "[정민수] 대리와 [한지영] 과장이 출장을 간다."),
    ("우진 채원", "[우진]처럼 [채원]도 수영을 배운다."),
    ("진주 상현", "[진주]는 진주에 사는 [상현]을 만난다."),
    ("동수 영미", "[동수]만 남고 [영미]는 떠난다."),
    ("수정 기훈", "[수정]이 서류를 수정하고 [기훈]이 확인한다."),
    ("라온 세아", "[라온]은 [세아]와 요리한다."),
    ("규민 하린", "[규민]과 [하린]의 결혼식"),
    ("준영 아린", "[준영]이 아린 기억을 [아린]에게 말한다."),
    ("병호 순자", "[병호]께서 [순자]께 인사한다."),
    ("희진 도현", "[희진]으로부터 [도현]이 편지를 받는다."),
    ("남준 석진", "[남준]조차 [석진]을 모른다."),
]


def counts(*, map_doubtful: bool) -> tuple[int, int, int, int]:
    """Mentions, replaced words, replaced words that are mentions, and reported places of all rows."""
    mentions = replaced = right = reported = 0
    for speakers, marked in ROWS:
        names = [(match.start() - 2 * number, match[1]) for number, match in enumerate(re.finditer(r"\[(.+?)\]", marked))]
        text = re.sub(r"[\[\]]", "", marked)
        finder = NameFinder(assign_tags(speakers.split(), most=99), map_doubtful=map_doubtful)
        result, doubts = finder.replace(text, is_summary=True)
        starts, position = [], 0
        for between in re.split(r"#Person[0-9]+#", result)[:-1]:
            start = text.index(between, position) + len(between)
            starts.append(start)
            position = start + 1
        mentions += len(names)
        replaced += len(starts)
        right += len({start for start, _ in names} & set(starts))
        reported += len(doubts)
    return mentions, replaced, right, reported


def test_no_other_word_is_replaced_and_every_name_that_is_left_is_reported() -> None:
    mentions, replaced, right, reported = counts(map_doubtful=False)
    assert replaced == right
    assert reported >= mentions - right
    assert right / mentions > 0.83


def test_mapping_doubtful_words_finds_every_name_and_some_other_words() -> None:
    mentions, replaced, right, _ = counts(map_doubtful=True)
    assert right == mentions
    assert right / replaced > 0.91
