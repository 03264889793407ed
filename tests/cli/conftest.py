"""What the tests of the commands share: a folder that looks like a repository, and a way to run a command in this process."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES, save_csv
from yoyak.cli.main import main


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> Path:
    """The current folder, with a small params.yaml and data."""
    values["data"]["dir"] = "data/raw"
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev", "test"):
        rows = [
            {"fname": f"{split}_{index}", "dialogue": text, "summary": summary}
            for index, (text, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
        ]
        save_csv(tmp_path / "data/raw" / f"{split}.csv", rows)
    save_params(values)
    return tmp_path


def save_params(values: dict[str, Any]) -> None:
    """Write params.yaml into the current folder."""
    from ruamel.yaml import YAML

    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)


def save_predictions(texts: list[str], *, split: str = "dev", fnames: list[str] | None = None) -> Path:
    """Write given.csv into the current folder."""
    fnames = fnames or [f"{split}_{index}" for index in range(len(texts))]
    return save_csv(Path("given.csv"), [{"fname": a, "summary": b} for a, b in zip(fnames, texts, strict=True)])


def error_of(*words: str) -> str:
    """The message with which a command ends. Its exit status is 1."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert isinstance(caught.value.code, str)  # Python prints it and exits with 1
    return caught.value.code


def usage_error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a wrong command line prints. The exit status is 2."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err
