"""The backend `transformers`: `model.generate`, for every model and every setting."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.base import Backend
from yoyak.inference.blocked_scripts import BlockedTokens
from yoyak.inference.outputs import Output, outputs_from_tokens
from yoyak.inference.scoring import Scored, log_probabilities, scored_rows
from yoyak.models.families.base import LoadedModel


def decoding_arguments(settings: Generation) -> dict[str, Any]:
    """The arguments of GenerationConfig. Those of sampling and beam search are set only if they have an effect."""
    sampling = {key: getattr(settings, key) for key in ("temperature", "top_p", "top_k")} if settings.do_sample else {}
    beams = (
        {"length_penalty": settings.length_penalty, "early_stopping": settings.early_stopping} if settings.num_beams > 1 else {}
    )
    return {
        "max_length": None,
        "max_new_tokens": settings.max_new_tokens,
        "min_new_tokens": settings.min_new_tokens or None,
        "num_beams": settings.num_beams,
        "do_sample": settings.do_sample,
        "repetition_penalty": settings.repetition_penalty,
        "no_repeat_ngram_size": settings.no_repeat_ngram_size,
        **beams,
        **sampling,
    }


def generation_config(settings: Generation, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> GenerationConfig:
    """Make the GenerationConfig of a model."""
    ends = model.generation_config.eos_token_id  # a chat model may have more ends of text than its tokenizer
    return GenerationConfig(
        **decoding_arguments(settings),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends if isinstance(ends, list) else tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        forced_bos_token_id=getattr(model.generation_config, "forced_bos_token_id", None),  # mBART's language
    )


class TransformersWriter:
    """A transformers model with its generation config set."""

    def __init__(self, loaded: LoadedModel, settings: Generation) -> None:
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        # It is set on the model. If it were an argument of generate(), unset keys would come from the checkpoint's own config.
        self.model.generation_config = generation_config(settings, self.tokenizer, self.model)
        self.blocked = BlockedTokens(self.tokenizer, settings.blocked_scripts) if settings.blocked_scripts else None
        # With dropout, each candidate of a consensus is written by a part of the model.
        self.model.train(settings.consensus.is_on and settings.consensus.source == "dropout")
        ends = self.model.generation_config.eos_token_id
        self.end_ids = set(ends if isinstance(ends, list) else [ends])

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        return outputs_from_tokens(self.tokenizer, self.generate(encoded, dialogues, seed=seed), end_ids=self.end_ids)

    def write_beams(
        self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int
    ) -> list[list[tuple[Output, float]]]:
        """The `count` best results of the beam search for each row, each with the logarithm of its probability."""
        tokens, scores = self._generate(encoded, dialogues, seed=seed, count=count)
        outputs = outputs_from_tokens(self.tokenizer, tokens, end_ids=self.end_ids)
        # transformers divides the logarithm by the number of tokens to the power of length_penalty.
        penalty = self.model.generation_config.length_penalty
        logs = [score * self._count(row) ** penalty for row, score in zip(tokens, scores, strict=True)]
        pairs = list(zip(outputs, logs, strict=True))
        return [pairs[start : start + count] for start in range(0, len(pairs), count)]

    def write_scored(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int) -> list[list[Scored]]:
        """As `write`, or with `count` above 1 as `write_beams`, each text with its probability by the model."""
        tokens = self._generate(encoded, dialogues, seed=seed, count=count)[0]
        texts = [row[: self._count(row)] for row in tokens]
        outputs = outputs_from_tokens(self.tokenizer, texts, end_ids=self.end_ids)
        sources = [row for row in encoded for _ in range(count)]
        start_id = self.model.generation_config.decoder_start_token_id
        logs = log_probabilities(self.model, self.tokenizer, sources, texts, start_id=start_id)
        return scored_rows(outputs, texts, logs, count=count)

    def _count(self, tokens: Sequence[int]) -> int:
        """Generated tokens, with the end of the text but without the padding after it."""
        end = next((place for place, token in enumerate(tokens) if token in self.end_ids), len(tokens) - 1)
        return end + 1

    def generate(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[list[int]]:
        """Return the new token ids of each row, with padding after its end."""
        return self._generate(encoded, dialogues, seed=seed)[0]

    def _generate(
        self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int = 1
    ) -> tuple[list[list[int]], list[float]]:
        """The new token ids, and with `count` above 1 the score, of the `count` best results of each row."""
        torch.manual_seed(seed)
        decoder_only = not self.model.config.is_encoder_decoder
        # A decoder-only model continues where its prompt ends, so the padding comes before the prompt.
        side = "left" if decoder_only else "right"
        rows = {"input_ids": [list(ids) for ids in encoded]}
        batch = self.tokenizer.pad(rows, padding_side=side, return_tensors="pt").to(self.model.device)
        processors = LogitsProcessorList()
        if self.blocked:
            size = self.model.config.get_text_config().vocab_size
            processors.append(self.blocked.processor(dialogues, vocabulary_size=size, device=self.model.device))
        with torch.inference_mode():
            several = {"num_return_sequences": count, "output_scores": True, "return_dict_in_generate": True}
            generated = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                logits_processor=processors,
                **(several if count > 1 else {}),
            )
        start = batch["input_ids"].shape[1] if decoder_only else 1  # position of the first new token
        sequences, scores = (generated.sequences, generated.sequences_scores.tolist()) if count > 1 else (generated, [])
        return sequences[:, start:].tolist(), scores


class TransformersBackend(Backend):
    name = "transformers"
    is_exact = True

    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        if not hasattr(loaded.model, "generate"):
            return f"the family {loaded.family} has no transformers model"
        if settings.consensus.uses_probability and hasattr(loaded.model, "averaged_models"):
            return (
                "generation.consensus.weights: models whose probabilities are averaged give no probability of a text; set auto"
            )
        return None

    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None, processes: int = 1) -> TransformersWriter:
        return TransformersWriter(loaded, settings)


BACKEND = TransformersBackend()
