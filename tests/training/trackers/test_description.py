"""How a run is named and described, and which points are sent only once."""

from pathlib import Path

import pytest

from yoyak.config.sections import Params
from yoyak.system.checksums import write_checksums
from yoyak.system.errors import YoyakError
from yoyak.training.trackers import description
from yoyak.training.trackers.base import RunDescription
from yoyak.training.trackers.logged import LOG, LoggedPoints


def test_the_default_name_has_the_settings_that_people_look_for(params: Params) -> None:
    training = params.training.model_copy(
        update={
            "learning_rate": 2e-5,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "num_train_epochs": 3.0,
        }
    )
    assert (
        description.run_name(params.model_copy(update={"training": training}))
        == f"kobart_{Path(params.model.name).name}_sample_lr2e-05_bs8_ep3"
    )


def test_the_environment_gives_the_name_the_group_and_the_experiment(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(description.NAME_VARIABLE, "{experiment}-{seed}")
    monkeypatch.setenv(description.GROUP_VARIABLE, " long dialogues ")
    monkeypatch.setenv("DVC_EXP_NAME", "fuzzy-cat")
    run = description.describe_run(params, {"dtype": "float32"})
    assert (run.name, run.group) == ("fuzzy-cat-42", "long dialogues")
    assert run.tags["experiment"] == "fuzzy-cat" and run.tags["dtype"] == "float32" and run.tags["family"] == "kobart"
    assert run.settings["training.learning_rate"] == params.training.learning_rate
    assert "training" not in run.settings


@pytest.mark.parametrize("template", ["{model}", "{family", "{}", "{family.__class__}", "{family[0]}"])
def test_a_wrong_template_is_an_error(params: Params, monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.setenv(description.NAME_VARIABLE, template)
    with pytest.raises(YoyakError, match=r"YOYAK_RUN_NAME: .* is not a template of a name; its fields are \{experiment\}, "):
        description.run_name(params)


def test_training_and_scoring_find_the_same_folder(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_TRACKER_FOLDER", str(tmp_path / "stores"))
    (tmp_path / "train.jsonl").write_text("{}\n", encoding="utf-8")
    write_checksums(tmp_path)
    folder = description.run_folder(params, tmp_path)
    assert folder.is_relative_to(tmp_path / "stores")
    pruned = params.model_copy(update={"search": params.search.model_copy(update={"pruned": "worse"})})
    assert description.run_folder(pruned, tmp_path) == folder, "what a search writes there is no setting"
    beams = params.model_copy(update={"generation": params.generation.model_copy(update={"num_beams": 7})})
    assert description.run_folder(beams, tmp_path) != folder
    (tmp_path / "train.jsonl").write_text("[]\n", encoding="utf-8")
    write_checksums(tmp_path)
    assert description.run_folder(params, tmp_path) != folder, "other data"


def test_the_description_is_kept_for_the_stage_score(tmp_path: Path) -> None:
    run = RunDescription("first", "group", {"size": "3.2M"}, {"prompt.system": None, "tokenizer.special_tokens": ["#a#"]})
    assert description.kept_description(tmp_path / "new") is None
    description.keep_description(run, tmp_path / "new")
    assert description.kept_description(tmp_path / "new") == run


def test_a_point_is_sent_once(tmp_path: Path) -> None:
    points = LoggedPoints(tmp_path)
    assert points.new({"train/loss": 1.0, "train/grad_norm": 2.0}, step=1) == {"train/loss": 1.0, "train/grad_norm": 2.0}
    points.add({"train/loss": 1.0}, step=1)
    assert points.new({"train/loss": 1.0, "train/grad_norm": 2.0}, step=1) == {"train/grad_norm": 2.0}
    points.add({"train/loss": 0.9}, step=10)
    with open(tmp_path / LOG, "a", encoding="utf-8") as file:
        file.write("train/loss\t1")  # a kill while it wrote step 12
    again = LoggedPoints(tmp_path)
    assert again.new({"train/loss": 0.9}, step=10) == {}
    assert again.new({"train/loss": 0.8}, step=12) == {"train/loss": 0.8}
    again.add({"train/loss": 0.8}, step=12)
    assert LoggedPoints(tmp_path).new({"train/loss": 0.8}, step=12) == {}
