"""Screening: models are scored without training, in one table. Failed models are recorded, and a stopped run continues."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.inference.endpoint.server import running
from tests.models.test_lora import make_base
from yoyak.inference import decoding, screening
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and three presets: a small random model of each family, and a model that does not exist."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("dir: data/sample", f"dir: {ROOT / 'data/sample'}")
    (tmp_path / "params.yaml").write_text(text.replace("bootstrap_samples: 1000", "bootstrap_samples: 100"), encoding="utf-8")
    make_base(tmp_path / "chat", "llama")
    (tmp_path / "presets").mkdir()
    short = "generation: {max_new_tokens: 8, num_beams: 1}\ntokenizer: {max_input_length: 128}\n"
    for name, model in {
        "chat": f"model: {{family: qlora, qlora: {{checkpoint: {tmp_path / 'chat'}, revision: null}}}}",
        "bart": f"model: {{family: kobart, kobart: {{checkpoint: {tiny}, revision: null}}}}",
        "missing": f"model: {{family: qlora, qlora: {{checkpoint: {tmp_path / 'nowhere'}, revision: null}}}}",
    }.items():
        (tmp_path / f"presets/{name}.yaml").write_text(f"{model}\n{short}", encoding="utf-8")
    return tmp_path


def run(folder: Path, *names: str, **more: Any) -> dict[str, Any]:
    return screening.screen(
        names, folder=folder / "presets", params=folder / "params.yaml", output=folder / "screen.json", rows=6, **more
    )


def test_a_model_behind_an_api_stands_in_the_same_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_ANSWERS", str(folder / "answers"))
    with running() as server:
        settings = (
            f"{{base_url: {server.url}, model: test-model, price_per_million_input: 2.0, price_per_million_output: 10.0}}"
        )
        (folder / "presets/api.yaml").write_text(f"model: {{family: endpoint, endpoint: {settings}}}\n", encoding="utf-8")
        results = run(folder, "api", "bart")
        assert len(server.calls) == 6
    api = results["models"]["api"]
    assert api["checkpoint"] == "test-model" and api["status"] == "scored" and api["scores"]["rows"] == 6
    assert api["price"] == round(6 * (100 * 2 + 20 * 10) / 1e6, 6) and api["seconds_a_dialogue"] > 0
    assert "backend=endpoint" in api["scores"]["signature"] and "num_beams" not in api["scores"]["signature"]
    lines = {line.split()[0]: line.split() for line in screening.table(results)}
    assert lines["model"][-1] == "price" and lines["api"][-1] == "0.0024" and "-" in lines["bart"]


def test_the_table_has_models_of_both_families_and_a_missing_one_fails(folder: Path) -> None:
    results = run(folder, "chat", "missing", "bart")
    models = results["models"]
    assert json.loads((folder / "screen.json").read_text(encoding="utf-8")) == results
    for name in ("chat", "bart"):
        assert models[name]["scores"]["rows"] == models[name]["outputs"]["rows"] == 6
        assert models[name]["scores"]["baselines"].keys() == {"lead1", "lead2", "lead3", "constant", "medoid"}
        assert models[name]["seconds_a_dialogue"] > 0
    assert models["missing"]["status"] == "failed" and "no such folder" in models["missing"]["why"]
    lines = screening.table(results)
    sums = [models[line.split()[0]]["scores"]["rouge_sum"] for line in lines[1:3]]
    assert sums == sorted(sums, reverse=True)
    assert lines[3].startswith("missing") and "FAILED: model checkpoint" in lines[3]
    assert lines[4].startswith("(medoid baseline)")


@pytest.mark.very_slow
def test_a_model_is_scored_again_only_if_something_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(folder, "chat", "missing")
    calls: list[str] = []
    real = decoding.generate

    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs["progress"])
        return real(*args, **kwargs)

    monkeypatch.setattr("yoyak.inference.summarizer.generate", record)
    run(folder, "chat", "missing")
    assert not calls
    make_base(folder / "chat", "llama", seed=4)  # other weights in the same folder
    run(folder, "chat")
    assert len(calls) == 1
    preset = folder / "presets/chat.yaml"
    preset.write_text(preset.read_text(encoding="utf-8").replace("max_new_tokens: 8", "max_new_tokens: 9"), encoding="utf-8")
    run(folder, "chat")
    assert len(calls) == 2
    monkeypatch.setattr(screening, "medoid", lambda *_, **__: "비가 온다.")  # as if train.csv had changed
    run(folder, "chat")
    assert len(calls) == 3
    shutil.copytree(folder / "chat", folder / "nowhere")
    assert run(folder, "missing")["models"]["missing"]["status"] == "scored"  # a failed model is tried again
    assert len(calls) == 4


def test_a_run_that_was_stopped_continues_with_the_next_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = screening._score_model

    def stop_at_kobart(params: Any, *args: Any) -> Any:
        if params.model.family == "kobart":
            raise KeyboardInterrupt
        return real(params, *args)

    monkeypatch.setattr(screening, "_score_model", stop_at_kobart)
    with pytest.raises(KeyboardInterrupt):
        run(folder, "chat", "bart")
    assert json.loads((folder / "screen.json").read_text(encoding="utf-8"))["models"].keys() == {"chat"}
    scored: list[str] = []

    def record(params: Any, *args: Any) -> Any:
        scored.append(params.model.family)
        return real(params, *args)

    monkeypatch.setattr(screening, "_score_model", record)
    assert run(folder, "chat", "bart")["models"].keys() == {"chat", "bart"}
    assert scored == ["kobart"]


def test_a_model_with_empty_outputs_has_failed(folder: Path) -> None:
    """A model whose first token is always EOS writes empty texts."""
    weights = folder / "chat/model.safetensors"
    state = load_file(weights)
    eos = json.loads((folder / "chat/config.json").read_text(encoding="utf-8"))["eos_token_id"]
    state["model.norm.weight"] = torch.zeros_like(state["model.norm.weight"])
    save_file(state, weights, metadata={"format": "pt"})  # all logits are equal, so greedy search takes the first id
    result = run(folder, "chat")["models"]["chat"]
    assert eos == 1 and result["status"] == "failed"
    assert result["why"] == "6 of 6 outputs are empty"


def test_an_unknown_preset_stops_before_any_work(folder: Path) -> None:
    with pytest.raises(YoyakError, match="did you mean: chat"):
        run(folder, "bart", "chatt")
    assert not (folder / "screen.json").exists()


def fake_cache(root: Path, name: str) -> Path:
    """Write the files that the client of the hub keeps for one model at one commit."""
    repo = root / f"models--{name.replace('/', '--')}"
    commit = name[-1] * 40
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repo / folder).mkdir(parents=True)
    (repo / "blobs/1").write_bytes(b"x" * 1000)
    (repo / f"snapshots/{commit}/model.safetensors").symlink_to("../../blobs/1")
    (repo / "refs/main").write_text(commit, encoding="utf-8")
    return repo


def test_only_the_cache_of_the_given_model_and_commit_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    import huggingface_hub.utils._cache_manager as manager

    monkeypatch.setattr(manager, "HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    model, other = fake_cache(tmp_path / "hub", "team/a"), fake_cache(tmp_path / "hub", "team/b")
    assert screening.remove_from_cache("team/a", "b" * 40) == 0 and model.exists()
    assert screening.remove_from_cache("team/a", "a" * 40) == 1000
    assert not model.exists() and other.exists()
    assert screening.remove_from_cache("team/none", "a" * 40) == 0
    local = tmp_path / "local"
    local.mkdir()
    (local / "weights").write_bytes(b"y")
    assert screening.remove_from_cache(str(local), None) == 0 and (local / "weights").exists()


def test_the_cache_is_removed_after_each_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    monkeypatch.setattr(screening, "remove_from_cache", lambda name, _: removed.append(name))
    run(folder, "chat", "missing", remove_cache=True)
    assert removed == [str(folder / "chat"), str(folder / "nowhere")]
