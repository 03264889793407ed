"""Pseudo labels: which dialogues are labelled, by which model, and that dev and test never are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.augmentation.model_helpers import TRAIN, workspace
from tests.conftest import DIALOGUES, save_csv
from yoyak.augmentation.base import Candidate, Refusal, Row
from yoyak.augmentation.methods.pseudo_label import PseudoLabel
from yoyak.augmentation.run import Augmentation
from yoyak.augmentation.teacher import Teacher
from yoyak.augmentation.unlabelled import read_unlabelled
from yoyak.config.model_settings import ModelSettings
from yoyak.inference.outputs import Output
from yoyak.system.errors import YoyakError
from yoyak.system.kept_values import KeptValues

NEW = [
    "#Person1#: 세탁기가 또 멈췄어요.\n#Person2#: 언제부터 그랬나요?\n#Person1#: 오늘 아침부터요.",
    "#Person1#: 소포가 아직 안 왔는데요.\n#Person2#: 주문 번호를 알려 주시겠어요?",
    "#Person1#: 주말에 등산 갈래?\n#Person2#: 무릎이 아파서 못 가.",
]


@pytest.fixture
def teacher(tiny: Path, tmp_path: Path, values: dict[str, Any]) -> Path:
    """A folder as training writes it, with random weights."""
    folder = Path(shutil.copytree(tiny, tmp_path / "teacher"))
    ModelSettings(
        format=1,
        family="kobart",
        preprocess=values["preprocess"],
        tokenizer=values["tokenizer"] | {"special_tokens": []},
        prompt=None,
        names_topic=None,
        clean_up=None,
        input=None,
    ).write(folder)
    return folder


class FakeTeacher:
    """Writes a summary by a rule."""

    def __init__(self, values: dict[str, Any], summaries: dict[str, Output] | None = None) -> None:
        from yoyak.config.params import parse_params

        self.params, self.summaries = parse_params(values, source="test"), summaries or {}
        self.read: list[dict[str, str]] = []
        self.fingerprint = "f"

    def write(self, rows: list[dict[str, str]]) -> list[Output]:
        self.read += rows
        default = Output("#Person1#은 #Person2#와 이야기합니다.", hit_limit=False)
        return [self.summaries.get(row["dialogue"], default) for row in rows]


def dialogues_file(tmp_path: Path, texts: list[str]) -> Path:
    return save_csv(
        tmp_path / "new.csv",
        [{"fname": f"new_{number}", "dialogue": text, "topic": f"화제 {number}"} for number, text in enumerate(texts)],
    )


def labelling(values: dict[str, Any], tmp_path: Path, teacher: Any, path: Path, **settings: Any) -> PseudoLabel:
    section = {"rate": 100.0, "dialogues": str(path), "model": str(tmp_path / "teacher")} | settings
    place = workspace(values, tmp_path, pseudo_label=section)
    method = PseudoLabel(place.params.augment.pseudo_label, place)
    if teacher is not None:
        method.teacher = teacher
    return method


def test_new_dialogues_get_summaries(values: dict[str, Any], tmp_path: Path) -> None:
    fake = FakeTeacher(values)
    method = labelling(values, tmp_path, fake, dialogues_file(tmp_path, NEW))
    tasks = method.tasks(TRAIN)
    assert [task.fname("pseudo_label") for task in tasks] == [f"new_{number}+pseudo_label" for number in range(3)]
    summary = "#Person1#은 #Person2#와 이야기합니다."
    assert method.write(tasks) == [Candidate(text, summary, f"화제 {number}") for number, text in enumerate(NEW)]
    assert fake.read == [{"dialogue": text, "topic": f"화제 {number}"} for number, text in enumerate(NEW)]


def test_the_rate_draws_dialogues_by_the_seed(values: dict[str, Any], tmp_path: Path) -> None:
    path = dialogues_file(tmp_path, [text.replace("요", f"요 {number}") for number in range(20) for text in NEW])

    def drawn(**settings: Any) -> list[str]:
        method = labelling(values, tmp_path, FakeTeacher(values), path, **settings)
        return [task.source["fname"] for task in method.tasks(TRAIN)]

    first = drawn(rate=1.5)
    assert len(first) == 12 == len(set(first)) and first == drawn(rate=1.5)
    assert len(drawn(rate=99)) == 60
    values["augment"]["seed"] = 7
    assert drawn(rate=1.5) != first


def rows_with_guard(
    values: dict[str, Any], tmp_path: Path, texts: list[str], evaluation: list[Row]
) -> tuple[list[Any], dict[str, int], FakeTeacher]:
    """The rows that the stage would write, how many are rejected by reason, and the teacher."""
    fake = FakeTeacher(values)
    method = labelling(values, tmp_path, fake, dialogues_file(tmp_path, texts))
    augmentation = Augmentation.build([], method.workspace, evaluation)
    augmentation = Augmentation([method], augmentation.filters, person_tags=method.workspace.params.preprocess.person_tags)
    rows = list(augmentation.rows(TRAIN))
    return rows, dict(augmentation.counts["pseudo_label"].rejected), fake


def test_dialogues_of_dev_and_test_are_never_labelled(values: dict[str, Any], tmp_path: Path) -> None:
    long = "\n".join(
        f"#Person{1 + number % 2}#: {text}"
        for number, text in enumerate(["택배를 두 번이나 못 받았다고 하던데 무슨 일이에요?"] * 3)
    )
    evaluation: list[Row] = [
        {"fname": "dev_0", "dialogue": NEW[0]},
        {"fname": "test_0", "dialogue": long},
    ]
    planted = [
        NEW[0],  # equal
        NEW[0].replace("#Person1#", "#Person3#").replace(".", "!"),  # other speakers and punctuation
        long.replace("무슨 일이에요?", "무슨 일이죠?"),  # almost equal
        NEW[1],
    ]
    rows, rejected, fake = rows_with_guard(values, tmp_path, planted, evaluation)
    assert [row["fname"] for row in rows] == ["new_3+pseudo_label"] and rows[0]["dialogue"] == NEW[1]
    assert rejected == {"in_dev_or_test": 3}
    assert [row["dialogue"] for row in fake.read] == [NEW[1]], "the model does not even read them"
    values["augment"]["filters"]["near_duplicate"] = 1.0
    rows, rejected, _ = rows_with_guard(values, tmp_path, planted[:3], evaluation)
    assert not rows and rejected == {"in_dev_or_test": 3}, "whatever the filters allow"


def test_what_train_has_or_what_is_no_dialogue_is_not_labelled(values: dict[str, Any], tmp_path: Path) -> None:
    fake = FakeTeacher(values)
    texts = [DIALOGUES[3], DIALOGUES[3].replace("김민수", "박민수"), "민수: 안녕", NEW[0], NEW[0] + " ", "#Person1#: 여보세요?"]
    method = labelling(values, tmp_path, fake, dialogues_file(tmp_path, texts))
    results = method.write(method.tasks(TRAIN))
    reasons = [one.reason if isinstance(one, Refusal) else "" for one in results]
    assert reasons == ["in_train", "in_train", "not_a_dialogue", "", "same_dialogue", ""]
    assert [row["dialogue"] for row in fake.read] == [NEW[0], "#Person1#: 여보세요?"]
    assert set(filter(None, reasons)) <= set(PseudoLabel.reasons)


def test_a_summary_that_cannot_be_used_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    outputs = {
        NEW[0]: Output(" ", hit_limit=False),
        NEW[1]: Output("#Person1#은 말하", hit_limit=True),
        NEW[2]: Output("주말에 등산 갈래? #Person2#: 무릎이 아파서 못 가.", hit_limit=False),
    }
    method = labelling(values, tmp_path, FakeTeacher(values, outputs), dialogues_file(tmp_path, NEW))
    assert method.write(method.tasks(TRAIN)) == [
        Refusal("empty_summary"),
        Refusal("unfinished_summary"),
        Refusal("copied_summary"),
    ]


def test_a_trained_model_writes_and_its_summaries_are_kept(values: dict[str, Any], tmp_path: Path, teacher: Path) -> None:
    method = labelling(values, tmp_path, None, dialogues_file(tmp_path, NEW))
    results = method.write(method.tasks(TRAIN))
    assert all(isinstance(one, Candidate | Refusal) for one in results)
    assert method.report()["fingerprint"] == method.teacher.fingerprint
    again = Teacher(teacher, KeptValues(tmp_path / "pseudo_label.jsonl"))
    rows = [{"dialogue": text, "topic": f"화제 {number}"} for number, text in enumerate(NEW)]
    outputs = again.write(rows)
    assert "summarizer" not in again.__dict__, "the model is not even loaded"
    assert outputs == again.write(rows) and len({one.text for one in outputs}) > 1
    expected = [one.text for one in Teacher(teacher, KeptValues(tmp_path / "other.jsonl")).write(rows)]
    assert [one.text for one in outputs] == expected


def test_the_pipelines_own_models_are_refused(values: dict[str, Any], tmp_path: Path, teacher: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(teacher, models / "kobart")
    kept = KeptValues(tmp_path / "k.jsonl")
    with pytest.raises(YoyakError, match=r"^augment.pseudo_label.model: .*models/kobart is an output of this pipeline"):
        Teacher(models / "kobart", kept, outputs=models)
    with pytest.raises(YoyakError, match="is an output of this pipeline"):
        Teacher(models / "endpoint/../kobart", kept, outputs=models)
    shutil.copytree(teacher, models / "teacher")
    Teacher(models / "teacher", kept, outputs=models)
    with pytest.raises(YoyakError, match=r"^augment.pseudo_label.model: .*nothing: no such folder"):
        Teacher(models / "nothing", kept, outputs=models)
    (models / "teacher/yoyak.json").unlink()
    with pytest.raises(YoyakError, match=r"^augment.pseudo_label.model: .*yoyak.json: no such file"):
        Teacher(models / "teacher", kept, outputs=models)


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "unlabelled"
    save_csv(folder / "b/more.csv", [{"fname": "b", "dialogue": NEW[1]}])
    lines = [{"fname": "a", "dialogue": NEW[0], "topic": " 세탁기  고장 "}, {"fname": "c", "dialogue": NEW[2], "summary": "x"}]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    (folder / "README.md").write_text("text", encoding="utf-8")
    rows = read_unlabelled(folder)
    assert [(row.fname, row.topic) for row in rows] == [("a", "세탁기 고장"), ("c", ""), ("b", "")]
    assert read_unlabelled(folder / "b/more.csv")[0].dialogue == NEW[1]
    save_csv(folder / "c.csv", [{"fname": "a", "dialogue": NEW[1]}])
    with pytest.raises(YoyakError, match=r"c.csv:2 \(fname a\): this fname occurs in .*a.jsonl:1 \(fname a\) too"):
        read_unlabelled(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "augment.pseudo_label.dialogues: .*missing.csv: no such file or folder"),
        ("text.txt", "안녕", "augment.pseudo_label.dialogues: .*text.txt: not a .csv or .jsonl file; `yoyak import`"),
        ("folder/x.txt", "안녕", "augment.pseudo_label.dialogues: .*folder: the folder has no .csv or .jsonl file"),
        ("a.jsonl", '{"fname": "a"}\n', "a.jsonl:1: dialogue is missing, empty or not a text"),
        ("a.jsonl", '{"fname": 3, "dialogue": "x"}\n', "a.jsonl:1: fname is missing"),
        ("a.csv", "fname,text\na,b\n", "a.csv.*dialogue"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    with pytest.raises(YoyakError, match=message):
        read_unlabelled(path.parent if "folder" in name else path)
