"""A preset writes its own values into params.yaml and changes nothing else."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from yoyak.config.params import load_params
from yoyak.config.presets import params_with_preset, preset_names, read_preset, write_preset
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
EVERY = sorted(path.stem for path in PRESETS.glob("*.yaml"))
QLORA_ONLY = ("model.qlora.", "model.endpoint.", "prompt.", "lora.")  # a preset of an encoder-decoder leaves these keys alone
PresetFunction = Callable[..., Any]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """params.yaml as ruamel.yaml formats it, and so as `dvc exp run -S` leaves it."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    text = io.StringIO()
    yaml.dump(yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8")), text)
    path = tmp_path / "params.yaml"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def flat(values: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(values, dict) or not values:
        return {prefix.removesuffix("."): values}
    return {name: leaf for key, value in values.items() for name, leaf in flat(value, f"{prefix}{key}.").items()}


def values_of(name: str) -> dict[str, Any]:
    """The values of a preset's file, read without the library and without `about`."""
    values: dict[str, Any] = YAML(typ="safe", pure=True).load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key != "about"}


def preset(folder: Path, text: str, name: str = "mine") -> Path:
    """A folder with one preset."""
    (folder / "presets").mkdir(parents=True)
    (folder / "presets" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / "presets"


def test_the_presets_of_the_documents_exist() -> None:
    assert {"kobart", "kobart-baseline", "kot5", "kobart-tiny", "llama-tiny"} <= set(preset_names(PRESETS))
    assert preset_names(PRESETS) == sorted(preset_names(PRESETS))
    assert set(EVERY) <= set(preset_names(PRESETS))


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_writes_all_of_its_values_and_nothing_else(params: Path, name: str) -> None:
    before = flat(load_params(params).model_dump())
    overlay = flat(values_of(name))
    changes = write_preset(name, folder=PRESETS, params=params)
    after = flat(load_params(params).model_dump())
    assert after == before | overlay
    assert [line.split(": ")[0] for line in changes] == [key for key in overlay if overlay[key] != before[key]]
    assert [p.name for p in params.parent.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_changes_only_the_lines_of_its_keys(params: Path, name: str) -> None:
    before = params.read_text(encoding="utf-8").splitlines()
    changes = write_preset(name, folder=PRESETS, params=params)
    after = params.read_text(encoding="utf-8").splitlines()
    other = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(other) == len(changes)
    for old, new in other:
        assert old.split(":")[0] == new.split(":")[0]
        assert old.partition("#")[2] == new.partition("#")[2]  # the comment


@pytest.mark.parametrize("name", EVERY)
def test_a_repeated_use_changes_nothing(params: Path, name: str) -> None:
    write_preset(name, folder=PRESETS, params=params)
    first = params.read_bytes()
    assert write_preset(name, folder=PRESETS, params=params) == []
    assert params.read_bytes() == first


@pytest.mark.parametrize("name", EVERY)
def test_comments_and_quotes_stay_in_the_file_as_it_is_committed(tmp_path: Path, name: str) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    write_preset(name, folder=PRESETS, params=tmp_path / "params.yaml")
    after = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    comments = [line.partition(" # ")[2] for line in text.splitlines() if " # " in line]
    assert len(comments) > 10
    assert [comment for comment in comments if comment not in after] == []
    assert text.count('"') == after.count('"')


LISTS = {
    "an empty one": "  blocked_scripts: [] # letters",
    "on one line": "  blocked_scripts: [latin, han] # letters",
    "on lines of their own": "  blocked_scripts: # letters\n  - latin\n  - han",
    "indented": "  blocked_scripts: # letters\n    - latin\n    - han",
    "each with a comment": "  blocked_scripts: # letters\n  - latin # ABC\n  - han",
    "without a comment": "  blocked_scripts:\n  - latin",
}


@pytest.mark.parametrize("new", ["[]", "[kana]", "[latin, han, kana, other]"])
@pytest.mark.parametrize("written", LISTS)
def test_a_list_replaces_a_list_however_it_is_formatted(params: Path, tmp_path: Path, written: str, new: str) -> None:
    """The lines around it stay unchanged, also if another value changes at the same time."""
    text = params.read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("  blocked_scripts:"))
    params.write_text(text.replace(line, LISTS[written]), encoding="utf-8")
    expected = load_params(params).model_dump()
    expected["generation"] |= {"blocked_scripts": YAML(typ="safe", pure=True).load(new), "batch_size": 7}
    write_preset("mine", folder=preset(tmp_path, f"generation: {{blocked_scripts: {new}, batch_size: 7}}"), params=params)
    assert load_params(params).model_dump() == expected
    after = params.read_text(encoding="utf-8")
    assert after.startswith(text.partition(line)[0])
    assert after.endswith(
        "  seed: 42 # Seed for do_sample" + text.partition("# Seed for do_sample")[2].replace("size: 32", "size: 7 ")
    )
    assert ("# letters" in after) == ("# letters" in LISTS[written])


def test_a_value_that_is_a_mapping_is_replaced_as_a_whole(params: Path, tmp_path: Path) -> None:
    """Keys of the old scheduler would be errors with the new one."""
    polynomial = "training: {lr_scheduler_type: polynomial, lr_scheduler_kwargs: {power: 2}}"
    cosine = "training: {lr_scheduler_type: cosine_with_min_lr, lr_scheduler_kwargs: {min_lr_rate: 0.1}}"
    for name, text, expected in (("a", polynomial, {"power": 2}), ("b", cosine, {"min_lr_rate": 0.1})):
        write_preset("mine", folder=preset(tmp_path / name, text), params=params)
        assert load_params(params).training.lr_scheduler_kwargs == expected


def test_a_list_with_one_item_per_line_can_become_empty(params: Path, tmp_path: Path) -> None:
    write_preset("mine", folder=preset(tmp_path, "tokenizer: {special_tokens: []}"), params=params)
    assert load_params(params).tokenizer.special_tokens == []


def test_nothing_to_change_leaves_the_file_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert write_preset("kobart-tiny", folder=PRESETS, params=tmp_path / "params.yaml") == []
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_changes_are_returned_as_old_and_new(params: Path) -> None:
    assert "training.learning_rate: 0.001 → 5e-05" in write_preset("kobart", folder=PRESETS, params=params)


@pytest.mark.parametrize(("name", "near"), [("kobrt", "kobart"), ("KoBART-baseline", "kobart-baseline"), ("kot-5", "kot5")])
@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_an_unknown_preset_offers_similar_names(params: Path, function: PresetFunction, name: str, near: str) -> None:
    before = params.read_bytes()
    with pytest.raises(YoyakError, match=f"no preset '{name}'.*did you mean: .*{near}"):
        function(name, folder=PRESETS, params=params)
    with pytest.raises(YoyakError, match=f"no preset '{name}'.*did you mean: .*{near}"):
        read_preset(name, PRESETS)
    assert params.read_bytes() == before


@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_a_name_without_a_similar_one_offers_all(params: Path, function: PresetFunction) -> None:
    with pytest.raises(YoyakError) as error:
        function("zzz", folder=PRESETS, params=params)
    assert all(name in str(error.value) for name in EVERY)


@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_a_name_is_not_a_path(params: Path, tmp_path: Path, function: PresetFunction) -> None:
    (tmp_path / "outside.yaml").write_text("data: {dir: x}\n")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "a.yaml").write_text("data: {dir: x}\n")
    with pytest.raises(YoyakError, match="no preset"):
        function("../outside", folder=tmp_path / "presets", params=params)


@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_the_message_for_no_presets_says_where_to_run(params: Path, tmp_path: Path, function: PresetFunction) -> None:
    with pytest.raises(YoyakError, match="no presets here; run from the repository's root"):
        function("kobart", folder=tmp_path / "none", params=params)


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ("training: {lerning_rate: 1}", "training.lerning_rate: unknown key"),
        ("training: {learning_rate: fast}", "training.learning_rate"),
        ("training: 3", "training: "),
        ("generation: {min_new_tokens: 200}", "generation.min_new_tokens: 200 is more"),
        ("model: {kobart: null}", "model.kobart"),
        ("training: [", "not readable as YAML"),
        ("model: {qlora: {padding_free: always, attention: eager}}", "model.qlora.padding_free: always needs"),
        ("generation: {blocked_scripts: latin}", "generation.blocked_scripts: "),
        ("aboot: {sources: []}", "aboot: unknown key"),
        ("", "must be a mapping"),
        ("- about", "must be a mapping"),
    ],
)
@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_an_invalid_overlay_leaves_the_file_untouched(
    params: Path, tmp_path: Path, function: PresetFunction, overlay: str, said: str
) -> None:
    folder = preset(tmp_path, overlay, "bad")
    before = params.read_bytes()
    with pytest.raises(YoyakError) as error:
        function("bad", folder=folder, params=params)
    assert said in str(error.value)
    assert params.read_bytes() == before


@pytest.mark.parametrize("content", ["", "data: [", "- 1\n", "data: {dir: x}\n"])
@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_damaged_params_are_reported_and_kept(tmp_path: Path, function: PresetFunction, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(YoyakError, match=r"params\.yaml"):
        function("kobart", folder=PRESETS, params=tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == content


@pytest.mark.parametrize("function", [write_preset, params_with_preset])
def test_the_message_for_missing_params_says_where_to_run(tmp_path: Path, function: PresetFunction) -> None:
    with pytest.raises(YoyakError, match="run from the repository's root"):
        function("kobart", folder=PRESETS, params=tmp_path / "params.yaml")


def test_the_default_params_are_the_preset_of_the_embedded_checkpoint(params: Path) -> None:
    assert write_preset("kobart-tiny", folder=PRESETS, params=params) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_is_undone_by_the_default_one(params: Path, name: str) -> None:
    """Except for keys of other families, which kobart does not read."""
    write_preset(name, folder=PRESETS, params=params)
    write_preset("kobart-tiny", folder=PRESETS, params=params)
    default, after = flat(load_params(ROOT / "params.yaml").model_dump()), flat(load_params(params).model_dump())
    may_stay = {key for key in flat(values_of(name)) if key.startswith(QLORA_ONLY)}
    assert {key for key in after if after[key] != default[key]} <= may_stay


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_is_undone_by_the_default_decoder(params: Path, name: str) -> None:
    write_preset(name, folder=PRESETS, params=params)
    write_preset("llama-tiny", folder=PRESETS, params=params)
    default, after = flat(load_params(ROOT / "params.yaml").model_dump()), flat(load_params(params).model_dump())
    of_endpoint = {key: value for key, value in after.items() if key.startswith("model.endpoint.")}  # not read by qlora
    assert after == default | of_endpoint | {"model.family": "qlora"}


@pytest.mark.parametrize("name", EVERY)
def test_params_with_preset_are_what_write_preset_writes(params: Path, name: str) -> None:
    before = params.read_bytes()
    applied = params_with_preset(name, folder=PRESETS, params=params)
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]
    write_preset(name, folder=PRESETS, params=params)
    assert load_params(params) == applied


@pytest.mark.parametrize("name", EVERY)
def test_the_part_about_is_not_written_into_the_params(params: Path, name: str) -> None:
    values, about = read_preset(name, PRESETS)
    assert set(about) <= {"sources", "shape"}
    assert "about" not in values
    assert values == values_of(name)
    changes = write_preset(name, folder=PRESETS, params=params)
    assert not [line for line in changes if line.startswith("about")]
    assert "about" not in YAML(typ="safe", pure=True).load(params.read_text(encoding="utf-8"))


ABOUT = """
about:
  sources: [a paper]
  shape: {hidden_size: 8}
training: {seed: 7}
"""


def test_the_part_about_is_returned_separately(params: Path, tmp_path: Path) -> None:
    folder = preset(tmp_path, ABOUT)
    assert read_preset("mine", folder) == (
        {"training": {"seed": 7}},
        {"sources": ["a paper"], "shape": {"hidden_size": 8}},
    )
    assert params_with_preset("mine", folder=folder, params=params).training.seed == 7
    assert write_preset("mine", folder=folder, params=params) == ["training.seed: 42 → 7"]
    assert "a paper" not in params.read_text(encoding="utf-8")
    assert load_params(params).training.seed == 7


@pytest.mark.parametrize(("text", "about"), [("training: {seed: 7}", {}), ("about:\ntraining: {seed: 7}", {})])
def test_the_part_about_is_optional(tmp_path: Path, text: str, about: dict[str, Any]) -> None:
    assert read_preset("mine", preset(tmp_path, text)) == ({"training": {"seed": 7}}, about)


def test_a_preset_with_only_the_part_about_changes_nothing(params: Path, tmp_path: Path) -> None:
    folder, before = preset(tmp_path, "about: {sources: [a paper]}"), params.read_bytes()
    assert write_preset("mine", folder=folder, params=params) == []
    assert params_with_preset("mine", folder=folder, params=params) == load_params(params)
    assert params.read_bytes() == before


def test_a_preset_ends_debug_runs(params: Path) -> None:
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("debug: false", "debug: true"), encoding="utf-8")
    assert load_params(params).training.debug
    assert "training.debug: True → False" in write_preset("qwen3-4b", folder=PRESETS, params=params)
    assert not load_params(params).training.debug
