"""Averaged probabilities: against a plain implementation, also in a beam search that orders its rows anew."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import DIALOGUES
from yoyak.data.pair_encoding import encode_sources
from yoyak.inference.backends.ctranslate2 import model_reasons
from yoyak.models.averaged_probabilities import AveragedModel, load_averaged
from yoyak.models.families.kobart import FAMILY


@pytest.fixture
def models(tiny: Path) -> list[Any]:
    loaded = [FAMILY.load_trained(tiny).model for _ in range(2)]
    with torch.no_grad():
        torch.manual_seed(5)
        for weight in loaded[1].parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return [model.eval() for model in loaded]


@pytest.fixture
def batch(tiny: Path) -> dict[str, torch.Tensor]:
    tokenizer = FAMILY.load_trained(tiny).tokenizer
    padded = tokenizer.pad({"input_ids": encode_sources(tokenizer, DIALOGUES[:3], 64)}, return_tensors="pt")
    return {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]}


def plain_logs(models: list[Any], batch: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """The logarithm of the mean probability of the next token, without any cache."""
    with torch.inference_mode():
        chances = [model(**batch, decoder_input_ids=ids, use_cache=False).logits[:, -1].softmax(-1) for model in models]
    return torch.stack(chances).mean(dim=0).log()


def test_greedy_decoding_takes_the_token_with_the_highest_mean_probability(
    models: list[Any], batch: dict[str, torch.Tensor]
) -> None:
    written = AveragedModel(models).generate(**batch, max_new_tokens=8, num_beams=1, do_sample=False, forced_eos_token_id=None)
    ids = torch.full((3, 1), models[0].config.decoder_start_token_id)
    for place in range(1, written.shape[1]):
        best = plain_logs(models, batch, ids).argmax(dim=-1)
        running = ~(ids[:, 1:] == models[0].config.eos_token_id).any(dim=1)
        assert torch.equal(written[running, place], best[running])
        ids = torch.cat([ids, written[:, place : place + 1]], dim=1)


def test_a_beam_search_is_the_same_with_and_without_remembered_steps(
    models: list[Any], batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {
        **batch,
        "max_new_tokens": 10,
        "num_beams": 4,
        "num_return_sequences": 4,
        "early_stopping": True,
    }
    fast = AveragedModel(models)
    lengths: list[int] = []
    monkeypatch.setattr(fast, "_continue", lambda *args: _noted(AveragedModel._continue(fast, *args), lengths))
    slow = AveragedModel(models)

    def forget(encoded: torch.Tensor, ids: torch.Tensor) -> Any:
        slow._step = None
        return AveragedModel._continue(slow, encoded, ids)

    monkeypatch.setattr(slow, "_continue", forget)
    assert torch.equal(fast.generate(**arguments), slow.generate(**arguments))
    assert lengths[0] == 1 and set(lengths[1:]) == {1}, "only the last token is read at each step"


def _noted(result: Any, lengths: list[int]) -> Any:
    lengths.append(result[1].shape[1])
    return result


def test_a_model_and_itself_write_what_it_writes(models: list[Any], batch: dict[str, torch.Tensor]) -> None:
    arguments: dict[str, Any] = {**batch, "max_new_tokens": 8, "num_beams": 3}
    assert torch.equal(AveragedModel([models[0]] * 2).generate(**arguments), models[0].generate(**arguments))
    assert not torch.equal(AveragedModel(models).generate(**arguments), models[0].generate(**arguments))


def test_ctranslate2_refuses_it(tiny: Path) -> None:
    loaded = load_averaged([tiny, tiny])
    assert "averaged" in " ".join(model_reasons(loaded.model))
    weights = load_file(tiny / "model.safetensors")
    save_file(weights, tiny / "model.safetensors", metadata={"format": "pt"})
    assert load_averaged([tiny]).model.config.model_type == "bart" and not model_reasons(load_averaged([tiny]).model)
