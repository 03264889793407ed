"""What MODEL can be: a folder, an archive, an experiment; and what is said of a wrong one."""

import io
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT
from yoyak.app.model_source import ModelSource, change_params, default_model, open_source, unpack
from yoyak.config.params import load_params
from yoyak.config.sections import Params
from yoyak.inference.summarizer import Summarizer
from yoyak.reports.runs import Run
from yoyak.system.checksums import write_checksums
from yoyak.system.errors import YoyakError


@pytest.fixture
def package(tiny: Path, tmp_path: Path) -> Path:
    """A folder beside no params.yaml would need a yoyak.json; here a params.yaml is above it."""
    folder = tmp_path / "repository/packages/mine"
    shutil.copytree(tiny, folder)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("max_input_length: 512", "max_input_length: 128").replace("max_new_tokens: 100", "max_new_tokens: 8")
    (tmp_path / "repository/params.yaml").write_text(text, encoding="utf-8")
    write_checksums(folder)
    return folder


def test_a_folder_is_served_with_its_own_settings_and_changes(package: Path) -> None:
    with open_source(str(package), package.parents[1]) as source:
        source.check()
        shared = source.load(["generation.num_beams=2", "generation.consensus.facts=1"])
    assert source.name == "mine" and shared.settings.num_beams == 2 and shared.settings.max_new_tokens == 8
    expected = Summarizer.load(package, params=shared.base.params).summarize(DIALOGUES[0])
    assert shared.write([[{"dialogue": DIALOGUES[0], "topic": ""}]], shared.settings)[0][0].summary == expected


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_an_archive_of_a_package_is_unpacked_and_deleted_again(package: Path, tmp_path: Path, suffix: str) -> None:
    kinds = {"tar.gz": "gztar", "zip": "zip"}
    archive = Path(shutil.make_archive(str(tmp_path / "sent"), kinds[suffix], package.parent, package.name))
    with open_source(str(archive), tmp_path) as source:
        source.check()
        assert source.name == "sent" and (source.folder / "model.safetensors").is_file()
    assert not source.folder.exists()


def test_a_damaged_file_is_named(package: Path) -> None:
    (package / "model.safetensors").write_bytes(b"x")
    with pytest.raises(YoyakError, match=r"model\.safetensors: damaged"):
        ModelSource(package, "mine").check()
    (package / "SHA256SUMS").unlink()
    with pytest.raises(YoyakError, match=r"mine"):
        ModelSource(package, "mine").load([])


def test_a_wrong_name_says_what_is_expected(package: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere/model", "no such folder or archive"),
        (str(tmp_path / "notes.txt"), "no folder and no archive"),
        ("gone.tar.gz", "no such folder or archive"),
    ):
        with pytest.raises(YoyakError, match=message), open_source(name, tmp_path):
            pass
    with pytest.raises(YoyakError, match="no trained model here"):
        ModelSource(tmp_path / "empty", "empty").check()
    with pytest.raises(YoyakError, match="behind an API already"):
        ModelSource(ROOT / "models/endpoint", "endpoint").check()


def test_archives_that_lead_outside_or_are_broken_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.tar"
    with tarfile.open(outside, "w") as tar:
        member = tarfile.TarInfo("../config.json")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    for name, kind in (("link", tarfile.SYMTYPE), ("pipe", tarfile.FIFOTYPE)):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            member = tarfile.TarInfo("model/config.json")
            member.type, member.linkname = kind, "../../secret"
            tar.addfile(member)
    with tarfile.open(tmp_path / "absolute.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(str(tmp_path / "absolute.json")))
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b nothing")
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as two:
        two.writestr("a/config.json", "{}")
        two.writestr("b/config.json", "{}")
    for name, message in (
        ("outside.tar", "cannot be unpacked"),
        ("link.tar", "cannot be unpacked"),
        ("pipe.tar", "cannot be unpacked"),
        ("absolute.tar", "cannot be unpacked"),
        ("broken.tar.gz", "cannot be unpacked"),
        ("broken.zip", "cannot be unpacked"),
        ("two.zip", "has 2 models"),
    ):
        target = tmp_path / "target" / name
        target.mkdir(parents=True)
        with pytest.raises(YoyakError, match=message):
            unpack(tmp_path / name, target)
    assert not (tmp_path / "target/config.json").exists() and not (tmp_path / "absolute.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.learning_rate=1", "has no effect on a trained model"),
        ("generation.num_beans=2", "did you mean generation.num_beams"),
        ("generation.num_beams=0", "num_beams"),
    ],
)
def test_changes_that_are_not_possible_are_named(change: str, message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        change_params(load_params(ROOT / "params.yaml"), [change])


def test_without_a_name_the_models_family_is_served(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="name the folder of a model"):
        default_model(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert default_model(tmp_path) == "models/kobart"
    (tmp_path / "params.yaml").write_text(text.replace("family: kobart", "family: endpoint"), encoding="utf-8")
    with pytest.raises(YoyakError, match="behind an API already"):
        default_model(tmp_path)


def test_an_experiment_brings_its_params_and_decisions(
    params: Params, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FakeRun:
        def read(self, path: str) -> str:
            if path == "params.yaml":
                text = (ROOT / path).read_text(encoding="utf-8").replace("num_beams: 4", "num_beams: 3")
                return re.sub(r"(?m)^  long_dialogues: .*\n", "", text)  # of a time before this key
            return '{"backend": "transformers", "postprocess": {"used": true}}'

        def download(self, path: str, target: Path) -> None:
            assert path == "models/kobart"
            shutil.copytree(tiny, target)

    def find(root: Path, name: str) -> Any:
        assert name == "exp-1"
        return FakeRun()

    monkeypatch.setattr(Run, "find", staticmethod(find))
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / ".git").mkdir()
    with open_source("exp-1", tmp_path) as source:
        source.check()
        assert source.params is not None and source.params.generation.num_beams == 3 and source.name == "exp-1"
        assert source.params.generation.long_dialogues == "truncate"
        assert source.decisions is not None and source.decisions.backend == "transformers" and source.decisions.postprocess
    assert not source.folder.exists()
