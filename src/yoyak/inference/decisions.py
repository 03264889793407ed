"""What the stage predict decided for a model on the dev split, for everybody who uses the model afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from yoyak.system.text_files import read_json


@dataclass(frozen=True)
class Decisions:
    """What predict decided. None means that it has not decided."""

    backend: str | None = None
    postprocess: bool | None = None
    names_topic: bool | None = None  # whether prompts name the topic

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read metrics/predict.json. A missing file has no decisions, nor has the file of a pruned trial."""
        return cls.of_report(read_json(path) if path.is_file() else {})

    @classmethod
    def of_report(cls, report: Mapping[str, Any]) -> Self:
        """What the content of metrics/predict.json says."""
        postprocess = report.get("postprocess", {}).get("used")
        return cls(backend=report.get("backend"), postprocess=postprocess, names_topic=report.get("topic"))
