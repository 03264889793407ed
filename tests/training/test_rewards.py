"""Training on rewards: the formulas beside plain ones, what is drawn, and that the reward rises."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import SUMMARIES
from tests.training.helpers import load_tiny_model, load_tiny_tokenizer, tokenized_splits
from yoyak.config.sections import Params
from yoyak.data.collation import collate_chats, collate_pairs
from yoyak.training.rewards import SHARPNESS, RewardLoss, source_and_target_ids


def reward_loss(params: Params, model: Any, tokenizer: Any, **changes: Any) -> RewardLoss:
    settings = params.training.objective.model_copy(update=changes)
    return RewardLoss(settings, tokenizer, collate_pairs(tokenizer, model), is_encoder_decoder=True, max_target_length=12)


def batch_of(params: Params, rows: int) -> tuple[Any, Any, dict[str, Any]]:
    tokenizer = load_tiny_tokenizer(params)
    model = load_tiny_model(params, tokenizer)
    data = tokenized_splits(tokenizer)["train"].select(range(rows))
    return model, tokenizer, collate_pairs(tokenizer, model)([dict(row) for row in data])


def log_likelihood(model: Any, source: Sequence[int], summary: Sequence[int]) -> torch.Tensor:
    start = model.config.decoder_start_token_id
    logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[start, *summary[:-1]]])).logits[0]
    chosen: torch.Tensor = logits.log_softmax(-1)[range(len(summary)), list(summary)]
    return chosen.sum()


@pytest.mark.parametrize("name", ["self_critical", "minimum_risk"])
def test_the_loss_is_the_formula_of_the_paper(params: Params, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """For given summaries and rewards. Two of them are equal, and one is the reference."""
    model, tokenizer, batch = batch_of(params, 2)
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    loss = reward_loss(params, model, tokenizer, name=name, reward_samples=3)
    sources, references = source_and_target_ids(batch, is_encoder_decoder=True)
    drawn = [[20, 21, 1], [22, 1], [20, 21, 1], [30, 1], [31, 32, 33, 1], references[1]]
    greedy = [[20, 1], [30, 40, 1]]
    value = {str(ids): place / 10 for place, ids in enumerate([*drawn, *greedy])} | {str(ids): 1.0 for ids in references}
    monkeypatch.setattr(loss, "write", lambda _model, _sources, samples: drawn if samples else greedy)
    monkeypatch.setattr(loss, "rewards", lambda summaries, _: torch.tensor([value[str(ids)] for ids in summaries]))
    model.train()
    ours = loss(model, batch, model)
    expected = torch.zeros(())
    for row in range(2):
        group = drawn[3 * row : 3 * row + 3]
        if name == "self_critical":
            for ids in group:
                advantage = value[str(ids)] - value[str(greedy[row])]
                expected = expected - advantage * log_likelihood(model, sources[row], ids) / 3
        else:
            distinct = [
                ids for place, ids in enumerate([*group, references[row]]) if ids not in [*group, references[row]][:place]
            ]
            powers = torch.stack([SHARPNESS * log_likelihood(model, sources[row], ids) for ids in distinct])
            risk = sum(q * (1 - value[str(ids)]) for q, ids in zip(powers.softmax(0), distinct, strict=True))
            expected = expected + risk * len(references[row])
    assert ours.item() == pytest.approx(expected.item(), rel=1e-4)
    for ours_gradient, theirs in zip(
        torch.autograd.grad(ours, model.model.encoder.layers[0].fc1.weight),
        torch.autograd.grad(expected, model.model.encoder.layers[0].fc1.weight),
        strict=True,
    ):
        assert theirs.abs().max() > 0
        assert torch.allclose(ours_gradient, theirs, rtol=1e-3, atol=1e-6)


def test_summaries_are_drawn_and_end_where_the_text_ends(params: Params) -> None:
    model, tokenizer, batch = batch_of(params, 3)
    loss = reward_loss(params, model, tokenizer, name="self_critical")
    sources, _ = source_and_target_ids(batch, is_encoder_decoder=True)
    model.train()
    torch.manual_seed(0)
    drawn = loss.write(model, sources, samples=4)
    torch.manual_seed(0)
    assert loss.write(model, sources, samples=4) == drawn
    assert model.training
    assert len(drawn) == 12
    assert len({tuple(ids) for ids in drawn}) > 6, "summaries of a row differ"
    greedy = loss.write(model, sources, samples=0)
    assert len(greedy) == 3
    assert greedy == loss.write(model, sources, samples=0)
    for ids in [*drawn, *greedy]:
        assert 1 <= len(ids) <= 12
        assert 1 not in ids[:-1], "nothing follows the end of the text"


def test_the_reward_is_rouge_on_morphemes(params: Params) -> None:
    model, tokenizer, _ = batch_of(params, 1)
    loss = reward_loss(params, model, tokenizer, name="self_critical")
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in SUMMARIES[:2]]
    same, other = loss.rewards([ids[0], ids[1]], [ids[0], ids[0]]).tolist()
    assert same == pytest.approx(1)
    assert 0 <= other < 0.9


@pytest.mark.parametrize("padding_free", [False, True])
def test_rows_come_back_from_a_batch_of_chats(padding_free: bool) -> None:
    rows = [
        {"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, -100, 8, 9]},
        {"input_ids": [11, 12, 13], "labels": [-100, 12, 13]},
    ]
    batch = collate_chats(0, padding_free=padding_free)(rows)
    assert source_and_target_ids(batch, is_encoder_decoder=False) == ([[5, 6, 7], [11]], [[8, 9], [12, 13]])


@pytest.mark.parametrize("name", ["self_critical", "minimum_risk"])
def test_a_decoder_only_model_gets_a_gradient(params: Params, name: str) -> None:
    tokenizer = load_tiny_tokenizer(params)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), eos_token_id=1, pad_token_id=3, **sizes))
    collate = collate_chats(3, padding_free=False)
    rows = [
        {"input_ids": [50, 60, 70, 80, 1], "labels": [-100, -100, -100, 80, 1]},
        {"input_ids": [110, 120, 1], "labels": [-100, 120, 1]},
    ]
    settings = params.training.objective.model_copy(update={"name": name, "reward_samples": 2})
    loss = RewardLoss(settings, tokenizer, collate, is_encoder_decoder=False, max_target_length=6)
    torch.manual_seed(0)
    value = loss(model, collate(rows), model)
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value)
    if name == "minimum_risk":
        assert model.lm_head.weight.grad.abs().max() > 0


@pytest.mark.slow
def test_the_reward_rises(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reward is the share of tokens with an even number, which a random model can learn quickly."""
    model, tokenizer, batch = batch_of(params, 4)
    loss = reward_loss(params, model, tokenizer, name="minimum_risk", reward_samples=8)

    def share_of_even(summaries: list[list[int]], _: Any = None) -> torch.Tensor:
        return torch.tensor([sum(token % 2 == 0 for token in ids) / len(ids) for ids in summaries])

    monkeypatch.setattr(loss, "rewards", share_of_even)
    sources, _ = source_and_target_ids(batch, is_encoder_decoder=True)
    torch.manual_seed(0)
    before = share_of_even(loss.write(model, sources, samples=16)).mean().item()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(24):
        optimizer.zero_grad()
        loss(model, batch, model).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = share_of_even(loss.write(model, sources, samples=16)).mean().item()
    assert before < 0.7
    assert after > before + 0.2
