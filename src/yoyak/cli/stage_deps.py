"""`yoyak deps`: the Python files among each stage's `deps:` in dvc.yaml, generated from what the stage's script imports.

DVC reruns a stage when one of its deps changes. So a module must be among the deps of every stage that uses it, and of no other
stage. A list that people keep by hand goes wrong in both ways.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError

# Our top-level packages, and the folder that holds each.
PACKAGES = {"yoyak": Path("src"), "stages": Path()}
GENERATED = re.compile(r" +- (?:src/yoyak|stages)/\S+\.py\s*$")


def stage_files(root: Path, module: str) -> list[str]:
    """Python files that `python -m MODULE` runs: the module, its packages, and all that they import, directly or not.

    Args:
        root: the root of the repository.
        module: such as "stages.predict".

    Returns:
        Sorted paths relative to `root`; those in stages/ come first.

    Raises:
        YoyakError: if the module does not exist, or if a file imports in a way that cannot be followed.
    """
    script = PACKAGES["stages"] / f"{module.replace('.', '/')}.py"
    if not (root / script).is_file():
        raise YoyakError(f"dvc.yaml: a stage runs {module}, but there is no file {script}")
    files: set[Path] = set()
    unread = _files_of(root, module)
    while unread:
        path = unread.pop()
        if path not in files:
            files.add(path)
            unread += [file for name in _imported_names(root, path) for file in _files_of(root, name)]
    return sorted((path.as_posix() for path in files), key=lambda name: (name.startswith("src/"), name))


def _files_of(root: Path, name: str) -> list[Path]:
    """The files that importing a dotted name runs: the `__init__.py` of each package above it, and the module.

    The last part of `name` may also be an attribute of a module, or one that a package imports only when it is asked for.
    """
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return []
    files: list[Path] = []
    for length in range(1, len(parts) + 1):
        place = PACKAGES[parts[0]].joinpath(*parts[:length])
        found = [file for file in (place / "__init__.py", place.with_suffix(".py")) if (root / file).is_file()]
        files += found
    if not found and files and files[-1].name == "__init__.py":
        lazy = _imported_names(root, files[-1], lazy=True)
        files += [file for other in lazy for file in _files_of(root, other)]
    return files


def _imported_names(root: Path, path: Path, *, lazy: bool = False) -> list[str]:
    """Dotted names that a file imports anywhere, also inside functions. Imports for type checkers alone do not count.

    Args:
        root: the root of the repository.
        path: the file, relative to `root`.
        lazy: whether to list what the module's `__getattr__` imports, instead of the rest. Python calls it only where another
            file imports a name that the module lacks, such as `from yoyak import Summarizer`.
    """
    try:
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise YoyakError(f"{path}:{error.lineno}: {error.msg}") from None
    getattr_nodes = _inside(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
    typing_nodes = _inside(
        statement
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING"
        for statement in node.body
    )
    nodes = (node for node in ast.walk(tree) if node not in typing_nodes and (node in getattr_nodes) == lazy)
    return [name for node in nodes for name in _names_of(root, path, node)]


def _inside(nodes: Iterable[ast.AST]) -> set[ast.AST]:
    return {inner for node in nodes for inner in ast.walk(node)}


def _last_name(node: ast.expr) -> str:
    """`TYPE_CHECKING` for `typing.TYPE_CHECKING`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _names_of(root: Path, path: Path, node: ast.AST) -> Iterator[str]:
    """Dotted names that one node of the syntax tree imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise YoyakError(f"{path}:{node.lineno}: relative import; write the full name, such as `from yoyak.data import …`")
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and _last_name(node.func) == "import_module":
        yield from _names_of_call(root, path, node)


def _names_of_call(root: Path, path: Path, call: ast.Call) -> Iterator[str]:
    """For `import_module(f"yoyak.models.families.{name}")`: every module of that package, since any of them may be imported."""
    argument = call.args[0] if call.args else None
    start = argument.values[0] if isinstance(argument, ast.JoinedStr) and argument.values else argument
    if not isinstance(start, ast.Constant):
        raise YoyakError(f"{path}:{call.lineno}: import_module needs a text that starts with the name of a package")
    name = str(start.value)
    if start is argument:
        yield name
    elif name.partition(".")[0] in PACKAGES:
        package = name.rpartition(".")[0]
        top = package.partition(".")[0]
        for file in sorted((root / PACKAGES[top]).joinpath(*package.split(".")).glob("*.py")):
            yield f"{package}.{file.stem}"


def corrected(root: Path, text: str) -> tuple[str, list[str]]:
    """The text of dvc.yaml with the right Python files in each stage's `deps:`, and the names of the stages that were wrong.

    A stage counts if its command runs a module of stages/. All other lines stay.

    Raises:
        YoyakError: if such a stage has no `deps:` list with one entry on each line.
    """
    lines = text.splitlines(keepends=True)
    outdated = []
    for stage, module in _stage_modules(text).items():
        start, end = _deps_lines(lines, stage)
        generated = [f"      - {path}\n" for path in stage_files(root, module)]
        others = [line for line in lines[start:end] if not GENERATED.match(line)]
        if lines[start:end] != generated + others:
            outdated.append(stage)
            lines[start:end] = generated + others
    return "".join(lines), outdated


def _stage_modules(text: str) -> dict[str, str]:
    """The module that each stage of dvc.yaml runs, such as "stages.predict", by the name of the stage."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load(text).get("stages") or {}
    commands = {name: str(stage.get("cmd", stage.get("do", {}).get("cmd"))) for name, stage in stages.items()}
    matches = {name: re.search(r"\bstages\.\w+", command) for name, command in commands.items()}
    return {name: match[0] for name, match in matches.items() if match}


def _deps_lines(lines: list[str], stage: str) -> tuple[int, int]:
    """Where the entries of a stage's `deps:` start and end among the lines of dvc.yaml."""
    section = lines.index("stages:\n") if "stages:\n" in lines else 0
    headers = (index for index in range(section, len(lines)) if re.match(rf"  {re.escape(stage)}:", lines[index]))
    header = next(headers, len(lines))
    for index in range(header + 1, len(lines)):
        if re.match(r" {0,2}[^\s#]", lines[index]):  # the next stage or section
            break
        if re.match(r"    deps:\s*(#.*)?$", lines[index]):
            end = index + 1
            while end < len(lines) and lines[end].startswith("      "):
                end += 1
            if end > index + 1:
                return index + 1, end
    raise YoyakError(
        f"dvc.yaml: stage {stage}: no `deps:` with one entry on each line; add `deps:` and `      - stages/{stage}.py`"
    )


def update(root: Path, *, write: bool) -> list[str]:
    """Compare dvc.yaml with the imports, and correct it if `write`.

    Returns:
        Names of the stages whose Python files among the deps differ from what their scripts import.

    Raises:
        YoyakError: if there is no dvc.yaml, or as `corrected` has it.
    """
    path = root / "dvc.yaml"
    if not path.is_file():
        raise YoyakError(f"{path}: no such file; cd to the folder of your clone that has dvc.yaml")
    before = path.read_text(encoding="utf-8")
    after, outdated = corrected(root, before)
    if write and outdated:
        with atomic_file(path) as file:
            file.write(after)
    return outdated
