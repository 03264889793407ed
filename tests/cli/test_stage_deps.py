"""Which Python files a stage depends on, and how they are written into dvc.yaml. Most tests use a toy repository."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from yoyak.cli.stage_deps import corrected, stage_files, update
from yoyak.system.errors import YoyakError

DVC_YAML = """\
# our pipeline
stages:
  clean:
    cmd: python -m stages.clean # one thin script
    params: [data]
    deps:
      - stages/clean.py
      - src/yoyak/gone.py
      # the raw data
      - ${data.dir}/train.csv
      - models/build.py
    outs:
      - data/processed:
          cache: true

  report:
    cmd: echo done
    deps:
      - src/yoyak/notes.py

plots:
  - metrics/train:
      clean: {deps: no}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty library, a stage `clean`, and a dvc.yaml."""
    save(tmp_path, {"stages/__init__.py": "", "stages/clean.py": "", "src/yoyak/__init__.py": "", "dvc.yaml": DVC_YAML})
    return tmp_path


def save(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def library(root: Path, script: str, files: dict[str, str]) -> set[str]:
    """Modules of the toy library that the stage depends on, if its script has this text; "a/b" for src/yoyak/a/b.py."""
    save(root, {"stages/clean.py": script, **{f"src/yoyak/{name}.py": text for name, text in files.items()}})
    found = stage_files(root, "stages.clean")
    assert found[:2] == ["stages/__init__.py", "stages/clean.py"]
    return {name.removeprefix("src/yoyak/").removesuffix(".py") for name in found[2:]}


def test_an_import_counts_with_the_packages_above_it(repository: Path) -> None:
    files = {"data/__init__": "", "data/rows": "", "data/other": ""}
    assert library(repository, "import yoyak.data.rows", files) == {"__init__", "data/__init__", "data/rows"}
    assert library(repository, "from yoyak.data import rows", files) == {"__init__", "data/__init__", "data/rows"}
    assert library(repository, "from yoyak.data.rows import Row", files) == {"__init__", "data/__init__", "data/rows"}
    assert library(repository, "import os, numpy.random", files) == set()


def test_what_an_imported_module_imports_counts(repository: Path) -> None:
    files = {"a": "from yoyak import b", "b": "from yoyak.c import name", "c": "import yoyak.a", "d": ""}
    assert library(repository, "from yoyak import a", files) == {"__init__", "a", "b", "c"}


def test_what_a_package_imports_counts(repository: Path) -> None:
    files = {"data/__init__": "from yoyak import base", "data/rows": "", "base": ""}
    assert "base" in library(repository, "from yoyak.data import rows", files)


def test_an_import_inside_a_function_counts(repository: Path) -> None:
    script = "def main():\n    if True:\n        from yoyak import a\n"
    assert "a" in library(repository, script, {"a": ""})


@pytest.mark.parametrize("condition", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_an_import_for_type_checkers_alone_does_not_count(repository: Path, condition: str) -> None:
    script = f"if {condition}:\n    from yoyak import a\nelse:\n    from yoyak import b\n"
    found = library(repository, script, {"a": "", "b": ""})
    assert "a" not in found
    assert "b" in found


@pytest.mark.parametrize("function", ["import_module", "importlib.import_module"])
def test_an_import_by_a_computed_name_counts_the_whole_package(repository: Path, function: str) -> None:
    files = {"x/y/__init__": "", "x/y/one": "", "x/y/two": "from yoyak import base", "x/other": "", "base": ""}
    script = f'def pick(name):\n    return {function}(f"yoyak.x.y.{{name}}")\n'
    assert library(repository, script, files) == {"__init__", "x/y/__init__", "x/y/one", "x/y/two", "base"}


def test_an_import_by_a_written_name_counts_that_module(repository: Path) -> None:
    files = {"x/__init__": "", "x/one": "", "x/two": ""}
    assert library(repository, 'import_module("yoyak.x.one")', files) == {"__init__", "x/__init__", "x/one"}
    assert library(repository, 'import_module(f"torch.{name}")', files) == set()


def test_a_lazy_attribute_of_a_package_counts_only_where_it_is_imported(repository: Path) -> None:
    """`from yoyak import Summarizer` must not make every stage depend on the Summarizer."""
    lazy = "def __getattr__(name):\n    from yoyak.heavy import Summarizer\n    return Summarizer\n"
    files = {"__init__": lazy, "heavy": "from yoyak import base", "base": "", "a": ""}
    assert library(repository, "from yoyak import a", files) == {"__init__", "a"}
    assert library(repository, "from yoyak import Summarizer", files) == {"__init__", "heavy", "base"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from . import b", r"src/yoyak/a\.py:1: relative import"),
        ("import_module(TABLE[name])", r"src/yoyak/a\.py:1: import_module needs a text"),
        ("import_module()", r"src/yoyak/a\.py:1: import_module needs a text"),
        ("\ndef f(:", r"src/yoyak/a\.py:2: invalid syntax"),
    ],
)
def test_an_import_that_cannot_be_followed_is_an_error(repository: Path, text: str, message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        library(repository, "from yoyak import a", {"a": text})


def test_dvc_yaml_keeps_all_other_lines(repository: Path) -> None:
    assert update(repository, write=True) == ["clean"]
    expected = DVC_YAML.replace("      - stages/clean.py\n", "      - stages/__init__.py\n      - stages/clean.py\n")
    expected = expected.replace("      - src/yoyak/gone.py\n", "")
    assert (repository / "dvc.yaml").read_text(encoding="utf-8") == expected
    assert update(repository, write=True) == []
    assert (repository / "dvc.yaml").read_text(encoding="utf-8") == expected


def test_dvc_yaml_stays_without_write(repository: Path) -> None:
    assert update(repository, write=False) == ["clean"]
    assert (repository / "dvc.yaml").read_text(encoding="utf-8") == DVC_YAML


def test_a_module_that_moves_moves_in_dvc_yaml(repository: Path) -> None:
    library(repository, "from yoyak import a", {"a": ""})
    update(repository, write=True)
    assert "- src/yoyak/a.py\n" in (repository / "dvc.yaml").read_text(encoding="utf-8")
    library(repository, "from yoyak import b", {"b": ""})
    assert update(repository, write=True) == ["clean"]
    text = (repository / "dvc.yaml").read_text(encoding="utf-8")
    assert "- src/yoyak/b.py\n" in text
    assert "- src/yoyak/a.py\n" not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    deps:\n      - stages/clean.py\n",
            "    others:\n      - stages/clean.py\n",
            "stage clean: no `deps:` with one entry",
        ),
        (
            "    deps:\n      - stages/clean.py\n",
            "    deps: [a.py]\n    x:\n      - y\n",
            "stage clean: no `deps:` with one entry",
        ),
        ("stages.clean", "stages.clear", r"a stage runs stages\.clear, but there is no file stages/clear\.py"),
    ],
)
def test_a_stage_that_cannot_be_corrected_is_an_error(repository: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        corrected(repository, DVC_YAML.replace(old, new, 1))


def test_without_dvc_yaml_it_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"dvc\.yaml: no such file; cd to"):
        update(tmp_path, write=True)


def test_training_does_not_depend_on_post_processing() -> None:
    """An edit to post-processing must not train again (minutes to days)."""
    trained, predicted = (set(stage_files(ROOT, f"stages.{name}")) for name in ("train_kobart", "predict"))
    assert "src/yoyak/inference/postprocessing.py" in predicted - trained
    assert "src/yoyak/training/trainer.py" in trained - predicted
    assert not {
        name for name in trained | predicted if name.startswith(("src/yoyak/cli", "src/yoyak/search", "src/yoyak/reports"))
    }
