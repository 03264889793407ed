"""Chats that KakaoTalk exports: the text files of Windows, Android and iOS, and the CSV of macOS. A day is one dialogue.

Formats, as exports of 2018 to 2025 have them (the date and the time follow the language of the telephone):

    Windows   --------------- 2024년 1월 1일 월요일 ---------------     [민수] [오후 3:21] 안녕
    Android   2024년 1월 1일 오후 3:21, 민수 : 안녕                       January 1, 2024 at 3:21 PM, Minsu : hi
    iOS       2024. 1. 1. 오후 3:21, 민수 : 안녕
    macOS     2024-01-01 15:21:00,"민수","안녕"   (with the header Date,User,Message)
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from yoyak.data.dialogue import Turn
from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.encodings import open_text, undecodable
from yoyak.data.speaker_labels import BRACKETED
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import MAX_ROW_BYTES

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_KOREAN_DATE = r"(?P<y>\d{4})\s*[년.\-/]\s*(?P<m>\d{1,2})\s*[월.\-/]\s*(?P<d>\d{1,2})(?:일|\.)?"
_ENGLISH_DATE = r"(?:\w+day,?\s+)?(?P<month>[A-Z][a-z]{2,8})\.?\s+(?P<ed>\d{1,2}),?\s+(?P<ey>\d{4})"
_DATE = rf"(?:{_KOREAN_DATE}|{_ENGLISH_DATE})"
_CLOCK = r"(?:(?:오전|오후|AM|PM)\s*)?\d{1,2}:\d{2}(?::\d{2})?(?:\s*(?:AM|PM))?"
_DAY_LINE = re.compile(rf"(?:-{{3,}}\s*)?{_DATE}(?:\s*[월화수목금토일]요일)?(?:\s*(?:at\s+)?{_CLOCK})?\s*(?:-{{3,}})?")
_MESSAGE = re.compile(rf"{_DATE},?\s*(?:at\s+)?{_CLOCK},\s*(?P<speaker>[^:：\n]{{1,40}}?)\s+[:：]\s(?P<text>.*)")
_SYSTEM = re.compile(rf"{_DATE},?\s*(?:at\s+)?{_CLOCK}[,:]\s*(?P<text>.+)")
_CSV_HEADER = re.compile(r'"?date"?,"?user"?,"?message"?', re.IGNORECASE)
_HEAD = re.compile(r".*(?:카카오톡 대화|KakaoTalk Chats?.*)|(?:저장한 날짜|Date Saved)\s*:.*", re.IGNORECASE)
_NOTICE = re.compile(
    r".{1,60}?님이 (?:들어왔습니다|나갔습니다|.{1,40}초대(?:했|하였)습니다|.{0,40}내보냈습니다)\.?.*"
    r"|.{1,60} (?:joined|left) this chatroom\.?|.{1,40}invited .{1,80}\."
    r"|채팅방 관리자가 메시지를 가렸습니다\.?|(?:.{1,40}님이 )?.{0,40}(?:방장|운영정책).{0,80}"
)
_DELETED = re.compile(r"(?:삭제된 메시지입니다\.?|This message was deleted\.?)")
# What KakaoTalk writes in place of pictures and the like, and the mask that AI Hub's corpora have for it.
_MEDIA = {
    re.compile(r"(?:사진(?: \d+장)?|Photos?(?: \d+)?)"): "#@시스템#사진#",
    re.compile(r"(?:동영상|Video)"): "#@시스템#동영상#",
    re.compile(r"(?:이모티콘|Emoticons?|Stickers?|\(이모티콘\).*)"): "#@이모티콘#",
    re.compile(r"(?:파일\s*:.*|File\s*:.*)"): "#@시스템#파일#",
    re.compile(r"(?:샵검색|지도|송금|보이스톡|페이스톡|음성메시지|연락처|투표|일정|선물)(?:\s*[:：].*)?"): "#@시스템#기타#",
}


class KakaoTalk(Importer):
    """Reads a chat as one dialogue for each day, without summaries."""

    name = "kakaotalk"

    def recognizes(self, look: Look) -> bool:
        if look.kind != "text":
            return False
        lines = [line for line in look.lines if line.strip()]
        return bool(
            _CSV_HEADER.fullmatch(lines[0].lstrip("\ufeff").strip())
            or any(_HEAD.fullmatch(line.strip()) for line in lines[:3])
            or any(_MESSAGE.match(line) for line in lines)
            or (any(_DAY_LINE.fullmatch(line.strip()) for line in lines) and any(BRACKETED.match(line) for line in lines))
        )

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        with open_text(file.path, look.encoding) as text:
            lines = iter(lambda: text.readline(MAX_ROW_BYTES), "")
            try:
                if _CSV_HEADER.fullmatch(look.lines[0].lstrip("\ufeff").strip()):
                    yield from _days(file, _csv_messages(lines, file))
                else:
                    yield from _days(file, _text_messages(lines))
            except UnicodeDecodeError as error:
                raise undecodable(file.name, look.encoding, error) from None


# The number of a line, its day (empty: as before), its speaker (empty: none, None: continues the message above), and its text.
Message = tuple[int, str, str | None, str]


def _text_messages(lines: Iterator[str]) -> Iterator[Message]:
    for number, raw in enumerate(lines, 1):
        line = raw.strip().lstrip("\ufeff")
        if match := BRACKETED.match(line):
            yield number, "", match["speaker"].strip(), match["text"]
        elif match := _MESSAGE.match(line):
            yield number, _day(match), match["speaker"].strip(), match["text"]
        elif match := _DAY_LINE.fullmatch(line):
            yield number, _day(match), "", ""
        elif (match := _SYSTEM.match(line)) or _NOTICE.fullmatch(line):
            yield number, _day(match) if match else "", "", line
        elif line and not _HEAD.fullmatch(line):
            yield number, "", None, line


def _csv_messages(lines: Iterator[str], file: SourceFile) -> Iterator[Message]:
    reader = csv.reader(lines)
    next(reader)
    for cells in filter(None, reader):
        match = re.match(_DATE, cells[0])
        if len(cells) != 3 or not match:
            raise YoyakError(f"{file.name}:{reader.line_num}: expected Date,User,Message; look for an unbalanced quote")
        yield reader.line_num, _day(match), cells[1].strip(), " ".join(cells[2].split())


def _day(match: re.Match[str]) -> str:
    if match["y"]:
        return f"{int(match['y']):04}-{int(match['m']):02}-{int(match['d']):02}"
    month = match["month"][:3].lower()
    return f"{int(match['ey']):04}-{_MONTHS.index(month) + 1 if month in _MONTHS else 0:02}-{int(match['ed']):02}"


def _days(file: SourceFile, messages: Iterator[Message]) -> Iterator[Record]:
    stem = Path(file.name).stem
    record: Record | None = None
    day = "chat"
    for number, new_day, speaker, text in messages:
        day = new_day or day
        if record is None or record.id != f"{stem}_{day}":
            if record is not None and (record.turns or record.counts):
                yield _finished(record)
            record = Record(place=f"{file.name}:{number}", id=f"{stem}_{day}")
        _add_message(record, speaker, text)
    if record is not None:
        yield _finished(record)


def _add_message(record: Record, speaker: str | None, text: str) -> None:
    if speaker is None and record.turns:
        last = record.turns[-1]
        record.turns[-1] = Turn(last.speaker, f"{last.utterance} {text}")
        return
    if not speaker or _NOTICE.fullmatch(text) or _DELETED.fullmatch(text.strip()):
        if text:
            record.counts["notice_of_the_program"] = record.counts.get("notice_of_the_program", 0) + 1
        return
    mask = next((mask for pattern, mask in _MEDIA.items() if pattern.fullmatch(text.strip())), None)
    if mask or text.strip():
        record.turns.append(Turn(speaker, mask or text.strip()))


def _finished(record: Record) -> Record:
    if not record.turns:
        record.problem = "empty_dialogue"
    return record


IMPORTER = KakaoTalk()
