"""Floating-point operations of training and of reading, from a model's config. A product and its sum are two operations.

A weight costs 2 operations for each token forward, 2 for the gradient of its input, and 2 more for its own gradient if it is
trained (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). Attention costs 4 x width for each pair of tokens that look at each
other, and twice that backward (Chowdhery et al. 2022, arXiv:2204.02311, appendix B). What gradient checkpointing computes again
is not work of the model, so that it is counted separately. Embeddings, norms and LoRA matrices are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig

from yoyak.models.memory_estimate import LayerSizes, layer_sizes


@dataclass(frozen=True)
class Work:
    """Operations, and the tokens that they read and wrote.

    Attributes:
        model: operations of the model, which its utilisation counts.
        recomputed: what gradient checkpointing computes again.
        tokens: source and target tokens.
    """

    model: float
    recomputed: float
    tokens: int


@dataclass(frozen=True)
class _Forward:
    """Operations of one pass forward, by what they cost backward."""

    linear: float  # in products with weights
    attention: float  # in products of two activations

    def training(self, tokens: int, *, trained: bool, checkpointing: bool) -> Work:
        backward = self.linear * (2 if trained else 1) + 2 * self.attention
        forward = self.linear + self.attention
        return Work(forward + backward, forward if checkpointing else 0.0, tokens)


def causal_lm_training(
    config: PreTrainedConfig, rows: Iterable[tuple[int, int]], *, checkpointing: bool = False, sizes: LayerSizes | None = None
) -> Work:
    """Training of a LoRA on frozen weights. Logits are computed at the targets only.

    Args:
        config: the model's config.
        rows: (prompt tokens, target tokens) of each row.
        checkpointing: `training.gradient_checkpointing`.
        sizes: the result of `layer_sizes(config)`, if the caller has it already.
    """
    rows = list(rows)
    forward = _causal_lm(config, rows, sizes)
    return forward.training(_tokens(rows), trained=False, checkpointing=checkpointing)


def causal_lm_reading(config: PreTrainedConfig, rows: Iterable[tuple[int, int]], *, sizes: LayerSizes | None = None) -> Work:
    """One pass forward, as for prompts before the first token is written."""
    rows = list(rows)
    forward = _causal_lm(config, rows, sizes)
    return Work(forward.linear + forward.attention, 0.0, _tokens(rows))


def encoder_decoder_training(config: PreTrainedConfig, rows: Iterable[tuple[int, int]], *, checkpointing: bool = False) -> Work:
    """Training of all weights of a BART or T5.

    Args:
        config: the model's config.
        rows: (source tokens, target tokens) of each row.
        checkpointing: `training.gradient_checkpointing`.
    """
    rows = list(rows)
    return _encoder_decoder(config, rows).training(_tokens(rows), trained=True, checkpointing=checkpointing)


def encoder_decoder_reading(config: PreTrainedConfig, rows: Iterable[tuple[int, int]]) -> Work:
    """One pass forward."""
    rows = list(rows)
    forward = _encoder_decoder(config, rows)
    return Work(forward.linear + forward.attention, 0.0, _tokens(rows))


def _tokens(rows: Iterable[tuple[int, int]]) -> int:
    return sum(source + target for source, target in rows)


def _causal_lm(config: PreTrainedConfig, rows: Iterable[tuple[int, int]], sizes: LayerSizes | None) -> _Forward:
    weights = sum(inputs * outputs for inputs, outputs in (sizes or layer_sizes(config)).linears)
    width = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    linear = pairs = 0.0
    for prompt, target in rows:
        length = prompt + target
        linear += 2 * weights * length + 2 * config.vocab_size * config.hidden_size * target
        pairs += length * (length + 1) / 2
    return _Forward(linear, 4 * config.num_hidden_layers * width * pairs)


def _encoder_decoder(config: PreTrainedConfig, rows: Iterable[tuple[int, int]]) -> _Forward:
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    source_weights = target_weights = 0
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        keys_of_source = ("encoder_attn" in name or "EncDecAttention" in name) and name.rpartition(".")[2] in (
            *("k_proj", "v_proj"),
            *("k", "v"),
        )
        if (".decoder." in f".{name}" and not keys_of_source) or module is model.get_output_embeddings():
            target_weights += module.in_features * module.out_features
        else:
            source_weights += module.in_features * module.out_features
    encoder_layers = getattr(config, "encoder_layers", None) or config.num_layers
    decoder_layers = getattr(config, "decoder_layers", None) or config.num_decoder_layers
    width = config.num_heads * config.d_kv if hasattr(config, "d_kv") else config.d_model
    linear = attention = 0.0
    for source, target in rows:
        linear += 2 * (source_weights * source + target_weights * target)
        pairs = encoder_layers * source**2 + decoder_layers * (target * (target + 1) / 2 + source * target)
        attention += 4 * width * pairs
    return _Forward(linear, attention)
