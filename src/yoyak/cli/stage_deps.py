"""`yoyak deps`: the library modules among each stage's `deps:` in dvc.yaml, generated from what the stage script imports.

An edit to a module must rerun every stage that uses it, and no other stage. A list kept by hand goes wrong in both ways.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError

PACKAGE = "yoyak"


def stage_modules(root: Path, stage: str) -> list[str]:
    """Paths of the Python files that `stages/STAGE.py` runs: itself, and what it imports from the library, directly or not.

    Args:
        root: the repository's root.
        stage: name of a stage in dvc.yaml.

    Returns:
        Sorted paths relative to `root`, the stage's own files first.
    """
    script = Path("stages") / f"{stage}.py"
    found: set[Path] = set()
    unread = [script]
    while unread:
        path = unread.pop()
        if path not in found:
            found.add(path)
            unread += _imported_files(root, path)
    library = sorted(path.as_posix() for path in found if path != script)
    return ["stages/__init__.py", script.as_posix(), *library]


def _imported_files(root: Path, path: Path) -> Iterator[Path]:
    """Library files that one file imports anywhere, also inside functions. Imports for type checkers alone do not count."""
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    type_checking = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_type_checking(node.test)]
    ignored = {inner for node in type_checking for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in ignored:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(root, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from _files_of(root, f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Call) and _is_import_module(node.func):
            yield from _files_imported_by_name(root, node)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _is_import_module(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "import_module"


def _files_imported_by_name(root: Path, call: ast.Call) -> Iterator[Path]:
    """For `import_module(f"yoyak.models.families.{name}")`: every module of that package, since any of them may be imported."""
    argument = call.args[0] if call.args else None
    if isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        package = str(argument.values[0].value).rstrip(".")
        folder = root / "src" / Path(*package.split("."))
        for file in sorted(folder.glob("*.py")):
            yield from _files_of(root, f"{package}.{file.stem}")


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """The files that importing a dotted name runs: the `__init__.py` of each package above it, and the module.

    The last part of `name` may also be an attribute of a module.
    """
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    for length in range(1, len(parts) + 1):
        place = Path("src", *parts[:length])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if (root / file).is_file():
                yield file


def rewritten(root: Path, text: str) -> str:
    """The text of dvc.yaml with the Python files in each stage's `deps:` as the imports have them; all else stays.

    Raises:
        YoyakError: if a stage has no `deps:` list, one entry on a line.
    """
    stages, _, rest = text.partition("\nplots:")
    for stage in re.findall(r"^  (\w+):\n    cmd:", stages, flags=re.M):
        pattern = re.compile(rf"(^  {stage}:\n(?:    .*\n)*?    deps:\n)((?:      - .*\n)+)", flags=re.M)
        match = pattern.search(stages)
        if not match:
            raise YoyakError(f"dvc.yaml: stage {stage}: no `deps:` list with one entry on each line")
        others = [line for line in match[2].splitlines(keepends=True) if not line.rstrip().endswith(".py")]
        modules = [f"      - {path}\n" for path in stage_modules(root, stage)]
        stages = stages[: match.start()] + match[1] + "".join(modules + others) + stages[match.end() :]
    return stages + ("\nplots:" + rest if rest else "")


def update(root: Path, *, write: bool) -> list[str]:
    """Names of the stages whose module deps in dvc.yaml differ from what their scripts import. `write` corrects the file."""
    path = root / "dvc.yaml"
    before = path.read_text(encoding="utf-8")
    after = rewritten(root, before)
    if write and before != after:
        with atomic_file(path) as file:
            file.write(after)
    return [stage for stage, lines in _deps(before).items() if lines != _deps(after)[stage]]


def _deps(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\w+):\n(?:    .*\n)*?    deps:\n((?:      - .*\n)+)", text, flags=re.M))
