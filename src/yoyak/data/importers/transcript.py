"""Plain transcripts: lines such as "민수: 안녕". A file is one dialogue, or several between lines of dashes or equals signs."""

import re
from collections.abc import Iterator
from pathlib import Path

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.encodings import open_text, undecodable
from yoyak.data.importers.rows import add_text
from yoyak.data.text_repair import MAX_CHARACTERS

_RULE = re.compile(r"\s*(?:-{3,}|={3,}|\*{3,}|_{3,})\s*")


class Transcript(Importer):
    """Reads text files without summaries. What is no other format of text is a transcript."""

    name = "transcript"

    def recognizes(self, look: Look) -> bool:
        return look.kind == "text"

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        stem = Path(file.name).stem
        with open_text(file.path, look.encoding) as text:
            try:
                for number, (line, part) in enumerate(_parts(iter(lambda: text.readline(MAX_CHARACTERS), "")), 1):
                    record = Record(place=f"{file.name}:{line}", id=stem if number == 1 else f"{stem}_{number}")
                    yield add_text(record, part, options)
            except UnicodeDecodeError as error:
                raise undecodable(file.name, look.encoding, error) from None


def _parts(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """The texts between rules, each with the number of its first line."""
    part: list[str] = []
    start, size = 1, 0
    for number, line in enumerate(lines, 1):
        if _RULE.fullmatch(line):
            if "".join(part).strip():
                yield start, "".join(part)
            start, part, size = number + 1, [], 0
        elif size <= MAX_CHARACTERS:  # the rest of a longer one is not kept; it is refused as too long
            part.append(line)
            size += len(line)
    if "".join(part).strip():
        yield start, "".join(part)


IMPORTER = Transcript()
