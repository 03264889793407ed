"""Training on rewards: a model writes summaries of the rows of a batch and learns from their ROUGE.

- `self_critical`: a drawn summary with a higher ROUGE than the greedy one becomes more probable, another one less probable.
  Source: Rennie et al. 2017, arXiv:1612.00563, equation 8.
- `minimum_risk`: the expected loss of ROUGE over the drawn summaries and the reference becomes smaller.
  Source: Shen et al. 2016, arXiv:1512.02433, equations 10 and 11.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.objective_section import Objective
from yoyak.data.collation import IGNORED_LABEL, Batch, Collator
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.outputs import decode_tokens
from yoyak.training.objectives import predict_targets

SHARPNESS = 0.005  # exponent of the probabilities among the drawn summaries; Shen et al. 2016, section 4.2

Ids = list[int]


class RewardLoss:
    """The loss of rewards for a batch, a sum over its rows in which each weighs as much as its targets."""

    def __init__(
        self,
        settings: Objective,
        tokenizer: PreTrainedTokenizerBase,
        collate: Collator,
        *,
        is_encoder_decoder: bool,
        max_target_length: int,
    ) -> None:
        """
        Args:
            settings: the section training.objective.
            tokenizer: the model's.
            collate: makes a batch from rows with input_ids and labels.
            is_encoder_decoder: whether the model has an encoder.
            max_target_length: tokens of a drawn summary at most.
        """
        self.settings, self.tokenizer, self.collate = settings, tokenizer, collate
        self.is_encoder_decoder, self.max_target_length = is_encoder_decoder, max_target_length
        self.morphemes = Morphemes()

    def __call__(self, model: PreTrainedModel, batch: Batch, inner: PreTrainedModel) -> torch.Tensor:
        """Draw summaries, score them, and return the loss.

        Args:
            model: what reads the batch; it may be a wrapper of `inner` that joins the gradients of several processes.
            batch: as a collator makes it.
            inner: the model itself.
        """
        sources, references = source_and_target_ids(batch, is_encoder_decoder=self.is_encoder_decoder)
        samples = self.settings.reward_samples
        drawn = self.write(inner, sources, samples=samples)
        lengths = torch.tensor([len(ids) for ids in references], device=batch["labels"].device)
        if self.settings.name == "self_critical":
            greedy = self.write(inner, sources, samples=0)
            baseline = self.rewards(greedy, references)
            rewards = self.rewards(drawn, [ids for ids in references for _ in range(samples)]).view(-1, samples)
            likelihoods = self._log_likelihoods(model, sources, drawn, samples).view(-1, samples)
            advantages = (rewards - baseline[:, None]).to(likelihoods.device)
            return -(advantages * likelihoods).sum() / samples
        candidates = [[*drawn[row * samples :][:samples], ids] for row, ids in enumerate(references)]
        flat = [ids for group in candidates for ids in group]
        rewards = self.rewards(flat, [ids for ids in references for _ in range(samples + 1)]).view(-1, samples + 1)
        likelihoods = self._log_likelihoods(model, sources, flat, samples + 1).view(-1, samples + 1)
        repeated = [[ids in group[:place] for place, ids in enumerate(group)] for group in candidates]
        scaled = (SHARPNESS * likelihoods).masked_fill(torch.tensor(repeated, device=likelihoods.device), -torch.inf)
        risks = (scaled.softmax(1) * (1 - rewards.to(likelihoods.device))).sum(1)
        return (risks * lengths).sum()

    def write(self, model: PreTrainedModel, sources: Sequence[Ids], *, samples: int) -> list[Ids]:
        """Write summaries without dropout, each with the end-of-text token unless it reached the limit of tokens.

        Args:
            model: which is in training mode afterwards.
            sources: token ids of each source.
            samples: how many are drawn for each source; 0 for a greedy one.

        Returns:
            The token ids, the summaries of a source one after another.
        """
        padded = self.tokenizer.pad(
            {"input_ids": list(sources)},
            padding_side="right" if self.is_encoder_decoder else "left",
            return_tensors="pt",
        ).to(model.device)
        known = model.generation_config
        names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
        config = GenerationConfig(
            max_new_tokens=self.max_target_length,
            do_sample=samples > 0,
            top_k=0,
            num_return_sequences=max(samples, 1),
            **{name: getattr(known, name, None) for name in names},
        )
        model.eval()
        try:
            with torch.no_grad():
                written = model.generate(
                    input_ids=padded["input_ids"],
                    attention_mask=padded["attention_mask"],
                    generation_config=config,
                    use_cache=True,
                )
        finally:
            model.train()
        start = 1 if self.is_encoder_decoder else padded["input_ids"].shape[1]
        return [_until_end(ids, _end_ids(known)) for ids in written[:, start:].tolist()]

    def rewards(self, summaries: Sequence[Ids], references: Sequence[Ids]) -> torch.Tensor:
        """The mean of the F1 of ROUGE-1, -2 and -L on morphemes, from 0 to 1, of each summary against its reference."""
        scores = rouge.score_rows(
            predictions=decode_tokens(self.tokenizer, summaries),
            references=[[text] for text in decode_tokens(self.tokenizer, references)],
            tokenizer=self.morphemes,
        )
        return torch.tensor(scores.mean(1) / 100, dtype=torch.float32)

    def _log_likelihoods(
        self, model: PreTrainedModel, sources: Sequence[Ids], summaries: Sequence[Ids], repeats: int
    ) -> torch.Tensor:
        """The log-probability of each summary, (summaries,). Each source has `repeats` of them."""
        batch = self.collate([self._row(sources[index // repeats], summary) for index, summary in enumerate(summaries)])
        device = next(model.parameters()).device
        batch = {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}
        predictions = predict_targets(model, batch, shifts=not self.is_encoder_decoder)
        logs = predictions.logits.log_softmax(-1).gather(1, predictions.labels[:, None])[:, 0]
        # The numbers of the rows rise in the order of the rows, but they need not be 0, 1, 2, …
        _, rows = torch.unique(predictions.rows, return_inverse=True)
        return torch.zeros(len(summaries), device=logs.device).index_add(0, rows, logs)

    def _row(self, source: Ids, summary: Ids) -> dict[str, Ids]:
        if self.is_encoder_decoder:
            return {"input_ids": source, "labels": summary}
        return {"input_ids": source + summary, "labels": [IGNORED_LABEL] * len(source) + summary}


def source_and_target_ids(batch: Batch, *, is_encoder_decoder: bool) -> tuple[list[Ids], list[Ids]]:
    """What the model reads and shall write for each row of a batch, without padding.

    Args:
        batch: of one of the collators in `data.collation`.
        is_encoder_decoder: whether the batch is for a model with an encoder.
    """
    ids, labels = batch["input_ids"], batch["labels"]
    if "attention_mask" in batch:
        rows = [row[mask.bool()].tolist() for row, mask in zip(ids, batch["attention_mask"], strict=True)]
        targets = [row[row != IGNORED_LABEL].tolist() for row in labels]
    else:  # a padding-free batch: each row begins at position 0, and its labels with a position without a label
        bounds = [*(batch["position_ids"][0] == 0).nonzero()[:, 0].tolist(), ids.shape[1]]
        rows = [ids[0, start:end].tolist() for start, end in pairwise(bounds)]
        gaps = (labels[0] == IGNORED_LABEL).cumsum(0)
        targets = [labels[0][(gaps == row + 1) & (labels[0] != IGNORED_LABEL)].tolist() for row in range(len(rows))]
    if is_encoder_decoder:
        return rows, targets
    return [row[: len(row) - len(target)] for row, target in zip(rows, targets, strict=True)], targets


def _end_ids(config: GenerationConfig) -> set[int]:
    ids = config.eos_token_id
    return {ids} if isinstance(ids, int) else set(ids or ())


def _until_end(ids: Ids, end_ids: set[int]) -> Ids:
    """The ids up to and with the first that ends the text."""
    end = next((place for place, token in enumerate(ids) if token in end_ids), len(ids) - 1)
    return ids[: end + 1]
