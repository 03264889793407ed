"""Which points of its curves a tracker has sent to its service, so that a resumed training does not send them twice."""

from collections.abc import Mapping
from pathlib import Path

LOG = "logged.tsv"


class LoggedPoints:
    """Keeps a line `NAME<tab>STEP` for each point in a file of the tracker's folder.

    A kill between a point and its line repeats that point. A half-written last line is ignored.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        complete = text[: text.rfind("\n") + 1]
        if complete != text:
            self.path.write_text(complete, encoding="utf-8")
        self._points = set(complete.splitlines())

    def new(self, metrics: Mapping[str, float], *, step: int) -> dict[str, float]:
        """The metrics whose point at this step is not yet logged."""
        return {name: value for name, value in metrics.items() if f"{name}\t{step}" not in self._points}

    def add(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Note that these points are logged."""
        lines = [f"{name}\t{step}" for name in metrics]
        self._points.update(lines)
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
