"""How probable a model finds texts that are written already: all their tokens at once (teacher forcing)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from yoyak.inference.outputs import Output

LOGITS_AT_ONCE = 2**26  # numbers; 256 MB in float32


@dataclass(frozen=True)
class Scored:
    """A text with its probability by the model, before penalties and without a temperature.

    Attributes:
        output: the text.
        log_probability: the sum of the logarithms of its tokens' probabilities.
        tokens: their number, with the one that ends the text.
    """

    output: Output
    log_probability: float
    tokens: int


def scored_rows(
    outputs: Sequence[Output], texts: Sequence[Sequence[int]], logs: Sequence[float], *, count: int
) -> list[list[Scored]]:
    """The texts of each dialogue with their probability. There are `count` texts of a dialogue, one after another."""
    scored = [Scored(output, log, len(text)) for output, text, log in zip(outputs, texts, logs, strict=True)]
    return [scored[start : start + count] for start in range(0, len(scored), count)]


def rows_at_once(longest: int, vocabulary: int) -> int:
    """How many rows of logits fit into LOGITS_AT_ONCE; at least one."""
    return max(1, LOGITS_AT_ONCE // (longest * vocabulary))


def log_probabilities(
    model: Any, tokenizer: Any, sources: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], *, start_id: int | None
) -> list[float]:
    """The logarithm of the probability of each text, without dropout.

    Args:
        model: of transformers.
        tokenizer: of the model; it pads.
        sources: token ids of what the model reads for each text.
        texts: token ids of each text, with the one that ends it if there is one, without padding.
        start_id: the first token of an encoder-decoder's decoder.
    """
    prompt = 0 if model.config.is_encoder_decoder else max(map(len, sources))
    size = rows_at_once(prompt + max(map(len, texts)), model.config.get_text_config().vocab_size)
    had_dropout = model.training
    model.eval()
    logs: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(texts), size):
            rows, written = sources[start : start + size], texts[start : start + size]
            if model.config.is_encoder_decoder:
                logits, begins = _decoder_logits(model, tokenizer, rows, written, start_id), [0] * len(rows)
            else:
                logits, begins = _logits(model, tokenizer, rows, written), [len(row) - 1 for row in rows]
            logs += [_sum(row[begin:], text) for row, begin, text in zip(logits, begins, written, strict=True)]
    model.train(had_dropout)
    return logs


def _sum(logits: Tensor, text: Sequence[int]) -> float:
    """The logarithm of the probability of a text, from the logits of its tokens (at least as many rows, vocabulary)."""
    tokens = torch.tensor([list(text)], device=logits.device).T
    return float(logits[: len(text)].float().log_softmax(dim=-1).gather(1, tokens).double().sum())


def _decoder_logits(
    model: Any, tokenizer: Any, sources: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], start_id: int | None
) -> Tensor:
    batch = _padded(tokenizer, sources, model.device)
    before = _padded(tokenizer, [[start_id, *text[:-1]] for text in texts], model.device)
    logits: Tensor = model(**batch, decoder_input_ids=before["input_ids"], use_cache=False).logits
    return logits


def _logits(model: Any, tokenizer: Any, sources: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> Tensor:
    rows = [[*source, *text[:-1]] for source, text in zip(sources, texts, strict=True)]
    logits: Tensor = model(**_padded(tokenizer, rows, model.device), use_cache=False).logits
    return logits


def _padded(tokenizer: Any, rows: Sequence[Sequence[Any]], device: torch.device) -> dict[str, Tensor]:
    batch = tokenizer.pad({"input_ids": [list(row) for row in rows]}, padding_side="right", return_tensors="pt").to(device)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}
