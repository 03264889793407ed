"""A package: transformers alone writes the same summary with it as yoyak, by the code in its card and in the documents."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.evaluation.test_score_table import with_numbers
from yoyak.config.model_settings import ModelSettings
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.inference.decisions import Decisions
from yoyak.inference.decoding import describe_decoding
from yoyak.inference.model_card import EXAMPLE, snippet
from yoyak.inference.packaging import write_package
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.lookup import family_named
from yoyak.models.portable import describe_input, write_generation_defaults
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_json

DIALOGUE = EXAMPLE.replace("\\n", "\n")
ROW = {"fname": "test_0", "dialogue": DIALOGUE, "topic": "점심"}
FAMILIES = ["kobart", pytest.param("qlora", marks=pytest.mark.slow)]


class Trained:
    """The files of a repository after `dvc repro`, with a model that was not trained."""

    def __init__(self, root: Path, params: Params) -> None:
        self.params, self.root = params, root
        family = family_named(params.model.family)
        self.model = root / "models" / family.name
        setup = family.prepare_training(params)
        encoders = family.batch_encoders(setup.tokenizer, params, [ROW])
        with atomic_folder(self.model) as folder:
            setup.save(folder)
            describe_input(family, setup.tokenizer, encoders["test"], params, [ROW]).write(folder)
            write_generation_defaults(folder, max_new_tokens=9, num_beams=1)
        self.report, self.scores = root / "metrics/predict.json", root / "metrics/scores.json"
        decoding = describe_decoding(params.generation, backend="transformers")
        write_json(self.report, {"backend": "transformers", "decoding": decoding, "postprocess": {"used": False}})
        write_json(self.scores, with_numbers())

    def package(self, name: str = "package") -> Path:
        folder = self.root / "packages" / name
        with atomic_folder(folder) as temporary:
            write_package(self.model, temporary, params=self.params, predict_report=self.report, scores=self.scores)
        return folder


@pytest.fixture
def trained(request: pytest.FixtureRequest, values: dict[str, Any], tmp_path: Path) -> Trained:
    family = getattr(request, "param", "kobart")
    values["model"]["family"] = family
    for name, base in (("kobart", "kobart-tiny"), ("qlora", "llama-tiny")):  # they write real words
        values["model"][name]["checkpoint"] = str(ROOT / "models/base" / base)
    values["generation"] |= {"num_beams": 3, "max_new_tokens": 24, "no_repeat_ngram_size": 4, "length_penalty": 0.5}
    return Trained(tmp_path / "repository", parse_params(values, source="test"))


def run_code(code: str, folder: Path) -> str:
    """What the code prints in `folder`. It must not use yoyak."""
    assert "yoyak." not in code.replace("yoyak.json", "") and "import yoyak" not in code
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})
    return printed.getvalue().rstrip("\n")


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)


@pytest.mark.parametrize("trained", FAMILIES, indirect=True)
def test_the_code_in_the_card_writes_what_the_summarizer_writes(trained: Trained) -> None:
    package = trained.package()
    expected = Summarizer.load(trained.model, params=trained.params, decisions=Decisions(names_topic=False)).summarize(DIALOGUE)
    assert len(expected) > 10
    (code,) = code_blocks((package / "README.md").read_text(encoding="utf-8"))
    assert run_code(code, package) == expected
    assert Summarizer.load(package).summarize(DIALOGUE) == expected


@pytest.mark.parametrize("trained", FAMILIES, indirect=True)
def test_the_code_in_the_documents_is_that_of_the_card(trained: Trained) -> None:
    family = trained.params.model.family
    decoder_only = family == "qlora"
    expected = snippet(f"packages/{family}", decoder_only=decoder_only)
    for page in ("use-elsewhere.md", "use-elsewhere.ko.md"):
        codes = code_blocks((ROOT / "docs/how-to" / page).read_text(encoding="utf-8"))
        assert codes[1 if decoder_only else 0] == expected, page
    trained.package(family)
    assert run_code(expected, trained.root) == Summarizer.load(trained.root / "packages" / family).summarize(DIALOGUE)


def test_generation_config_has_every_setting_that_it_knows(trained: Trained) -> None:
    config = json.loads((trained.package() / "generation_config.json").read_text(encoding="utf-8"))
    stated = {key: config[key] for key in ("num_beams", "max_new_tokens", "no_repeat_ngram_size", "length_penalty")}
    assert stated == {"num_beams": 3, "max_new_tokens": 24, "no_repeat_ngram_size": 4, "length_penalty": 0.5}
    assert config["early_stopping"] is True and "temperature" not in config
    assert config["eos_token_id"] == 1 and config["decoder_start_token_id"] == 1


@pytest.mark.parametrize("trained", FAMILIES, indirect=True)
def test_two_packages_have_the_same_bytes_and_no_absolute_path(trained: Trained) -> None:
    first, second = ({path.name: path.read_bytes() for path in trained.package().iterdir()} for _ in range(2))
    assert first == second
    assert {"README.md", "SHA256SUMS", "config.json", "generation_config.json", "model.safetensors", "yoyak.json"} <= set(first)
    assert not [name for name, content in first.items() if str(trained.root.parent).encode() in content]


def test_the_card_names_both_bases_of_a_pretrained_model(trained: Trained) -> None:
    assert "pre-trained" not in (trained.package().joinpath("README.md")).read_text(encoding="utf-8")
    on = {"num_train_epochs": 2.0, "texts": "both", "dialogues": str(trained.root / "own/chats.csv")}
    pretrain = trained.params.pretrain.model_copy(update=on)
    trained.params = trained.params.model_copy(update={"pretrain": pretrain})
    card = (trained.package() / "README.md").read_text(encoding="utf-8")
    base = trained.params.model.chosen.checkpoint.rpartition("/")[2]
    assert (
        f"| base model | {base} |\n| pre-trained further on | the dialogues of train and the dialogues of chats.csv, 2 epo"
        in card
    )
    assert "'mask_ratio': 0.3" in card and str(trained.root) not in card


def test_the_tokenizer_names_a_class_that_every_version_has(trained: Trained) -> None:
    for folder in (trained.model, trained.package()):
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert not {"backend", "is_local", "local_files_only"} & set(config)
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {(folder / "SHA256SUMS").stat().st_mode & 0o777}


def test_a_model_outside_a_repository_uses_its_own_settings(trained: Trained, tmp_path: Path) -> None:
    copy = shutil.copytree(trained.model, tmp_path / "elsewhere")
    summarizer = Summarizer.load(copy)
    assert summarizer.params.tokenizer == trained.params.tokenizer
    assert summarizer.params.preprocess.noise == trained.params.preprocess.noise
    assert (summarizer.params.generation.max_new_tokens, summarizer.params.generation.num_beams) == (9, 1)
    assert summarizer.summarize(DIALOGUE)
    (copy / "yoyak.json").unlink()
    with pytest.raises(YoyakError, match=r"elsewhere: no yoyak\.json in it, and no params\.yaml in the folders above it"):
        Summarizer.load(copy)


def test_a_package_inside_a_repository_uses_its_own_settings_too(trained: Trained) -> None:
    shutil.copy(ROOT / "params.yaml", trained.root / "params.yaml")  # with another max_input_length
    summarizer = Summarizer.load(trained.package())
    assert summarizer.params.tokenizer == trained.params.tokenizer
    assert summarizer.params.generation == trained.params.generation
    assert summarizer.decisions == Decisions("transformers", postprocess=False)


def test_scores_of_other_settings_are_refused(trained: Trained) -> None:
    trained.params = trained.params.model_copy(
        update={"generation": trained.params.generation.model_copy(update={"num_beams": 7})}
    )
    with pytest.raises(YoyakError, match=r"predict\.json: the predictions were made with other settings .* run `dvc repro`"):
        trained.package()
    assert not (trained.root / "packages/package").exists()


@pytest.mark.parametrize("name", ["report", "scores"])
def test_a_missing_report_is_named(trained: Trained, name: str) -> None:
    getattr(trained, name).unlink()
    with pytest.raises(YoyakError, match=r"\.json: no such file; `dvc repro` writes it"):
        trained.package()


def test_the_card_says_what_needs_yoyak(trained: Trained) -> None:
    package = trained.package()
    text = (package / "README.md").read_text(encoding="utf-8")
    assert "signature: signature" in text and "lead1" in text and "`num_train_epochs`: 2" in text
    assert "loses whole turns (`truncation: middle`)" in text and "null" not in text
    settings = ModelSettings.read(package)
    assert settings is not None
    from yoyak.inference.model_card import what_the_snippet_lacks

    other = settings.model_copy(update={"clean_up": None, "postprocess": True})
    assert len(what_the_snippet_lacks(other)) == len(what_the_snippet_lacks(settings)) + 2
