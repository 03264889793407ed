"""dvc.yaml tells the truth: each stage's params and deps are just what its script loads and imports."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from yoyak.cli import stage_deps
from yoyak.config.params import load_params
from yoyak.config.sections import Params

ROOT = Path(__file__).parents[2]
STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def test_deps_are_the_script_and_every_module_that_it_imports() -> None:
    assert stage_deps.update(ROOT, write=False) == []


def sections_read(stage: str) -> set[str]:
    """The sections that a stage script takes with `Params.only`, or else those that it names as `params.SECTION`."""
    source = (ROOT / f"stages/{stage}.py").read_text(encoding="utf-8")
    if stage == "check_params":  # it validates the whole file
        return set(Params.model_fields)
    if match := re.search(r"^SECTIONS = \((.*?)\)$", source, flags=re.M | re.S):
        assert "load_params().only(*SECTIONS)" in source
        return set(re.findall(r'"(\w+)"', match[1]))
    return set(re.findall(r"\bparams\.(\w+)", source)) & set(Params.model_fields)


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_script_reads(stage: str) -> None:
    assert set(STAGES[stage]["params"]) == sections_read(stage)


def test_a_stage_cannot_read_a_section_that_it_does_not_declare() -> None:
    params = load_params(ROOT / "params.yaml").only("model", "training")
    assert params.training.seed == 42
    with pytest.raises(AttributeError, match="prompt"):
        _ = params.prompt


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_that_the_script_reads_or_writes_stands_in_dvc_yaml(stage: str) -> None:
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text(encoding="utf-8"))
    (call,) = (
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "main" and node.args
    )
    used = {str(node.value) for node in ast.walk(call) if isinstance(node, ast.Constant)}
    kinds = ("deps", "outs", "metrics", "plots")
    entries = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    declared = {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}
    for path in used - {"models"}:
        assert any(path == name or path.startswith(f"{name}/") for name in declared), path
    if "models" in used:
        assert "models/${model.family}" in declared


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_script_is_short(stage: str) -> None:
    assert len((ROOT / f"stages/{stage}.py").read_text(encoding="utf-8").splitlines()) <= 70


def test_the_stage_that_is_not_chosen_imports_nothing_heavy() -> None:
    code = (
        "import sys, stages.train_kobart, stages.train_qlora, stages.preprocess, stages.augment, stages.pretrain\n"
        "assert not {'torch', 'transformers', 'datasets', 'dvclive'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_tokenizing_imports_no_model() -> None:
    code = "import sys, stages.tokenize; assert not {'transformers.modeling_utils', 'scipy', 'peft'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_stages_import_the_library_beside_them(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").write_bytes((ROOT / "stages/__init__.py").read_bytes())
    (tmp_path / "src/yoyak").mkdir(parents=True)
    (tmp_path / "src/yoyak/__init__.py").write_text("MINE = True\n", encoding="utf-8")
    code = "import stages, yoyak; assert yoyak.MINE"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.very_slow
def test_importing_a_module_does_nothing_else(tmp_path: Path) -> None:
    """No file read or written below the working folder, no seed set."""
    code = """
import pkgutil, importlib, random, os
import yoyak
random.seed(7); before = random.getstate()
for module in pkgutil.walk_packages(yoyak.__path__, "yoyak."):
    if module.name != "yoyak.__main__":
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # a tracker whose extra is not installed
            assert module.name == f"yoyak.training.trackers.{error.name}"
assert random.getstate() == before and not os.listdir(".")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={"PATH": "", "PYTHONPATH": str(ROOT / "src")})


@pytest.mark.parametrize("stage", STAGES)
def test_threads_give_way_unless_the_user_says_how_they_wait(stage: str) -> None:
    """Before any stage's first heavy import."""
    code = f"import os, sys, stages.{stage}; assert 'yoyak' in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'))"
    mine = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    said_by_user = (({"OMP_WAIT_POLICY": "ACTIVE"}, "None"), ({"GOMP_SPINCOUNT": "7"}, "7"))
    for said, count in (({}, "1000"), *(said_by_user if stage == "preprocess" else ())):  # the package reads it, for all stages
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=mine | said, check=True, capture_output=True, text=True
        )
        assert done.stdout.strip() == count
