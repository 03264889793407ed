"""`yoyak deps`, `check-cache`, `plots-page` and `completion`."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import error_of
from yoyak.cli.main import main


@pytest.fixture
def pipeline(root: Path) -> Path:
    """A dvc.yaml whose only stage has an outdated dep."""
    (root / "stages").mkdir()
    for name in ("__init__", "clean"):
        (root / "stages" / f"{name}.py").touch()
    text = "stages:\n  clean:\n    cmd: python -m stages.clean\n    deps:\n      - stages/old.py\n      - data\n"
    (root / "dvc.yaml").write_text(text, encoding="utf-8")
    return root / "dvc.yaml"


def test_deps_fails_until_dvc_yaml_is_corrected(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pipeline.read_text(encoding="utf-8")
    assert error_of("deps") == "Run `yoyak deps --write` to correct dvc.yaml."
    assert capsys.readouterr().out == "dvc.yaml: stage clean: deps differ from what its script imports\n"
    assert pipeline.read_text(encoding="utf-8") == before
    main(["deps", "--write"])
    assert capsys.readouterr().out == "dvc.yaml: stage clean: deps corrected\n"
    assert "- stages/clean.py\n" in pipeline.read_text(encoding="utf-8")
    main(["deps"])
    assert capsys.readouterr().out == "dvc.yaml: the deps of all stages are correct\n"


@pytest.fixture
def cache(root: Path) -> Path:
    """DVC's cache with one sound file and one whose bytes have changed."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
    folder = root / ".dvc" / "cache" / "files" / "md5"
    for text, bytes_on_disk in ((b"sound", b"sound"), (b"damaged", b"damageD")):
        digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
        (folder / digest[:2]).mkdir(parents=True)
        (folder / digest[:2] / digest[2:]).write_bytes(bytes_on_disk)
    return folder


@pytest.mark.slow
def test_check_cache_finds_and_deletes_damaged_files(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of("check-cache").startswith("Run `yoyak check-cache --delete`, then `dvc pull` or `dvc repro`")
    assert capsys.readouterr().out.count(": damaged\n") == 1
    main(["check-cache", "--delete"])
    assert ": damaged; deleted\nRun `dvc pull` or `dvc repro`" in capsys.readouterr().out
    assert [path.read_bytes() for path in cache.glob("*/*")] == [b"sound"]
    main(["check-cache"])
    assert capsys.readouterr().out.endswith(": no damaged files\n")


@pytest.mark.usefixtures("root")
def test_check_cache_without_dvc_says_so() -> None:
    assert ".dvc: no such folder" in error_of("check-cache")


@pytest.mark.usefixtures("root")
def test_plots_page_writes_the_template() -> None:
    main(["plots-page", "out/page.html"])
    page = Path("out/page.html").read_text(encoding="utf-8")
    assert "{plot_divs}" in page
    assert "vegaEmbed" in page


@pytest.mark.parametrize(("shell", "start"), [("bash", "# AUTOMATICALLY GENERATED"), ("zsh", "#compdef yoyak\n")])
def test_completion_prints_a_script_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str, start: str
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["completion", shell])
    assert capsys.readouterr().out.startswith(start)
