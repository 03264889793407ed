"""The backend `lean`: the texts of `model.generate` by a loop of our own, without its copies, on a CPU.

It exists for the settings that CTranslate2 counts otherwise, such as `repetition_penalty`. `transformers` is the plain path:
tests/inference/test_lean.py compares both.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BartForConditionalGeneration, MBartForConditionalGeneration

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.base import Backend
from yoyak.inference.backends.transformers import generation_config
from yoyak.inference.blocked_scripts import BlockedTokens
from yoyak.inference.lean.bart_steps import BartSteps
from yoyak.inference.lean.beam_search import BeamSearch, BeamSettings
from yoyak.inference.lean.one_by_one import Sampling, write_one_by_one
from yoyak.inference.lean.scores import TokenRules
from yoyak.inference.outputs import Output, outputs_from_tokens
from yoyak.inference.scoring import Scored, log_probabilities, scored_rows
from yoyak.models.families.base import LoadedModel

MODELS = (BartForConditionalGeneration, MBartForConditionalGeneration)


def model_reasons(model: Any) -> list[str]:
    """Return every reason why the loop cannot write with this model."""
    if not isinstance(model, torch.nn.Module):
        return ["it is not a transformers model"]
    if type(model) not in MODELS:
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        return [f"lean does not know the layers of {kind}"]
    device: Any = model.device
    reasons = {
        "a GPU is there": device.type != "cpu",
        f"lean computes in float32, and the model has {model.dtype}": model.dtype != torch.float32,
        "the probabilities of several models are averaged": hasattr(model, "averaged_models"),
    }
    return [reason for reason, holds in reasons.items() if holds]


def setting_reasons(settings: Generation) -> list[str]:
    """Return every reason why the loop does not decode by these settings."""
    reasons = {
        "generation.do_sample with num_beams": settings.do_sample and settings.num_beams > 1,
        "consensus.source dropout": settings.consensus.candidates > 1 and settings.consensus.source == "dropout",
    }
    names = [name for name, holds in reasons.items() if holds]
    return [f"lean does not support {', '.join(names)}"] if names else []


class LeanWriter:
    """A model and its decoding settings, ready to write."""

    def __init__(self, steps: BartSteps, tokenizer: Any, settings: Generation) -> None:
        self.steps, self.tokenizer, self.settings = steps, tokenizer, settings
        model = steps.model.eval()
        config = generation_config(settings, self.tokenizer, model)
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        self.end_ids = set(ends)
        self.start_id, self.pad_id = config.decoder_start_token_id, config.pad_token_id
        self.rules = TokenRules(
            repetition_penalty=settings.repetition_penalty,
            no_repeat_ngram_size=settings.no_repeat_ngram_size,
            min_new_tokens=settings.min_new_tokens,
            end_ids=torch.tensor(ends),
            forced_first=config.forced_bos_token_id,
        )
        self.sampling = Sampling(settings.temperature, settings.top_k, settings.top_p) if settings.do_sample else None
        self.blocked = BlockedTokens(self.tokenizer, settings.blocked_scripts) if settings.blocked_scripts else None

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        return outputs_from_tokens(self.tokenizer, self.generate(encoded, dialogues, seed=seed), end_ids=self.end_ids)

    def write_beams(
        self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int
    ) -> list[list[tuple[Output, float]]]:
        """The `count` best results of the beam search for each row, each with the logarithm of its probability."""
        texts, scores = self._search(encoded, dialogues)
        rows = [self._cut(row) for row in texts[:, :count].flatten(0, 1).tolist()]
        outputs = outputs_from_tokens(self.tokenizer, rows, end_ids=self.end_ids)
        # The score is divided by the number of tokens to the power of length_penalty.
        penalty = self.settings.length_penalty
        values = scores[:, :count].flatten().tolist()
        logs = [score * len(row) ** penalty for row, score in zip(rows, values, strict=True)]
        pairs = list(zip(outputs, logs, strict=True))
        return [pairs[start : start + count] for start in range(0, len(pairs), count)]

    def write_scored(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int) -> list[list[Scored]]:
        """As `write`, or with `count` above 1 as `write_beams`, each text with its probability by the model."""
        if count > 1:
            texts = [self._cut(row) for row in self._search(encoded, dialogues)[0][:, :count].flatten(0, 1).tolist()]
        else:
            texts = self.generate(encoded, dialogues, seed=seed)
        outputs = outputs_from_tokens(self.tokenizer, texts, end_ids=self.end_ids)
        sources = [row for row in encoded for _ in range(count)]
        logs = log_probabilities(self.steps.model, self.tokenizer, sources, texts, start_id=self.start_id)
        return scored_rows(outputs, texts, logs, count=count)

    def generate(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[list[int]]:
        """Return the new token ids of each row, up to the token that ends the text."""
        if self.settings.num_beams > 1:
            tokens = self._search(encoded, dialogues)[0][:, 0]
        else:
            torch.manual_seed(seed)
            with torch.inference_mode():
                tokens = write_one_by_one(
                    self.steps,
                    self._read(encoded),
                    self.rules,
                    max_new_tokens=self.settings.max_new_tokens,
                    start_id=self.start_id,
                    pad_id=self.pad_id,
                    sampling=self.sampling,
                    blocked=self._blocked(dialogues),
                )
        return [self._cut(row) for row in tokens.tolist()]

    def _search(self, encoded: Sequence[Any], dialogues: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        names = ("num_beams", "max_new_tokens", "length_penalty", "early_stopping")
        settings = BeamSettings(**{name: getattr(self.settings, name) for name in names})
        search = BeamSearch(self.steps, self.rules, settings, start_id=self.start_id, pad_id=self.pad_id)
        with torch.inference_mode():
            return search.run(self._read(encoded), self._blocked(dialogues))

    def _read(self, encoded: Sequence[Any]) -> Any:
        batch = self.tokenizer.pad({"input_ids": [list(ids) for ids in encoded]}, padding_side="right", return_tensors="pt")
        return self.steps.start(batch["input_ids"], batch["attention_mask"])

    def _blocked(self, dialogues: Sequence[str]) -> torch.Tensor | None:
        """The tokens that each dialogue may not write, (dialogues, columns)."""
        if not self.blocked:
            return None
        size = len(self.steps.output_bias)
        mask: torch.Tensor = self.blocked.processor(dialogues, vocabulary_size=size, device=torch.device("cpu")).mask
        return mask

    def _cut(self, row: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(row) if token in self.end_ids), len(row) - 1)
        return row[: end + 1]


class LeanBackend(Backend):
    name = "lean"
    is_exact = True

    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        return "; ".join([*model_reasons(loaded.model), *setting_reasons(settings)]) or None

    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None, processes: int = 1) -> LeanWriter:
        if "lean" not in loaded.shared:
            loaded.shared["lean"] = BartSteps(loaded.model)
        return LeanWriter(loaded.shared["lean"], loaded.tokenizer, settings)


BACKEND = LeanBackend()
