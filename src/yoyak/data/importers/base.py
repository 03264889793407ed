"""The interface of an importer, and the records that it reads."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from yoyak.data.dialogue import Turn


@dataclass(frozen=True)
class SourceFile:
    """A file to import.

    Attributes:
        path: where its bytes are. For a file of an archive this is a temporary copy.
        name: its name for messages and for import.json.
    """

    path: Path
    name: str


@dataclass(frozen=True)
class Look:
    """What one sees of a file at first.

    Attributes:
        suffix: of its name, in lower case, such as ".json".
        kind: "json" (one value), "jsonl" (a value on each line), "text", "zip", "parquet", "folder" or "binary".
        encoding: of a text file, as Python names it.
        lines: the first lines of a text file, without their ends.
        first: the first record of a JSON file.
    """

    suffix: str
    kind: str
    encoding: str = "utf-8"
    lines: tuple[str, ...] = ()
    first: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about the files.

    Attributes:
        columns: the user's column for each of ours: fname, dialogue, summary, topic, speaker, utterance, group.
        alternating: lines without a speaker alternate between two speakers.
        group: the column whose equal values stay in one split.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    alternating: bool = False
    group: str = ""


@dataclass
class Record:
    """One dialogue as its file has it.

    Attributes:
        place: where it stands, for messages: "train.json: record 3", "train.csv:17".
        id: its identifier; empty if it has none.
        turns: speaker labels of the file (not yet tags) and what they say.
        summaries: all reference summaries; empty if there is none.
        topic: may be empty.
        group: value of the group column.
        split: "train", "dev" or "test" if the file says so, else empty.
        problem: why the record cannot be used (a key of `import_report.DROP_REASONS`), or empty.
        found: the part of the text that shows the problem.
        counts: what was unusual, with its number.
    """

    place: str
    id: str = ""
    turns: list[Turn] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    topic: str = ""
    group: str = ""
    split: str = ""
    problem: str = ""
    found: str = ""
    counts: dict[str, int] = field(default_factory=dict)


class Importer(ABC):
    """Reads the dialogues of one format.

    To add a format, write one module `yoyak/data/importers/NAME.py` with a subclass and the line `IMPORTER = ThatClass()`, and
    add NAME to FORMATS in `yoyak/data/importers/__init__.py`.
    """

    name: ClassVar[str]  # for --format; the name of the module

    @abstractmethod
    def recognizes(self, look: Look) -> bool:
        """Whether a file has this format."""

    @abstractmethod
    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        """The dialogues of a file, one after another, in memory that does not grow with the file.

        Raises:
            YoyakError: naming the file and the place in it, if the file is damaged or lacks what the format needs. The message
                says what was found and what was needed.
        """
