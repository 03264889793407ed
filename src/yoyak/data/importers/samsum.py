"""SAMSum: a JSON list of id, summary and dialogue, whose lines start with the names of the speakers."""

from yoyak.data.importers.base import Look
from yoyak.data.importers.json import Json


class SamSum(Json):
    """As the format json: the names before the colons are the speakers."""

    name = "samsum"

    def recognizes(self, look: Look) -> bool:
        dialogue = look.first.get("dialogue")
        return look.kind == "json" and {"id", "summary"} <= set(look.first) and isinstance(dialogue, str)


IMPORTER = SamSum()
