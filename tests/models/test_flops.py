"""The counted operations are those that PyTorch counts while a model runs."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from yoyak.models import flops

SOURCE, TARGET = 20, 7


def counted(model: Any, batch: dict[str, Any], *, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        loss = model(**batch, use_cache=False).loss
        if backward:
            loss.backward()
    return int(counter.get_total_flops())


def test_a_decoder_only_model_with_frozen_weights() -> None:
    """Eager attention computes all pairs of tokens, of which the causal mask leaves about a half."""
    config = LlamaConfig(
        vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    length = SOURCE + TARGET
    ids = torch.randint(0, 90, (1, length))
    masked_pairs = length**2 - length * (length + 1) / 2
    masked = 4 * config.num_hidden_layers * config.hidden_size * masked_pairs
    rest_of_head = 2 * config.vocab_size * config.hidden_size * SOURCE  # this model writes logits for the prompt too
    reading = flops.causal_lm_reading(config, [(SOURCE, TARGET)])
    found = counted(model, {"input_ids": ids, "labels": ids}, backward=False)
    assert found == pytest.approx(reading.model + masked + rest_of_head)
    training = flops.causal_lm_training(config, [(SOURCE, TARGET)], checkpointing=True)
    found = counted(model, {"input_ids": ids, "labels": ids}, backward=True)
    assert found == pytest.approx(training.model + 3 * masked + 2 * rest_of_head)
    assert training.recomputed == reading.model and training.tokens == length


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_encoder_decoder_whose_weights_are_trained(kind: str) -> None:
    if kind == "bart":
        sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 40}
        heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
        config: Any = BartConfig(vocab_size=90, **sizes, **heads)
        model: Any = BartForConditionalGeneration._from_config(config, attn_implementation="eager")
    else:
        config = T5Config(
            vocab_size=90,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_decoder_layers=1,
            num_heads=4,
            decoder_start_token_id=0,
        )
        model = T5ForConditionalGeneration(config)
    batch = {"input_ids": torch.randint(3, 90, (1, SOURCE)), "labels": torch.randint(3, 90, (1, TARGET))}
    masked = 4 * 32 * (TARGET**2 - TARGET * (TARGET + 1) / 2)  # one decoder layer
    reading = flops.encoder_decoder_reading(config, [(SOURCE, TARGET)])
    assert counted(model, batch, backward=False) == pytest.approx(reading.model + masked)
    training = flops.encoder_decoder_training(config, [(SOURCE, TARGET)])
    assert counted(model, batch, backward=True) == pytest.approx(training.model + 3 * masked)


def test_rows_add_up() -> None:
    config = LlamaConfig(vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
    one, two = (flops.causal_lm_training(config, rows) for rows in ([(5, 3)], [(5, 3), (5, 3)]))
    assert (two.model, two.tokens, two.recomputed) == (2 * one.model, 16, 0)
