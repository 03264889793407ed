"""`yoyak package` of an experiment, without `dvc exp apply`."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.inference.test_packaging import Trained
from yoyak.cli.main import main
from yoyak.config.params import parse_params
from yoyak.reports.runs import Run
from yoyak.system.errors import YoyakError


class Experiment:
    """Stands for the files of a commit, which DVC has in its cache."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str:
        if not (self.root / path).is_file():
            raise YoyakError(f"best: {path} is not there")
        return (self.root / path).read_text(encoding="utf-8")

    def download(self, path: str, target: Path) -> None:
        shutil.copytree(self.root / path, target)


@pytest.fixture
def workspace(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose params.yaml is another one than that of the experiment `best` with its model."""
    root = Path(__file__).parents[2]
    values["model"]["kobart"]["checkpoint"] = str(root / "models/base/kobart-tiny")
    here = tmp_path / "here"
    here.mkdir()
    (here / "params.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    values["generation"] |= {"num_beams": 3, "max_new_tokens": 24}
    there = Trained(tmp_path / "there", parse_params(values, source="test"))
    del values["generation"]["long_dialogues"]  # an older experiment lacks keys that came later
    (there.root / "params.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    monkeypatch.setattr(Run, "find", lambda _root, _name: Experiment(there.root))
    monkeypatch.chdir(here)
    return here


def test_an_experiment_is_packaged_from_the_cache_with_its_own_settings(workspace: Path) -> None:
    before = (workspace / "params.yaml").read_bytes()
    main(["package", "feature/best"])
    package = workspace / "packages/feature-best"
    assert {"model.safetensors", "README.md", "SHA256SUMS"} <= {path.name for path in package.iterdir()}
    assert '"num_beams": 3' in (package / "generation_config.json").read_text(encoding="utf-8")
    assert (workspace / "params.yaml").read_bytes() == before and sorted(path.name for path in workspace.iterdir()) == [
        "packages",
        "params.yaml",
    ]
    first = (package / "SHA256SUMS").read_bytes()
    main(["package", "feature/best"])
    assert (package / "SHA256SUMS").read_bytes() == first


def test_what_the_experiment_lacks_is_named_and_nothing_is_left(workspace: Path) -> None:
    (workspace.parent / "there/metrics/scores.json").unlink()
    with pytest.raises(SystemExit, match=r"best: metrics/scores.json is not there"):
        main(["package", "best"])
    assert [path.name for path in workspace.iterdir()] == ["params.yaml"]
