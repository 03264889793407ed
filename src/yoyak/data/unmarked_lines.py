"""Lines of dialogues that have no speaker tag: counted, and shown with an example, because they join the turn above them."""

from collections import Counter
from dataclasses import dataclass

from yoyak.data.dialogue import first_unmarked_line
from yoyak.data.text_repair import repair
from yoyak.system.text_files import counted, printable

WARNING_SHARE = 0.05  # of the rows or of the lines


@dataclass
class UnmarkedLines:
    """Counts over the dialogues of one file.

    Attributes:
        rows, lines: all dialogues and their lines.
        unmarked_rows, unmarked_lines: those without a speaker tag.
        named_lines: unmarked lines that start with a name and a colon.
        example: the place of the first unmarked line, with its start; of the first one with a name, if there is one.
    """

    rows: int = 0
    lines: int = 0
    unmarked_rows: int = 0
    unmarked_lines: int = 0
    named_lines: int = 0
    example: str = ""

    def add(self, *, where: str, raw: str, cleaned: str, changed: Counter[str]) -> None:
        """Count one dialogue.

        Args:
            where: its place for messages.
            raw: its text before cleaning, for the example.
            cleaned: its text with one turn on each line.
            changed: what cleaning counted.
        """
        unmarked, named = changed["line_without_speaker"], changed["line_with_another_name"]
        self.rows += 1
        self.lines += cleaned.count("\n") + 1 + unmarked
        if unmarked:
            if not self.example or (named and not self.named_lines):
                self.example = f'{where}: "{printable(first_unmarked_line(repair(raw)[0]))}"'
            self.unmarked_rows += 1
            self.unmarked_lines += unmarked
            self.named_lines += named

    def messages(self, name: str) -> list[str]:
        """What a user should know about the file `name`: nothing if every line has a tag."""
        if not self.unmarked_lines:
            return []
        line = counted(self.unmarked_lines, "line has", f"lines in {counted(self.unmarked_rows, 'dialogue')} have")
        messages = [f"{name}: {line} no speaker tag and joined the turn above, such as {self.example}"]
        if self.named_lines:
            start = counted(self.named_lines, "of these lines starts", "of these lines start")
            messages.append(
                f"{name}: {start} with a name and a colon, so probably another speaker says "
                'this; write a tag such as "#Person2#:" in place of each name'
            )
        rows, lines = self.unmarked_rows / self.rows, self.unmarked_lines / self.lines
        if self.rows > 1 and max(rows, lines) > WARNING_SHARE:
            messages.append(
                f"WARNING: {name}: {rows:.0%} of the dialogues have such lines ({lines:.0%} of all lines), so the model may "
                'take what one speaker says for what another says; start each turn with a tag such as "#Person1#:", and write '
                "each turn on one line"
            )
        return messages
