"""Each objective beside a plain implementation of its formula, with gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.helpers import load_tiny_tokenizer, padded_batch
from tests.training.test_trainer import take_gradients, trainer_of
from yoyak.config.objective_section import Objective
from yoyak.config.sections import Params
from yoyak.data.collation import collate_chats
from yoyak.system.errors import YoyakError
from yoyak.training import batch_splitting
from yoyak.training.objectives import (
    ObjectiveLoss,
    Predictions,
    predict_targets,
    symmetric_divergence,
    unlikelihood,
    weighted_cross_entropy,
)

torch.set_num_threads(1)


def settings(params: Params, **changes: Any) -> Objective:
    return params.training.objective.model_copy(update=changes)


def random_predictions(*, targets: int = 7, vocabulary: int = 5, rows: int = 2) -> Predictions:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(targets, vocabulary, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, vocabulary, (targets,), generator=generator)
    return Predictions(logits, labels, torch.arange(targets) * rows // targets)


def test_unlikelihood_is_the_formula_of_the_paper() -> None:
    predictions = random_predictions()
    expected = 0.0
    probabilities = predictions.logits.softmax(-1)
    for place, label in enumerate(predictions.labels.tolist()):
        row = predictions.rows[place]
        earlier = {int(predictions.labels[before]) for before in range(place) if predictions.rows[before] == row}
        expected += sum(-torch.log(1 - probabilities[place, token]).item() for token in earlier - {label})
    assert expected > 0.5
    assert unlikelihood(predictions).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits: unlikelihood(Predictions(logits, *random_predictions_labels())),
        lambda logits: symmetric_divergence(logits, logits.flip(0) * 0.5, weight=0.3),
        lambda logits: weighted_cross_entropy(
            Predictions(logits, *random_predictions_labels()),
            label_smoothing=0.1,
            weights=torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0], dtype=torch.float64),
        ),
    ],
    ids=["unlikelihood", "symmetric_divergence", "weighted_cross_entropy"],
)
def test_gradients_are_those_of_finite_differences(loss: Any) -> None:
    assert torch.autograd.gradcheck(loss, (random_predictions().logits,))


def random_predictions_labels() -> tuple[torch.Tensor, torch.Tensor]:
    predictions = random_predictions()
    return predictions.labels, predictions.rows


def test_divergence_is_the_sum_of_both_directions() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    expected = (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
    assert symmetric_divergence(p.log()[None], q.log()[None], weight=2.0).item() == pytest.approx(2 * expected.item())
    assert symmetric_divergence(p.log()[None], p.log()[None], weight=2.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [("bart", {"tag_weight": 3.0, "unlikelihood": 1.0}), ("t5", {"tag_weight": 0.5, "unlikelihood": 0.5})],
)
def test_parts_have_the_gradient_of_the_whole_batch(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, changes: dict[str, float]
) -> None:
    """Packed parts (BART) and padded parts (T5): the earlier words of another row do not count."""
    model, batch = padded_batch(params, model_type, rows=6)
    tokenizer = load_tiny_tokenizer(params)
    tag = tokenizer.convert_tokens_to_ids("#Person1#")
    batch["labels"][::3, 0] = tag
    trainer = trainer_of(model, params, tmp_path)
    trainer.objective = ObjectiveLoss(settings(params, **changes), tokenizer, is_encoder_decoder=True, label_smoothing=0.1)
    targets = (batch["labels"] != -100).sum()
    weights = torch.ones(len(tokenizer))
    weights[[number for text, number in tokenizer.get_vocab().items() if text.startswith("#Person")]] = changes.get(
        "tag_weight", 1
    )
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    expected = torch.zeros(())
    for row, labels in zip(logits, batch["labels"], strict=True):
        for place, label in enumerate(labels.tolist()):
            if label == -100:
                continue
            logs = row[place].log_softmax(-1)
            expected = expected - weights[label] * (0.9 * logs[label] + 0.1 * logs.mean())
            for token in {*labels[:place].tolist()} - {label, -100}:
                expected = expected - changes.get("unlikelihood", 0) * torch.log(1 - logs[token].exp())
    expected = expected / targets
    expected.backward()  # type: ignore[no-untyped-call]
    gradients = take_gradients(model)
    for limit in (150, 10**9):
        monkeypatch.setattr(batch_splitting, "PADDED_POSITIONS", limit)
        monkeypatch.setattr(batch_splitting, "PACKED_TOKENS", limit)
        loss = trainer.training_step(model, dict(batch), targets)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        for ours, theirs in zip(take_gradients(model), gradients, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6), limit


@pytest.mark.parametrize("name", ["r_drop", "r3f"])
def test_two_passes_are_compared(params: Params, tmp_path: Path, name: str) -> None:
    """With dropout (R-Drop) and with noise (R3F), the same random numbers in the formula and in the trainer."""
    model, batch = padded_batch(params, rows=4)
    for module in model.modules():
        if name == "r_drop" and isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.3
    tokenizer = load_tiny_tokenizer(params)
    trainer = trainer_of(model, params, tmp_path)
    trainer.splits_batches = False
    chosen = settings(params, name=name, r_drop_alpha=5.0, r3f_lambda=3.0, r3f_epsilon=0.5)
    trainer.objective = ObjectiveLoss(chosen, tokenizer, is_encoder_decoder=True, label_smoothing=0.0)
    model.train()
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    is_target = batch["labels"] != -100
    torch.manual_seed(3)
    first = model(**inputs).logits[is_target].log_softmax(-1)
    if name == "r3f":
        embeddings = model.get_encoder().embed_tokens(inputs.pop("input_ids"))
        inputs["inputs_embeds"] = embeddings + torch.empty_like(embeddings).uniform_(-0.5, 0.5)
    second = model(**inputs).logits[is_target].log_softmax(-1)
    nll = [-logs.gather(1, batch["labels"][is_target][:, None]).sum() for logs in (first, second)]
    divergence = ((first.exp() - second.exp()) * (first - second)).sum()  # KL in both directions
    assert divergence > 0.01
    whole = (nll[0] + nll[1] + 5.0 * divergence / 2) / 2 if name == "r_drop" else nll[0] + 3.0 * divergence
    expected = whole / is_target.sum()
    expected.backward()
    gradients = take_gradients(model)
    torch.manual_seed(3)
    loss = trainer.training_step(model, dict(batch), is_target.sum())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(take_gradients(model), gradients, strict=True))


@pytest.mark.parametrize("padding_free", [False, True])
def test_the_targets_of_a_decoder_only_batch(params: Params, padding_free: bool) -> None:
    """Padding or not: the same targets, each with the logits of the position before it, and a number for each row."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **sizes)).eval()
    rows = [
        {"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, -100, 8, 9]},
        {"input_ids": [11, 12, 13], "labels": [-100, 12, 13]},
    ]
    batch = collate_chats(0, padding_free=padding_free)(rows)
    if padding_free:  # one row holds both; attention must be told where the second begins
        model.config._attn_implementation = "eager"
    with torch.no_grad():
        predictions = predict_targets(model, batch, shifts=True)
        alone = [model(torch.tensor([row["input_ids"]])).logits[0] for row in rows]
    assert predictions.labels.tolist() == [8, 9, 12, 13]
    assert predictions.rows[0] == predictions.rows[1] != predictions.rows[2] == predictions.rows[3]
    if not padding_free:
        expected = torch.cat([alone[0][2:4], alone[1][0:2]])
        assert torch.allclose(predictions.logits, expected, atol=1e-5)


def test_an_evaluation_measures_cross_entropy(params: Params, tmp_path: Path) -> None:
    """So that the dev losses of different objectives can be compared."""
    model, batch = padded_batch(params, rows=4)
    trainer = trainer_of(model, params, tmp_path)
    model.eval()
    plain = trainer.compute_loss(model, dict(batch), num_items_in_batch=torch.tensor(50))
    chosen = settings(params, unlikelihood=2.0)
    tokenizer = load_tiny_tokenizer(params)
    trainer.objective = ObjectiveLoss(chosen, tokenizer, is_encoder_decoder=True, label_smoothing=0.1)
    assert trainer.compute_loss(model, dict(batch), num_items_in_batch=torch.tensor(50)) == plain
    model.train()
    assert trainer.compute_loss(model, dict(batch), num_items_in_batch=torch.tensor(50)) > plain


def test_a_tokenizer_without_tags_cannot_weigh_them(params: Params) -> None:
    class NoTags:
        def __len__(self) -> int:
            return 3

        def get_vocab(self) -> dict[str, int]:
            return {"a": 0, "#PhoneNumber#": 1, "#Person1# x": 2}

    with pytest.raises(YoyakError, match=r"training\.objective\.tag_weight.*preprocess\.person_tags: keep_original"):
        ObjectiveLoss(settings(params, tag_weight=2.0), NoTags(), is_encoder_decoder=True, label_smoothing=0.0)
