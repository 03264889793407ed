"""Training objectives other than plain cross-entropy: R-Drop, R3F, weights for tags, unlikelihood, and rewards.

All losses are sums over the targets of a batch, divided by the number of targets in the whole optimizer step. So they add up to
the same gradient whether the step reads its rows in one batch or in several parts, as `trainer.smoothed_loss` does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy, kl_div
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.objective_section import Objective
from yoyak.data.collation import IGNORED_LABEL, Batch
from yoyak.data.dialogue import SPEAKER_TAG
from yoyak.system.errors import YoyakError

# The loss of rewards, a sum over rows, from: what reads a batch (the model or a wrapper of it), the batch, the model itself.
RewardFunction = Callable[[PreTrainedModel, Batch, PreTrainedModel], torch.Tensor]


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for the targets of a batch, one after another, without padding.

    Attributes:
        logits: (targets, vocabulary), float32.
        labels: (targets,), the token that is right.
        rows: (targets,), a number for each row of the data. Targets of the same row have the same number.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor


def predict_targets(model: PreTrainedModel, batch: Batch, *, shifts: bool) -> Predictions:
    """Read a batch with the model.

    Args:
        model: an encoder-decoder or a decoder-only model, or a wrapper of it.
        batch: of one of the collators (`data.collation`), or a part of it (`batch_splitting`), with labels.
        shifts: whether the logits of a position predict the label of the next one, as in a decoder-only model.
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits, labels = model(**inputs).logits, batch["labels"]
    rows = _row_numbers(batch)
    if shifts:
        logits, labels, rows = logits[:, :-1], labels[:, 1:], rows[:, 1:]
    is_target = labels != IGNORED_LABEL
    return Predictions(logits[is_target].float(), labels[is_target], rows[is_target])


def _row_numbers(batch: Batch) -> torch.Tensor:
    """For each position of labels a number of its row, (rows, targets).

    A padding-free batch of chats holds several rows in one; each begins with a position without a label. A packed part of an
    encoder-decoder's batch has `lengths`.
    """
    labels = batch["labels"]
    if "lengths" in batch:
        targets = torch.tensor(batch["lengths"][1], device=labels.device)
        return torch.repeat_interleave(torch.arange(len(targets), device=labels.device), targets)[None]
    # Padding stands before or after the targets of a row, so that all its targets have the same sum.
    gaps: torch.Tensor = (labels == IGNORED_LABEL).cumsum(1)
    first_of_row: torch.Tensor = torch.arange(len(labels), device=labels.device)[:, None] * (labels.shape[1] + 1)
    return gaps + first_of_row


def weighted_cross_entropy(
    predictions: Predictions, *, label_smoothing: float, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy in nats, summed over the targets.

    Args:
        predictions: of the model.
        label_smoothing: share of the target probability that is spread evenly over the vocabulary.
        weights: (vocabulary,), the factor of each token's loss; None for 1.
    """
    losses = cross_entropy(predictions.logits, predictions.labels, label_smoothing=label_smoothing, reduction="none")
    return (losses if weights is None else losses * weights.to(losses.device)[predictions.labels]).sum()


def unlikelihood(predictions: Predictions) -> torch.Tensor:
    """The sum over the targets of -log(1 - p(c)) of each token c that stands earlier in the same summary.

    The target itself is no such token. Source: Welleck et al. 2019, arXiv:1908.04319, equation 4.
    """
    labels, rows = predictions.labels, predictions.rows
    place = torch.arange(len(labels), device=labels.device)
    earlier = (rows[:, None] == rows[None]) & (place[None] < place[:, None]) & (labels[None] != labels[:, None])
    repeated = torch.zeros_like(predictions.logits, dtype=torch.bool)
    target, source = earlier.nonzero(as_tuple=True)
    repeated[target, labels[source]] = True
    probabilities = predictions.logits.softmax(-1)[repeated]
    return -torch.log1p(-probabilities.clamp(max=1 - 1e-6)).sum()


def symmetric_divergence(first: torch.Tensor, second: torch.Tensor, *, weight: float) -> torch.Tensor:
    """`weight` * (KL(p || q) + KL(q || p)) in nats, summed over the rows of two arrays of logits (targets, vocabulary)."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    return weight * (kl_div(p, q, reduction="sum", log_target=True) + kl_div(q, p, reduction="sum", log_target=True))


class ObjectiveLoss:
    """The loss of one batch under the section `training.objective`."""

    def __init__(
        self,
        settings: Objective,
        tokenizer: PreTrainedTokenizerBase,
        *,
        is_encoder_decoder: bool,
        label_smoothing: float,
        reward_loss: RewardFunction | None = None,
    ) -> None:
        """
        Args:
            settings: the section.
            tokenizer: the model's.
            is_encoder_decoder: whether the model has an encoder.
            label_smoothing: `training.label_smoothing_factor`.
            reward_loss: of the objectives that use rewards.

        Raises:
            YoyakError: if tags shall have another weight, and the tokenizer has no token that is a tag.
        """
        self.settings, self.label_smoothing, self.reward_loss = settings, label_smoothing, reward_loss
        self.is_encoder_decoder = is_encoder_decoder
        self.weights = _tag_weights(tokenizer, settings.tag_weight) if settings.tag_weight != 1 else None

    def __call__(
        self, model: PreTrainedModel, batch: Batch, *, targets: torch.Tensor | int, progress: float, inner: PreTrainedModel
    ) -> torch.Tensor:
        """The loss of a batch, a sum over its targets divided by `targets`.

        Args:
            model: what reads the batch; it may be a wrapper of `inner` that joins the gradients of several processes.
            batch: as in `predict_targets`.
            targets: number of targets in all batches of the optimizer step.
            progress: share of the training's steps that are done.
            inner: the model itself.
        """
        settings = self.settings
        predictions = self._predict(model, batch)
        loss = self._token_loss(predictions)
        if settings.name == "r_drop":
            # Half of the paper's loss, which adds two cross-entropies. So learning rate and max_grad_norm keep their meaning.
            second = self._predict(model, batch)
            difference = symmetric_divergence(predictions.logits, second.logits, weight=settings.r_drop_alpha / 4)
            loss = (loss + self._token_loss(second)) / 2 + difference
        elif settings.name == "r3f":
            noised = self._predict(model, self._add_noise(inner, batch))
            loss = loss + symmetric_divergence(predictions.logits, noised.logits, weight=settings.r3f_lambda)
        elif self.reward_loss and progress >= settings.reward_start:
            loss = torch.lerp(loss, self.reward_loss(model, batch, inner), settings.reward_weight)
        return loss / targets

    def _predict(self, model: PreTrainedModel, batch: Batch) -> Predictions:
        return predict_targets(model, batch, shifts=not self.is_encoder_decoder)

    def _token_loss(self, predictions: Predictions) -> torch.Tensor:
        loss = weighted_cross_entropy(predictions, label_smoothing=self.label_smoothing, weights=self.weights)
        return loss + self.settings.unlikelihood * unlikelihood(predictions) if self.settings.unlikelihood else loss

    def _add_noise(self, model: PreTrainedModel, batch: Batch) -> Batch:
        """The batch with embeddings in place of the source's ids, to which uniform noise is added."""
        stack = model.get_encoder() if self.is_encoder_decoder else model
        embeddings = stack.get_input_embeddings()(batch["input_ids"])
        noise = torch.empty_like(embeddings).uniform_(-self.settings.r3f_epsilon, self.settings.r3f_epsilon)
        others: Mapping[str, Any] = {name: value for name, value in batch.items() if name != "input_ids"}
        return {**others, "inputs_embeds": embeddings + noise}


def _tag_weights(tokenizer: PreTrainedTokenizerBase, weight: float) -> torch.Tensor:
    """The factor of each token, (vocabulary,): `weight` for speaker tags, 1 for other tokens."""
    weights = torch.ones(len(tokenizer))
    tags = [number for token, number in tokenizer.get_vocab().items() if SPEAKER_TAG.fullmatch(token)]
    if not tags:
        raise YoyakError(
            "training.objective.tag_weight: the tokenizer has no token that is a speaker tag; add #Person1# and so on to "
            "tokenizer.special_tokens, and set preprocess.person_tags: keep_original"
        )
    weights[tags] = weight
    return weights
