"""DialogSum: JSON lines with fname, dialogue, summary and topic; the test file has summary1, summary2 and summary3."""

from yoyak.data.importers.base import Look
from yoyak.data.importers.json import Json


class DialogSum(Json):
    """As the format json: DialogSum's keys are those of yoyak."""

    name = "dialogsum"

    def recognizes(self, look: Look) -> bool:
        return look.kind in ("json", "jsonl") and {"fname", "dialogue"} <= set(look.first)


IMPORTER = DialogSum()
