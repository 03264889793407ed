"""The note that a stage leaves in its output folders when it has nothing to do."""

from pathlib import Path

from yoyak.system.atomic import atomic_folder


def write_skip_note(name: str, message: str, *folders: Path) -> None:
    """Print why a stage has nothing to do, and write the same text as file `name` into each of its output folders.

    DVC warns about an empty output folder, so each folder needs at least one file.
    """
    print(message)
    for path in folders:
        with atomic_folder(path) as folder:
            (folder / name).write_text(f"{message}\n", encoding="utf-8")
