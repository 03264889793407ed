"""No dead knobs: every key of params.yaml changes what the libraries are called with. See tests/pipeline/knobs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.knobs import FAMILIES, OTHER, STAGES
from tests.pipeline.knobs.runs import Runs, differences, readers, save_llama, save_rows, value_at
from tests.pipeline.knobs.table import GROUP_OF, GROUPS, fits, knobs_of, of_family, read_by
from yoyak.config.params import leaf_keys
from yoyak.data.dialogue import LISTED_TAGS

SAME_FOR_KOBART = ("training.", "pretrain.num", "generation.consensus.weights_temperature")


def cases(family: str) -> list[Any]:
    """The groups of keys that a family reads."""
    groups = dict.fromkeys(GROUP_OF.get(key, (key,)) for key in leaf_keys() if read_by(family, key))
    return [
        # The same code reads `training` and `pretrain` for both families, so make test shows it for one of them.
        pytest.param(
            family,
            group,
            id=f"{family}-{group[0]}",
            marks=[pytest.mark.very_slow] if family == "qlora" and group[0].startswith(SAME_FOR_KOBART) else [],
        )
        for group in groups
    ]


@pytest.fixture(scope="module")
def runs(_tiny: Path, chat_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    from yoyak.models.tokenizer_loading import load_tokenizer

    folder = tmp_path_factory.mktemp("knobs")
    shutil.copytree(_tiny, folder / "bases/kobart")
    save_llama(folder / "bases/qlora", chat_tokenizer)
    for family in FAMILIES:
        shutil.copytree(folder / f"bases/{family}", folder / f"bases/{family}-2")
    save_rows(folder / "csv", mark="이 자료")
    save_rows(folder / "csv-2", mark="다른 자료")
    return Runs(folder, {"kobart": load_tokenizer(str(_tiny), None, LISTED_TAGS), "qlora": chat_tokenizer})


def test_every_key_of_params_yaml_has_an_entry() -> None:
    for family in FAMILIES:
        missing, unknown = set(leaf_keys()) - set(knobs_of(family)), set(knobs_of(family)) - set(leaf_keys())
        assert not missing, "a new key: say here what it changes"
        assert not unknown, "no such key in params.yaml"
    assert set(GROUP_OF) <= set(leaf_keys())
    assert len(GROUP_OF) == sum(map(len, GROUPS)), "a key in two groups"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_key_of_a_group_has_an_effect_of_its_own(family: str) -> None:
    """The arguments of the trainer alone would not show that it acts on them."""
    for key in GROUP_OF:
        knob = knobs_of(family)[key]
        assert [place for place in knob.shows if not place.startswith("train.args.")], key


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stage", STAGES)
def test_the_same_params_give_the_same_record(runs: Runs, stage: str, family: str) -> None:
    """Without this, a difference between two records would prove nothing."""
    first = runs.record(stage, family, {})
    assert first.get("error") is None
    changed = differences(first, runs.run(stage, family, {}, runs.folder / f"again-{stage}-{family}"))
    assert not changed


@pytest.mark.slow
@pytest.mark.parametrize(("family", "keys"), [*cases("kobart"), *cases("qlora")])
def test_a_key_changes_what_is_really_done(runs: Runs, family: str, keys: tuple[str, ...]) -> None:
    knobs = {key: knobs_of(family)[key] for key in keys}
    stages_of = {key: [stage for stage in readers(key, family) if stage in knob.stages] for key, knob in knobs.items()}
    stages = [stage for stage in STAGES if any(stage in names for names in stages_of.values())]
    base = {name: value for knob in knobs.values() for name, value in knob.base.items()}
    before = runs.all(stages, family, base)
    after = runs.all(stages, family, {**base, **{key: knob.value for key, knob in knobs.items()}})
    assert [line for line in differences(before, after) if not line.startswith("train.args.")], "nothing changed"
    expected_errors = {path for knob in knobs.values() for path in knob.shows if path.endswith(".error")}
    assert {f"{stage}.error" for stage in stages if "error" in after[stage]} == expected_errors, after
    for key, knob in knobs.items():
        for path, expected in knob.shows.items():
            assert fits(value_at(after, path), expected), f"{key}: {path} is {value_at(after, path)}"
            assert not fits(value_at(before, path), expected), f"{key}: {path} is that without the change"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_familys_keys_change_nothing(runs: Runs, family: str) -> None:
    """All of them at once."""
    changes = {key: knob.value for key, knob in knobs_of(family).items() if of_family(key) == OTHER[family]}
    changes |= {"model.qlora.padding_free": "never"} if family == "kobart" else {}  # always forbids eager
    stages = ("tokenize", "train", "predict")
    changed = differences(runs.all(stages, family, {}), runs.all(stages, family, changes))
    assert not changed
