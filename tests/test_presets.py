"""Presets write what they say into params.yaml and nothing else."""

import io
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from yoyak.errors import YoyakError
from yoyak.params import load
from yoyak.presets import names, use

ROOT = Path(__file__).parents[1]
PRESETS = ROOT / "presets"
EVERY = sorted(path.stem for path in PRESETS.glob("*.yaml"))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """params.yaml as ruamel.yaml lays it out, which is how `dvc exp run -S` leaves it."""
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


def test_the_presets_that_the_documents_ask_for_are_there() -> None:
    assert {"kobart", "kobart-baseline", "kot5"} <= set(names(PRESETS))
    assert names(PRESETS) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_writes_all_of_its_values_and_nothing_else(params: Path, name: str) -> None:
    before = flat(load(params).model_dump())
    overlay = flat(YAML(typ="safe", pure=True).load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8")))
    told = use(name, folder=PRESETS, params=params)
    after = flat(load(params).model_dump())  # load: it is valid
    assert after == before | overlay
    assert [line.split(": ")[0] for line in told] == [key for key in overlay if overlay[key] != before[key]]
    assert [p.name for p in params.parent.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_changes_only_the_lines_that_it_names(params: Path, name: str) -> None:
    before = params.read_text(encoding="utf-8").splitlines()
    told = use(name, folder=PRESETS, params=params)
    after = params.read_text(encoding="utf-8").splitlines()
    other = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(other) == len(told)
    for old, new in other:
        assert old.split(":")[0] == new.split(":")[0]
        assert old.partition("#")[2] == new.partition("#")[2]  # the comment


@pytest.mark.parametrize("name", EVERY)
def test_a_repeated_use_changes_nothing(params: Path, name: str) -> None:
    use(name, folder=PRESETS, params=params)
    first = params.read_bytes()
    assert use(name, folder=PRESETS, params=params) == []
    assert params.read_bytes() == first


def test_comments_and_quotes_stay_in_the_file_as_it_is_committed(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    use("kobart", folder=PRESETS, params=tmp_path / "params.yaml")
    after = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    comments = [line.partition(" # ")[2] for line in text.splitlines() if " # " in line]
    assert len(comments) > 10
    assert [comment for comment in comments if comment not in after] == []
    assert text.count('"') == after.count('"')


def test_nothing_to_change_leaves_the_file_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert use("kobart-tiny", folder=PRESETS, params=tmp_path / "params.yaml") == []
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_changes_are_told_as_old_and_new(params: Path) -> None:
    assert "training.learning_rate: 0.001 → 5e-05" in use("kobart", folder=PRESETS, params=params)


@pytest.mark.parametrize(("name", "near"), [("kobrt", "kobart"), ("KoBART-baseline", "kobart-baseline"), ("kot-5", "kot5")])
def test_an_unknown_preset_offers_near_names(params: Path, name: str, near: str) -> None:
    before = params.read_bytes()
    with pytest.raises(YoyakError, match=f"no preset '{name}'.*did you mean: .*{near}"):
        use(name, folder=PRESETS, params=params)
    assert params.read_bytes() == before


def test_a_name_like_no_other_offers_all(params: Path) -> None:
    with pytest.raises(YoyakError) as error:
        use("zzz", folder=PRESETS, params=params)
    assert all(name in str(error.value) for name in EVERY)


def test_a_name_is_no_path(params: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("data: {dir: x}\n")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "a.yaml").write_text("data: {dir: x}\n")
    with pytest.raises(YoyakError, match="no preset"):
        use("../outside", folder=tmp_path / "presets", params=params)


def test_no_presets_says_where_to_run(params: Path, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="no presets here; run from the repository's root"):
        use("kobart", folder=tmp_path / "none", params=params)


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ("training: {lerning_rate: 1}", "training.lerning_rate: unknown key"),
        ("training: {learning_rate: fast}", "training.learning_rate"),
        ("training: 3", "training: "),
        ("generation: {min_new_tokens: 200}", "generation.min_new_tokens: 200 is more"),
        ("model: {kobart: null}", "model.kobart"),
        ("training: [", "not readable as YAML"),
        ("", "no mapping"),
    ],
)
def test_an_invalid_overlay_leaves_the_file_untouched(params: Path, tmp_path: Path, overlay: str, said: str) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "bad.yaml").write_text(overlay, encoding="utf-8")
    before = params.read_bytes()
    with pytest.raises(YoyakError) as error:
        use("bad", folder=tmp_path / "presets", params=params)
    assert said in str(error.value)
    assert params.read_bytes() == before


@pytest.mark.parametrize("content", ["", "data: [", "- 1\n", "data: {dir: x}\n"])
def test_damaged_params_are_told_and_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(YoyakError, match=r"params\.yaml"):
        use("kobart", folder=PRESETS, params=tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == content


def test_missing_params_say_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="run from the repository's root"):
        use("kobart", folder=PRESETS, params=tmp_path / "params.yaml")


def test_the_default_params_are_the_preset_of_the_embedded_checkpoint(params: Path) -> None:
    assert use("kobart-tiny", folder=PRESETS, params=params) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_is_undone_by_the_default_one(params: Path, name: str) -> None:
    use(name, folder=PRESETS, params=params)
    use("kobart-tiny", folder=PRESETS, params=params)
    assert load(params) == load(ROOT / "params.yaml")
