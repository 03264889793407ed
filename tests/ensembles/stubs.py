"""Members of an ensemble without a repository."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FNAMES = {"train": ["t1", "t2", "t3", "t4"], "dev": ["d1", "d2"], "test": ["x1"]}


def rows_of(fnames: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"fname": name, "dialogue": f"#Person1#: {name} 이야기\n#Person2#: 응.", "topic": "", "references": [f"{name}의 요약"]}
        for name in fnames
    ]


OURS: dict[str, list[dict[str, Any]]] = {split: rows_of(names) for split, names in FNAMES.items()}


@dataclass
class StubRun:
    scores: Mapping[str, Any] = field(default_factory=lambda: {"signature": "rouge|mecab:1|decoding:x"})


@dataclass
class StubMember:
    """What `members.Member` has."""

    name: str
    written: Mapping[str, Sequence[str]]  # summaries by split
    rows: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=lambda: OURS)
    folds: tuple[int, int] = (0, 1)
    family: str = "kobart"
    run: StubRun = field(default_factory=StubRun)

    def summaries(self, split: str) -> dict[str, str]:
        return {row["fname"]: text for row, text in zip(self.rows[split], self.written[split], strict=True)}
