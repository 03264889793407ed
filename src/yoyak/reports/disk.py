"""`yoyak disk`: what takes space, and freeing what no commit, experiment or running work needs."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from yoyak.reports.experiments import read_experiments
from yoyak.reports.status import running_lines
from yoyak.search.git_dvc import dvc, dvc_cache_folder
from yoyak.search.workers import SEARCH_FOLDER
from yoyak.system import resumable
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Place:
    """Something that takes space.

    Attributes:
        name: its short name.
        paths: the folders, or files, that belong to it.
        about: what it is, and how it is freed if `yoyak disk --free` does not do it.
        size: in bytes; files that several names share (links) count once.
    """

    name: str
    paths: tuple[Path, ...]
    about: str
    size: int


def size_of(path: Path) -> int:
    """The bytes of a file or folder. Symbolic links are not followed; a file with several names counts once.

    Files that another process deletes meanwhile do not count.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for file in [path] if path.is_file() else _files_in(path):
        with suppress(OSError):
            stat = file.lstat()
            if (key := (stat.st_dev, stat.st_ino)) not in seen:
                seen.add(key)
                total += stat.st_size
    return total


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def size_text(size: float) -> str:
    """A size for people, such as "1.5 GB". A kB is 1,000 bytes."""
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {UNITS[unit]}"


def hub_cache() -> Path:
    """The folder with the models that were downloaded from the hub, as huggingface_hub chooses it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def read_places(root: Path) -> list[Place]:
    """What takes space, the largest first, without what is empty.

    Args:
        root: folder of the repository.

    Raises:
        YoyakError: with DVC's message, if it cannot read the repository.
    """
    named: list[tuple[str, tuple[Path, ...], str]] = [
        (
            "cache",
            (dvc_cache_folder(root),),
            "data and models of all commits and experiments; --free cache removes those that none of them names",
        ),
        (
            "work",
            (resumable.checkpoints_root(),),
            "unfinished work, from which a killed stage goes on; it goes after a week; --free work removes it now",
        ),
        ("search logs", (root / SEARCH_FOLDER / "logs",), "what trials printed; --free logs removes them"),
        ("searches", (root / SEARCH_FOLDER,), "the database of searches and the copies in which trials run"),
        ("answers", (root / ".answers",), "answers of APIs, which were paid; `yoyak answers` lists and deletes them"),
        ("trackers", (root / ".trackers",), "what MLflow, W&B and TensorBoard store here; delete it by hand"),
        (
            "results",
            tuple(root / name for name in ("data", "models", "metrics")),
            "the files of this folder; DVC restores its part from the cache",
        ),
        ("reports", tuple(root / name for name in ("reports", "search_reports", "dvc_plots")), "pages; delete them by hand"),
        ("packages", (root / "packages",), "models that `yoyak package` wrote; delete them by hand"),
        ("environment", (root / ".venv",), "Python and its packages; `make setup` makes it anew"),
        ("hub", (hub_cache(),), "models from the hub, which other programs use too; `hf cache ls` and `hf cache rm`"),
    ]
    sizes = {name: sum(map(size_of, paths)) for name, paths, _ in named}
    sizes["searches"] -= sizes["search logs"]
    places = [Place(name, paths, about, sizes[name]) for name, paths, about in named]
    return sorted((place for place in places if place.size), key=lambda place: -place.size)


def disk_lines(root: Path) -> list[str]:
    """The lines that `yoyak disk` prints."""
    places = read_places(root)
    width = max(len(place.name) for place in places) if places else 0
    free = shutil.disk_usage(root).free
    lines = [f"{place.name:{width}}  {size_text(place.size):>9}  {place.about}" for place in places]
    return [*lines, f"{size_text(free)} are free on this disk"]


def _free_cache(root: Path, *, dry: bool) -> str:
    cache = dvc_cache_folder(root).resolve()
    if not cache.is_relative_to(root.resolve()):
        raise YoyakError(
            f"{cache}: the cache lies outside of this repository, so that others may use it; free it with "
            "`dvc gc --all-commits --all-experiments --workspace --projects FOLDER ...`, naming all of them"
        )
    # Commits on all branches, experiments, and the files of this folder keep their data.
    options = ["--force", "--workspace", "--all-commits", "--all-experiments"]
    unneeded = [Path(path) for path in re.findall(r"^Removing (.+)$", dvc(root, "gc", *options, "--dry"), re.M)]
    size = sum(map(size_of, unneeded))
    if dry:
        return f"cache: {size_text(size)} would be freed ({counted(len(unneeded), 'file')})"
    dvc(root, "gc", *options)
    return f"cache: {size_text(size)} freed ({counted(len(unneeded), 'file')}); other params compute their results anew"


def _free_work(_root: Path, *, dry: bool) -> str:
    folders = resumable.unlocked_work()
    size = sum(map(size_of, folders))
    if not dry:
        resumable.delete_work(folders)
    would = "would be " if dry else ""
    return f"work: {size_text(size)} {would}freed ({counted(len(folders), 'folder')}); what was killed begins anew"


def _free_logs(root: Path, *, dry: bool) -> str:
    logs = root / SEARCH_FOLDER / "logs"
    size = size_of(logs)
    if not dry:
        shutil.rmtree(logs, ignore_errors=True)
    return f"logs: {size_text(size)} {'would be ' if dry else ''}freed"


FREE: dict[str, Callable[..., str]] = {"cache": _free_cache, "work": _free_work, "logs": _free_logs}


def free(root: Path, names: list[str], *, dry: bool) -> Iterator[str]:
    """Free the named places, and say of each how much.

    Args:
        root: folder of the repository.
        names: keys of FREE.
        dry: only say what would be freed.

    Raises:
        YoyakError: if something runs, which may need what no commit names yet, or the cache belongs to others too.
    """
    if running := running_lines(root, read_experiments(root)):
        raise YoyakError("disk: nothing is freed while something runs:\n" + "\n".join(f"  {line}" for line in running))
    for name in names:
        yield FREE[name](root, dry=dry)
