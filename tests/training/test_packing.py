"""packing.py; that its gradients are those of padded batches is in test_training.py."""

import itertools

import pytest

from tests.training.test_trainer import padded_batch, rows_of
from yoyak.config.sections import Params
from yoyak.training import packing


@pytest.mark.parametrize("most", [1, 50, 130, 10_000])
def test_without_padding_rows_stand_end_to_end(params: Params, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(packing, "PART", most)
    _, batch = padded_batch(params)
    found = []
    for part in packing.parts(batch):
        sources, targets = part["lengths"]
        assert part["input_ids"].shape == (1, sum(sources)) and part["labels"].shape == (1, sum(targets))
        assert sum(sources) <= most or len(sources) == 1
        each = [
            part["input_ids"][0].split(sources),
            *(part[name][0].split(targets) for name in ("labels", "decoder_input_ids")),
        ]
        found.append([tuple(ids.tolist() for ids in row) for row in zip(*each, strict=True)])
    assert [row for rows in found for row in rows] == rows_of(batch)
    for rows, after in itertools.pairwise(found):
        assert sum(len(ids) for ids, _, _ in [*rows, after[0]]) > most, "as few parts as may be"


def test_a_part_that_fails_leaves_the_model_as_it_was(params: Params) -> None:
    model, batch = padded_batch(params)
    before = model.config._attn_implementation
    (part,) = packing.parts(batch)
    with pytest.raises(KeyboardInterrupt), packing.packed(model, part["lengths"]):
        raise KeyboardInterrupt
    assert model.config._attn_implementation == before
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_attention_drops_out_in_training_alone(params: Params, dropout: float) -> None:
    """With all of its shares dropped it gives nothing, and its values learn nothing."""
    model, batch = padded_batch(params)
    (part,) = packing.parts(batch)
    attention = model.get_encoder().layers[0].self_attn
    attention.dropout = dropout
    for trains in (True, False):
        model.train(trains)
        model.zero_grad()
        with packing.packed(model, part["lengths"]):
            model(**part).loss.backward()
        assert bool(attention.v_proj.weight.grad.any()) == (not trains or not dropout)
