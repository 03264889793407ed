"""The trained models that can be loaded now: of the workspace, and of experiments whose model is in DVC's cache."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from yoyak.config.yaml_files import parse_yaml
from yoyak.reports.experiments import WORKSPACE
from yoyak.reports.runs import list_experiments
from yoyak.search.base_params import flatten
from yoyak.search.git_dvc import dvc_cache_folder, git
from yoyak.system.errors import YoyakError

FAMILIES = ("kobart", "qlora", "ensemble")  # whose folders hold something that summarizes
MODEL_FILES = ("config.json", "adapter_config.json", "ensemble.json")
MOST_EXPERIMENTS = 500


@dataclass(frozen=True)
class Offer:
    """A model that a user can choose.

    Attributes:
        id: for requests. It changes when the model or its params change.
        name: of the run.
        family: that trained it.
        revision: the commit of the experiment; None in the workspace.
        size: bytes; 0 if it is not known.
    """

    id: str
    name: str
    family: str
    revision: str | None
    size: int


class ModelList:
    """Lists the models of a repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def cache(self) -> Path:
        """The folder of DVC's cache. Asking DVC takes a second, so it is asked once."""
        return dvc_cache_folder(self.root) / "files" / "md5"

    def offers(self) -> list[Offer]:
        """All models that can be loaded. An experiment that is damaged, or whose model is elsewhere, is left out."""
        found = [*self._workspace(), *self._experiments()]
        return list({offer.id: offer for offer in found}.values())

    def _workspace(self) -> Iterator[Offer]:
        for family in FAMILIES:
            folder = self.root / "models" / family
            if not any((folder / name).is_file() for name in MODEL_FILES):
                continue
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            state = [f"{path.name} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in files]
            settings = self.root / "params.yaml"
            text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
            size = sum(path.stat().st_size for path in files)
            yield Offer(_id(family, text, *state), WORKSPACE, family, None, size)

    def _experiments(self) -> Iterator[Offer]:
        try:
            experiments = list_experiments(self.root)
        except YoyakError:  # no repository of git
            return
        for name, commit in experiments[:MOST_EXPERIMENTS]:
            family, digest, size = _output_of(self.root, commit)
            if digest and self._is_cached(digest):
                yield Offer(_id(commit, family), name, family, commit, size)

    def _is_cached(self, digest: str) -> bool:
        listing = self.cache / digest[:2] / digest[2:]
        try:
            entries = json.loads(listing.read_text(encoding="utf-8"))
            hashes = [entry["md5"] for entry in entries if entry["relpath"] != "not-chosen.txt"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return bool(hashes) and all((self.cache / each[:2] / each[2:]).is_file() for each in hashes)


def _id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


@lru_cache(maxsize=2 * MOST_EXPERIMENTS)
def _output_of(root: Path, commit: str) -> tuple[str, str, int]:
    """Family, hash and size of the model of a commit, by its params.yaml and dvc.lock; empty texts if it has none."""
    try:
        params = flatten(parse_yaml(git(root, "show", f"{commit}:./params.yaml")))  # type: ignore[arg-type]
        lock: Any = yaml.load(git(root, "show", f"{commit}:./dvc.lock"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        family = str(params["model.family"])
        outs = [out for stage in lock["stages"].values() for out in stage.get("outs", ())]
        out = next(out for out in outs if out["path"] == f"models/{family}")
        if family in FAMILIES and not params.get("search.pruned"):
            return family, str(out["md5"]), int(out.get("size") or 0)
    except (YoyakError, StopIteration, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        pass
    return "", "", 0
