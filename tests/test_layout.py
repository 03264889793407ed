"""The packages of yoyak stand in layers: a module imports from its own package and from those below, and never in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
# The lowest first. A package may import from those before it in this list.
LAYERS = (
    "system",
    "config",
    "data",
    "evaluation",
    "models",
    "inference",
    "augmentation",
    "training",
    "search",
    "reports",
    "ensembles",
    "app",
    "cli",
)
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "yoyak").rglob("*.py"))
}


def imports_of(module: str) -> set[str]:
    """Modules of yoyak that `module` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in named}
    return found & set(MODULES) - {module}


def layer_of(module: str) -> int:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else len(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_own_layer_and_those_below(module: str) -> None:
    above = sorted(other for other in imports_of(module) if layer_of(other) > layer_of(module) and other != "yoyak")
    assert not above


def test_no_module_imports_itself_through_others() -> None:
    graph = {module: imports_of(module) - {"yoyak"} for module in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES) - 1  # raises CycleError


def test_every_package_of_the_library_has_a_layer() -> None:
    packages = {path.name for path in (SOURCE / "yoyak").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages <= set(LAYERS)
