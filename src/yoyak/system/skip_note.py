"""The note that a stage writes when it has nothing to do."""

from pathlib import Path

from yoyak.system.atomic import atomic_folder


def write_skip_note(file_name: str, message: str, *folders: Path) -> None:
    """Print why a stage has nothing to do, and write the same text into each of its output folders.

    DVC warns about an empty output folder, so every output folder needs at least one file.

    Args:
        file_name: name of the text file, such as "not-chosen.txt".
        message: the reason, and how to choose the stage.
        folders: the output folders of the stage. Their previous content is deleted.
    """
    print(message)
    for path in folders:
        with atomic_folder(path) as folder:
            (folder / file_name).write_text(f"{message}\n", encoding="utf-8")
