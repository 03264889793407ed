"""The steps of BART and mBART: the logits of the next token, for many beams of many dialogues at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from yoyak.inference.lean.cache import BeamCache

CHUNK = 64  # columns of the logits of which the maximum is taken first (`scores.best_tokens`)

MODEL_TYPES = {"bart", "mbart"}


@dataclass
class BatchState:
    """What the decoder has read and written of the dialogues of a batch."""

    memory: list[tuple[Tensor, Tensor]]  # keys and values of the dialogue for each layer: (dialogues, heads, tokens, head size)
    padding: Tensor  # (dialogues, 1, 1, tokens): 0, or -inf for padding
    cache: BeamCache
    position: int = 0  # of the next token

    def keep(self, dialogues: Tensor) -> None:
        """Keep only these dialogues (their indices), and of their caches what is still needed."""
        self.cache.keep(dialogues)
        if len(dialogues) < len(self.padding):
            self.padding = self.padding[dialogues]
            longest = int((self.padding == 0).sum(-1).max())
            self.padding = self.padding[..., :longest]
            self.memory = [(keys[dialogues, :, :longest], values[dialogues, :, :longest]) for keys, values in self.memory]


class DecoderLayer:
    """One layer of the decoder, for one token of each beam."""

    def __init__(self, layer: Any, config: Any) -> None:
        own, cross = layer.self_attn, layer.encoder_attn
        self.heads = config.decoder_attention_heads
        self.norm_first = config.model_type == "mbart"
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[config.activation_function]
        self.own_projections = _joined(own.q_proj, own.k_proj, own.v_proj)
        self.cross_projections = _joined(cross.k_proj, cross.v_proj)
        self.layer = layer

    def read(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of encoded dialogues, (dialogues, tokens, width)."""
        keys, values = functional.linear(encoded, *self.cross_projections).chunk(2, dim=-1)
        return self._split(keys, len(encoded)).contiguous(), self._split(values, len(encoded)).contiguous()

    def __call__(self, hidden: Tensor, number: int, state: BatchState) -> Tensor:
        """Return the layer's output for `hidden`, (dialogues x beams, width)."""
        layer = self.layer
        hidden = self._add(hidden, layer.self_attn_layer_norm, lambda x: self._look_back(x, number, state))
        hidden = self._add(hidden, layer.encoder_attn_layer_norm, lambda x: self._look_at_dialogue(x, number, state))
        return self._add(hidden, layer.final_layer_norm, lambda x: layer.fc2(self.activation(layer.fc1(x))))

    def _add(self, hidden: Tensor, norm: Any, part: Callable[[Tensor], Tensor]) -> Tensor:
        """BART normalizes the sum, mBART the input of the part."""
        return hidden + part(norm(hidden)) if self.norm_first else norm(hidden + part(hidden))

    def _look_back(self, hidden: Tensor, number: int, state: BatchState) -> Tensor:
        dialogues = len(state.padding)
        parts = functional.linear(hidden, *self.own_projections).chunk(3, dim=-1)
        queries, new_keys, new_values = (self._split(part, dialogues) for part in parts)
        keys, values = state.cache.write(number, new_keys, new_values)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=state.cache.bias[:, None])
        out: Tensor = self.layer.self_attn.out_proj(_merged(found))
        return out

    def _look_at_dialogue(self, hidden: Tensor, number: int, state: BatchState) -> Tensor:
        queries = self._split(self.layer.encoder_attn.q_proj(hidden), len(state.padding))
        keys, values = state.memory[number]
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=state.padding)
        out: Tensor = self.layer.encoder_attn.out_proj(_merged(found))
        return out

    def _split(self, rows: Tensor, dialogues: int) -> Tensor:
        """(dialogues, tokens, width) or (dialogues x tokens, width) as (dialogues, heads, tokens, head size)."""
        return rows.reshape(dialogues, -1, self.heads, rows.shape[-1] // self.heads).transpose(1, 2)


class BartSteps:
    """The decoder of a model, with its weights arranged for steps of one token."""

    def __init__(self, model: Any) -> None:
        config = model.config
        self.model, self.decoder = model, model.model.decoder
        self.layers = [DecoderLayer(layer, config) for layer in self.decoder.layers]
        self.vocabulary = model.lm_head.weight.shape[0]
        rest = -self.vocabulary % CHUNK  # columns that fill the last chunk have a logit of -inf: they are never chosen
        self.output_weight = functional.pad(model.lm_head.weight.detach(), (0, 0, 0, rest))
        self.output_bias = functional.pad(model.final_logits_bias[0].detach(), (0, rest), value=-math.inf)

    def start(self, rows: Tensor, mask: Tensor) -> BatchState:
        """Read the dialogues of a batch.

        Args:
            rows: (dialogues, tokens); token ids with padding.
            mask: the same shape; 0 for padding, which comes last.
        """
        config = self.model.config
        encoded = self.model.get_encoder()(input_ids=rows, attention_mask=mask).last_hidden_state
        heads = config.decoder_attention_heads
        return BatchState(
            memory=[layer.read(encoded) for layer in self.layers],
            padding=torch.zeros(mask.shape).masked_fill_(mask == 0, -math.inf)[:, None, None],
            cache=BeamCache(layers=len(self.layers), dialogues=len(rows), heads=heads, head_size=config.d_model // heads),
        )

    def step(self, tokens: Tensor, state: BatchState) -> Tensor:
        """Return the logits of the next token.

        Args:
            tokens: (dialogues, beams); the last token of each beam.
            state: of the same dialogues. It gets the keys and values of these tokens.

        Returns:
            (dialogues x beams, columns). Columns beyond the vocabulary are -inf.
        """
        decoder = self.decoder
        state.cache.open_slots(tokens.shape[1])
        position = decoder.embed_positions.weight[state.position + decoder.embed_positions.offset]
        hidden = decoder.layernorm_embedding(decoder.embed_tokens(tokens.reshape(-1)) + position)
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, number, state)
        if hasattr(decoder, "layer_norm"):  # mBART
            hidden = decoder.layer_norm(hidden)
        state.position += 1
        return functional.linear(hidden, self.output_weight, self.output_bias)


def _joined(*linears: Any) -> tuple[Tensor, Tensor]:
    """The weights and biases of several linear layers as those of one."""
    return torch.cat([linear.weight.detach() for linear in linears]), torch.cat([linear.bias.detach() for linear in linears])


def _merged(found: Tensor) -> Tensor:
    """(dialogues, heads, beams, head size) as (dialogues x beams, width)."""
    dialogues, _, beams, _ = found.shape
    return found.transpose(1, 2).reshape(dialogues * beams, -1)
