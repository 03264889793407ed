"""The AI Hub corpora "한국어 대화 요약" and "한국어 SNS": many JSON files, each with a list `data` of dialogues.

A dialogue has `header.dialogueInfo` (dialogueID, topic) and `body`: `{"dialogue": [utterances], "summary": "…"}`, or in the SNS
corpus the list of utterances itself, without a summary.
"""

from collections.abc import Iterator
from typing import Any

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.json_records import json_records
from yoyak.data.importers.lookup import keys_of
from yoyak.data.importers.turn_lists import add_turns, is_turn_list, text_of
from yoyak.system.text_files import printable


class AiHub(Importer):
    """Reads AI Hub's JSON. Speakers are participant ids such as P01; masks such as #@이름# stand in the text."""

    name = "aihub"

    def recognizes(self, look: Look) -> bool:
        return isinstance(look.first.get("header"), dict) and "body" in look.first

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        for place, value in json_records(file, kind=look.kind, encoding=look.encoding):
            header, body = value.get("header"), value.get("body")
            turns = body.get("dialogue") if isinstance(body, dict) else body
            if not isinstance(header, dict) or not isinstance(turns, list) or (turns and not is_turn_list(turns)):
                keys = printable(", ".join(keys_of(value)), 400)
                found = f"keys {keys}; needed: header, and a list of utterances in body.dialogue or body"
                yield Record(place=place, problem="missing_keys", found=found)
                continue
            info: Any = header.get("dialogueInfo")
            info = info if isinstance(info, dict) else {}
            summary = text_of(body.get("summary")) if isinstance(body, dict) else ""
            record = Record(
                place=place,
                id=text_of(info.get("dialogueID")),
                summaries=[summary] if summary.strip() else [],
                topic=text_of(info.get("topic")),
                group=text_of(info.get(options.group, header.get(options.group))) if options.group else "",
            )
            yield add_turns(record, turns, speaker="participantID", utterance="utterance")


IMPORTER = AiHub()
