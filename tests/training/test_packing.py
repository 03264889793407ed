"""Packed attention leaves the model as it was. That its gradients are those of the padded batch is in test_trainer.py."""

import pytest

from tests.training.helpers import padded_batch
from yoyak.config.sections import Params
from yoyak.training.batch_splitting import split_packed
from yoyak.training.packing import packed_attention


def test_a_part_that_fails_leaves_the_model_as_it_was(params: Params) -> None:
    model, batch = padded_batch(params)
    before = model.config._attn_implementation
    (part,) = split_packed(batch)
    with pytest.raises(KeyboardInterrupt), packed_attention(model, part["lengths"]):
        raise KeyboardInterrupt
    assert model.config._attn_implementation == before
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_attention_drops_out_in_training_alone(params: Params, dropout: float) -> None:
    """With dropout 1.0 all attention weights are zero in training, so the value projection gets no gradient."""
    model, batch = padded_batch(params)
    (part,) = split_packed(batch)
    attention = model.get_encoder().layers[0].self_attn
    attention.dropout = dropout
    for is_training in (True, False):
        model.train(is_training)
        model.zero_grad()
        with packed_attention(model, part["lengths"]):
            model(**part).loss.backward()
        assert bool(attention.v_proj.weight.grad.any()) == (not is_training or not dropout)
