"""The corpus "일상 대화 요약" of the National Institute of Korean Language (AI Malpyeong): one JSON file a split.

A record is `{"id": …, "input": {"conversation": [{"speaker": …, "utterance": …}], "subject_keyword": […]}, "output": "…"}`.
"""

from collections.abc import Iterator

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.json_records import json_records
from yoyak.data.importers.turn_lists import add_turns, text_of
from yoyak.system.text_files import printable


class Nikl(Importer):
    """Reads NIKL's JSON. Speakers are ids such as SD2000001, in the dialogue and in the summary."""

    name = "nikl"

    def recognizes(self, look: Look) -> bool:
        part = look.first.get("input")
        return isinstance(part, dict) and isinstance(part.get("conversation"), list)

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        for place, value in json_records(file, kind=look.kind, encoding=look.encoding):
            part = value.get("input")
            if not isinstance(part, dict) or not isinstance(part.get("conversation"), list):
                found = f"keys {printable(', '.join(value), 200)}; needed: input.conversation"
                yield Record(place=place, id=text_of(value.get("id")), problem="missing_keys", found=found)
                continue
            summary = text_of(value.get("output"))
            record = Record(
                place=place,
                id=text_of(value.get("id")),
                summaries=[summary] if summary.strip() else [],
                topic=text_of(part.get("subject_keyword")),
                group=text_of(value.get(options.group, part.get(options.group))) if options.group else "",
            )
            yield add_turns(record, part["conversation"])


IMPORTER = Nikl()
