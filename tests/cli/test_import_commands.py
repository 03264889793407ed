"""The commands import and export: their arguments, their output, and the round trip through them."""

import csv
import json
from pathlib import Path

import pytest

from tests.data.importers import samples
from yoyak.cli.main import main


def test_import_and_export_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    samples.nikl(Path("train.json"), range(6))
    samples.nikl(Path("dev.json"), [6, 7], split="dev")
    samples.nikl(Path("test.json"), [8, 9], split="test", with_output=False)
    main(["import", "train.json", "dev.json", "test.json", "--output", "raw"])
    out = capsys.readouterr().out
    assert "3 files (nikl), 10 dialogues" in out
    assert "raw/train.csv: 6 rows" in out
    assert "next: dvc exp run -S data.dir=raw" in out
    with open("raw/test.csv", encoding="utf-8", newline="") as file:
        names = [row["fname"] for row in csv.DictReader(file)]
    Path("p.csv").write_text("fname,summary\n" + "".join(f"{name},#Person2#은 웃는다.\n" for name in names), encoding="utf-8")
    main(["export", "p.csv", "--import", "raw", "--output", "out.json"])
    assert "out.json: 2 summaries as nikl" in capsys.readouterr().out
    written = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [record["output"] for record in written] == ["SD2000002는 웃는다.", "SD2000001은 웃는다."]
    with pytest.raises(SystemExit, match=r"out\.json: exists"):
        main(["export", "p.csv", "--import", "raw", "--output", "out.json"])
    main(["export", "p.csv", "--import", "raw", "--output", "out.json", "--overwrite", "--keep-tags"])
    assert json.loads(Path("out.json").read_text(encoding="utf-8"))[0]["output"] == "#Person2#은 웃는다."


def test_what_is_missing_for_the_pipeline_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(samples.KAKAO["android"], encoding="utf-8")
    main(["import", str(path), "--output", str(tmp_path / "raw")])
    assert "the pipeline also needs train.csv and dev.csv and test.csv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "0.9/0.2/0.1"], "add up to 1"),
        (["--split", "0.9"], "three shares"),
        (["--columns", "dialog=text"], "expected OURS=YOURS"),
        (["--split", "0.8/0.1/0.1", "--only", "dev"], "not allowed with"),
        (["--format", "csvv"], "invalid choice"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "x.json", "--output", "raw", *arguments])
    assert message in capsys.readouterr().err
