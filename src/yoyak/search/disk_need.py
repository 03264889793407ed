"""How much disk a search can need: each trial that trains keeps its model in DVC's cache."""

import shutil
from pathlib import Path

from yoyak.search.git_dvc import dvc_cache_folder
from yoyak.search.study_setup import OpenedStudy

GB = 1e9


def disk_lines(opened: OpenedStudy, trials: int) -> list[str]:
    """What the remaining trials can need, and what is free.

    Args:
        opened: the study.
        trials: how many trials have not ended yet.
    """
    if not opened.plan.varies_training:
        return ["disk: no trial trains, so that the trials share one model"]
    cache = _cache_folder(opened.root)
    free = shutil.disk_usage(cache).free
    size = _model_bytes(opened)
    if not size:
        return [f"disk: each trial keeps its model; its size is not known yet; {free / GB:.1f} GB are free in {cache}"]
    runs = trials * opened.plan.seeds
    need = runs * size
    line = f"disk: at most {runs} models of {size / 1e6:.0f} MB = {need / GB:.2f} GB; {free / GB:.1f} GB are free in {cache}"
    if need < free:
        return [line]
    return [line, "WARNING: the disk can become full; run fewer trials, or move the cache: dvc config --local cache.dir FOLDER"]


def _cache_folder(root: Path) -> Path:
    """DVC's cache, or the nearest folder above that exists."""
    folder = dvc_cache_folder(root) if (root / ".dvc/config").is_file() else root
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _model_bytes(opened: OpenedStudy) -> int:
    """The size of the model that is here, else of the checkpoint from which a full training starts; 0 if it is not known."""
    model = opened.base.params_of(opened.base.fixed).model
    for folder in (opened.root / "models" / model.family, opened.root / model.name):
        files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
        if any(path.suffix == ".safetensors" for path in files):
            return sum(path.stat().st_size for path in files)
    return 0
