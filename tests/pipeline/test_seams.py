"""A family and a backend are each one new file and one line. Together they go through the whole pipeline in a copy of the
repository, with a family that no training stage and no model library knows."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipeline.repository import command, commit, copy_repository

FAMILY = '''
"""The family `first_turn`: no model at all; it reads the place of the dialogue in the input."""

from yoyak.models.families.base import Family, LoadedModel


class FirstTurnFamily(Family):
    name = "first_turn"
    is_trained = False

    def recognizes(self, folder):
        return (folder / "first_turn.txt").is_file()

    def load_trained(self, folder, params=None):
        return LoadedModel(self.name, (folder / "first_turn.txt").read_text(encoding="utf-8").strip(), None)

    def encode(self, rows, loaded, params, *, names_topic):
        return [[place] for place, _ in enumerate(rows)]


FAMILY = FirstTurnFamily()
'''
BACKEND = '''
"""The backend `turns`: repeats the first turn of the dialogue behind the word that the model holds."""

from yoyak.inference.backends.base import Backend
from yoyak.inference.outputs import Output


class TurnsWriter:
    def __init__(self, word):
        self.word = word

    def write(self, encoded, dialogues, *, seed):
        return [Output(f"{self.word} {text.splitlines()[0]}", hit_limit=False) for text in dialogues]


class TurnsBackend(Backend):
    name = "turns"
    is_exact = True

    def why_not(self, loaded, settings):
        return None if loaded.family == "first_turn" else "it writes for the family first_turn alone"

    def open(self, loaded, settings, *, threads):
        return TurnsWriter(loaded.model)


BACKEND = TurnsBackend()
'''


def add_name(repository: Path, kind: str, name: str) -> None:
    """Put a name at the end of a list of names in the sections of params.yaml: the one line."""
    module = {"FamilyName": "sections", "BackendName": "generation_section"}[kind]
    path = repository / f"src/yoyak/config/{module}.py"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(rf"^({kind} = Literal\[.*)\]$", rf'\1, "{name}"]', text, flags=re.M)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


@pytest.mark.very_slow
def test_a_further_family_and_backend_go_through_the_pipeline(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    copy_repository(repository, rows=8)
    (repository / "src/yoyak/models/families/first_turn.py").write_text(FAMILY, encoding="utf-8")
    (repository / "src/yoyak/inference/backends/turns.py").write_text(BACKEND, encoding="utf-8")
    add_name(repository, "FamilyName", "first_turn")
    add_name(repository, "BackendName", "turns")
    folder = repository / "models/first_turn"
    folder.mkdir()
    (folder / "first_turn.txt").write_text("처음:\n", encoding="utf-8")
    python = ("python", "-m", "yoyak")
    command(repository, *python, "deps", "--write")
    for stage in ("tokenize", "predict"):  # these depend on every family
        block = (repository / "dvc.yaml").read_text(encoding="utf-8").partition(f"\n  {stage}:\n")[2].partition("\n\n")[0]
        assert "src/yoyak/models/families/first_turn.py" in block
    commit(repository, "a family and a backend")
    params = (repository / "params.yaml").read_text(encoding="utf-8")
    (repository / "params.yaml").write_text(params.replace("family: kobart", "family: first_turn", 1), encoding="utf-8")
    printed = command(repository, "dvc", "repro")
    for skipped in ("tokenize: nothing to do", "train_kobart: nothing to do", "train_qlora: nothing to do"):
        assert skipped in printed
    with open(repository / "data/predictions/dev.csv", encoding="utf-8", newline="") as file:
        predictions = [row["summary"] for row in csv.DictReader(file)]
    with open(repository / "data/processed/dev.jsonl", encoding="utf-8") as file:
        dialogues = [json.loads(line)["dialogue"] for line in file]
    report = json.loads((repository / "metrics/predict.json").read_text(encoding="utf-8"))
    assert [text.rstrip(".") for text in predictions] == [f"처음: {text.splitlines()[0]}".rstrip(".") for text in dialogues]
    assert report["backend"] == "turns" and "backend=turns" in report["decoding"]
    scores = json.loads((repository / "metrics/scores.json").read_text(encoding="utf-8"))
    assert scores["rows"] == len(predictions) and "backend=turns" in scores["signature"]
    code = (
        "import sys; sys.path.insert(0, 'src'); from yoyak import Summarizer; "
        "print(Summarizer.load('models/first_turn').summarize('#Person1#: 안녕하세요'))"
    )
    assert "처음: #Person1#: 안녕하세요" in command(repository, "python", "-c", code)


def test_the_pipelines_own_names_are_files_beside_the_interfaces() -> None:
    from yoyak.inference.backend_choice import BACKENDS, backend_named
    from yoyak.models.families.lookup import FAMILIES, family_named

    for name in FAMILIES:
        assert family_named(name).name == name
        assert (ROOT / f"src/yoyak/models/families/{name}.py").is_file()
    assert BACKENDS.index("transformers") > BACKENDS.index("lean"), "auto ends with it; what follows is used only if named"
    for name in BACKENDS:
        assert backend_named(name).name == name
