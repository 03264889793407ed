"""Paths that break DVC's queue or empty its config."""

from pathlib import Path

import pytest

from yoyak.system.dvc_paths import check_dvc_paths
from yoyak.system.errors import YoyakError


def repository(folder: Path, config: str = "[core]\n", local: str = "") -> Path:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text(config, encoding="utf-8")
    if local:
        (folder / ".dvc/config.local").write_text(local, encoding="utf-8")
    return folder


def test_ascii_paths_pass(tmp_path: Path) -> None:
    assert check_dvc_paths(repository(tmp_path)) == check_dvc_paths(tmp_path / "without .dvc") == "DVC can write all paths"


@pytest.mark.parametrize(
    ("config", "message"),
    [("", "empty; .* run `git checkout .dvc/config`"), ("['remote \"x\"']\n    url = /원격\n", "the next `dvc config`")],
)
def test_a_config_that_dvc_emptied_or_would_empty_is_named(tmp_path: Path, config: str, message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        check_dvc_paths(repository(tmp_path, config))


def test_a_folder_with_korean_letters_needs_a_cache_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"dvc config --local cache\.dir FOLDER"):
        check_dvc_paths(repository(tmp_path / "저장소"))
    assert check_dvc_paths(repository(tmp_path / "한글", local="[cache]\n    dir = /srv/cache\n"))
