"""Small files of each format that `yoyak import` reads. The text is our own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TALKS = (
    (("민수", "내일 저녁에 시간 있어?"), ("지영", "응, 민수야. 무슨 일이야?"), ("민수", "같이 공포 영화 보러 가자.")),
    (
        ("지영", "회의 자료를 다 만들었어요."),
        ("민수", "고마워요, 지영 씨. 오늘 안에 인쇄할게요."),
        ("지영", "표지도 부탁해요."),
    ),
    (("민수", "배추가 한 포기에 구천 원이래."), ("지영", "너무 비싸다. 이번에는 무로 김치를 담그자."), ("민수", "그래.")),
    (("지영", "자전거 바퀴에 바람이 빠졌어."), ("민수", "펌프는 창고에 있어."), ("지영", "찾았어, 고마워.")),
    (("민수", "도서관이 몇 시에 문을 닫지?"), ("지영", "평일에는 아홉 시, 주말에는 여섯 시야."), ("민수", "서둘러야겠네.")),
    (("지영", "강아지가 밥을 안 먹어."), ("민수", "더워서 그럴 거야. 물을 갈아 줘."), ("지영", "알겠어.")),
    (("민수", "기차표를 예매했니?"), ("지영", "창가 자리로 두 장 샀어."), ("민수", "도시락은 내가 챙길게.")),
    (("지영", "새로 산 냄비에 자꾸 눌어붙어."), ("민수", "불을 줄이고 기름을 조금 둘러 봐."), ("지영", "해 볼게.")),
    (("민수", "운동을 시작하려는데 뭐가 좋을까?"), ("지영", "수영이 무릎에 부담이 적어."), ("민수", "등록하러 갈래.")),
    (("지영", "택배가 아직 안 왔어요."), ("민수", "기사님께 전화해 보셨어요?"), ("지영", "지금 해 볼게요.")),
)
SUMMARIES = (
    "민수가 지영에게 공포 영화를 보자고 한다.",
    "지영이는 회의 자료를 만들었고 민수가 인쇄하기로 한다.",
    "민수와 지영은 배추가 비싸서 무로 김치를 담그기로 한다.",
    "지영의 자전거 바퀴에 바람이 빠졌고, 민수는 펌프가 창고에 있다고 알려 준다.",
    "민수는 도서관이 닫는 시간을 지영에게 묻는다.",
    "지영이 강아지를 걱정하자 민수는 물을 갈아 주라고 한다.",
    "지영은 기차표를 샀고 민수는 도시락을 챙긴다.",
    "민수는 지영에게 냄비를 쓰는 법을 알려 준다.",
    "지영은 민수한테 수영을 권한다.",
    "지영은 택배 기사에게 전화하기로 한다.",
)
IDS = {"민수": "SD2000001", "지영": "SD2000002"}
PARTICIPANTS = {"민수": "P01", "지영": "P02"}


def with_ids(text: str, ids: dict[str, str] = IDS) -> str:
    """`text` with ids for names, and with particles that agree with the ids."""
    for name, speaker in ids.items():
        text = text.replace(f"{name}이는", f"{name}은").replace(name, speaker)
    return (
        text.replace("001가", "001이")
        .replace("001와", "001과")
        .replace("001는", "001은")
        .replace("002은", "002는")
        .replace("002이 ", "002가 ")
    )


def plain(index: int) -> str:
    """A dialogue with names before the colons."""
    return "\n".join(f"{name}: {text}" for name, text in TALKS[index])


def nikl(path: Path, indexes: Sequence[int], *, split: str = "train", with_output: bool = True) -> Path:
    """NIKL's JSON. Without output it is a test file."""
    records = [
        {
            "id": f"nikluge-2024-일상 대화 요약-{split}-{index:06}",
            "input": {
                "conversation": [{"speaker": IDS[name], "utterance": text} for name, text in TALKS[index]],
                "subject_keyword": ["일상"],
            },
            **({"output": with_ids(SUMMARIES[index])} if with_output else {}),
        }
        for index in indexes
    ]
    return write_json(path, records)


def aihub(path: Path, indexes: Sequence[int], *, sns: bool = False, encoding: str = "utf-8") -> Path:
    """AI Hub's JSON; with `sns` of the corpus 한국어 SNS, which has no summaries."""
    items = []
    for index in indexes:
        turns = [
            {
                "utterance": f"{text} #@이모티콘#",
                "utteranceID": f"U{number}",
                "participantID": PARTICIPANTS[name],
                "turnID": f"T{number}",
            }
            for number, (name, text) in enumerate(TALKS[index], 1)
        ]
        header = {
            "dialogueInfo": {"numberOfParticipants": 2, "topic": "일상", "dialogueID": f"talk-{index}"},
            "participantsInfo": [],
        }
        items.append(
            {"header": header, "body": turns if sns else {"dialogue": turns, "summary": "두 사람이 일상을 이야기한다."}}
        )
    return write_json(path, {"numberOfItems": len(items), "data": items}, encoding=encoding)


def rows(indexes: Sequence[int]) -> list[dict[str, str]]:
    """Rows with names before the colons."""
    return [
        {"id": f"row_{index}", "text": plain(index), "output": SUMMARIES[index], "who": f"g{index % 2}"} for index in indexes
    ]


def write_json(path: Path, value: Any, *, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding=encoding)
    return path


def write_jsonl(path: Path, values: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    return path


def write_table(path: Path, indexes: Sequence[int], *, separator: str = ",", encoding: str = "utf-8") -> Path:
    """A CSV file as pandas writes it, with its index as a first column without a name."""
    import pandas as pd

    text = pd.DataFrame(rows(indexes)).to_csv(sep=separator, lineterminator="\r\n")
    path.write_bytes(text.encode(encoding))
    return path


KAKAO = {
    "windows": (
        "지영 님과 카카오톡 대화\n저장한 날짜 : 2024-01-02 09:00:00\n\n--------------- 2024년 1월 1일 월요일 ---------------\n"
        "[민수] [오후 3:21] 내일 저녁에 시간 있어?\n[지영] [오후 3:22] 응, 민수야.\n무슨 일이야?\n[민수] [오후 3:25] 사진\n"
        "--------------- 2024년 1월 2일 화요일 ---------------\n[지영] [오전 8:00] 잘 잤어?\n[민수] [오전 8:01] 응.\n"
    ),
    "android": (
        "지영 님과 카카오톡 대화\n저장한 날짜 : 2024년 1월 2일 오전 9:00\n\n\n2024년 1월 1일 오후 3:20\n"
        "2024년 1월 1일 오후 3:21, 민수 : 내일 저녁에 시간 있어?\n2024년 1월 1일 오후 3:22, 지영 : 응, 민수야.\n무슨 일이야?\n"
        "2024년 1월 1일 오후 3:23, 영호님이 들어왔습니다.\n2024년 1월 1일 오후 3:25, 민수 : 사진\n\n"
        "2024년 1월 2일 오전 8:00\n2024년 1월 2일 오전 8:00, 지영 : 잘 잤어?\n2024년 1월 2일 오전 8:01, 민수 : 응.\n"
    ),
    "ios": (
        "지영 님과 카카오톡 대화\n저장한 날짜 : 2024. 1. 2. 오전 9:00\n\n2024년 1월 1일 월요일\n"
        "2024. 1. 1. 오후 3:21, 민수 : 내일 저녁에 시간 있어?\n2024. 1. 1. 오후 3:22, 지영 : 응, 민수야.\n무슨 일이야?\n"
        "2024. 1. 1. 오후 3:25, 민수 : 사진\n2024년 1월 2일 화요일\n"
        "2024. 1. 2. 오전 8:00, 지영 : 잘 잤어?\n2024. 1. 2. 오전 8:01, 민수 : 응.\n"
    ),
    "macos": (
        'Date,User,Message\n2024-01-01 15:21:00,"민수","내일 저녁에 시간 있어?"\n2024-01-01 15:22:00,"지영","응, 민수야.\n무슨 '
        '일이야?"\n'
        '2024-01-01 15:25:00,"민수","사진"\n2024-01-02 08:00:00,"지영","잘 잤어?"\n2024-01-02 08:01:00,"민수","응."\n'
    ),
    "english": (
        "KakaoTalk Chats with 지영\nDate Saved : Jan 2, 2024 at 9:00 AM\n\nJanuary 1, 2024 at 3:20 PM\n"
        "January 1, 2024 at 3:21 PM, 민수 : 내일 저녁에 시간 있어?\n"
        "January 1, 2024 at 3:22 PM, 지영 : 응, 민수야.\n무슨 일이야?\n"
        "January 1, 2024 at 3:25 PM, 민수 : Photo\nJanuary 2, 2024 at 8:00 AM, 지영 : 잘 잤어?\n"
        "January 2, 2024 at 8:01 AM, 민수 : 응.\n"
    ),
}
