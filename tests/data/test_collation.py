"""Collators: padding, masks, positions and labels of a batch, as exact numbers."""

from yoyak.config.sections import Params

CHATS = [
    {"input_ids": [5, 6, 7, 8, 1], "labels": [-100, -100, -100, 8, 1], "length": 5},
    {"input_ids": [5, 9, 1], "labels": [-100, 9, 1], "length": 3},
    {"input_ids": [5, 6, 4, 3, 1], "labels": [-100, -100, 4, 3, 1], "length": 5},
]


def test_a_batch_of_pairs_is_padded_to_its_longest(params: Params) -> None:
    from yoyak.data import collation
    from yoyak.models import encoder_decoder
    from yoyak.models.tokenizer_loading import load_tokenizer

    tokenizer = load_tokenizer(params.model.kobart.checkpoint, None, ())
    model = encoder_decoder.load(params.model.kobart.checkpoint, None, tokenizer)
    batch = collation.collate_pairs(tokenizer, model)(
        [{"input_ids": [5, 6, 7, 1], "labels": [8, 1], "length": 4}, {"input_ids": [9, 1], "labels": [5, 6, 1], "length": 2}]
    )
    expected = {
        "input_ids": [[5, 6, 7, 1], [9, 1, 2, 2]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "labels": [[8, 1, -100], [5, 6, 1]],
        "decoder_input_ids": [[1, 8, 1], [1, 5, 6]],
    }
    assert {name: batch[name].tolist() for name in batch} == expected


def test_a_padded_batch_of_chats_ends_together() -> None:
    from yoyak.data import collation

    batch = collation.collate_chats(2, padding_free=False)(CHATS)
    assert {name: batch[name].tolist() for name in ("input_ids", "attention_mask", "position_ids", "labels")} == {
        "input_ids": [[5, 6, 7, 8, 1], [2, 2, 5, 9, 1], [5, 6, 4, 3, 1]],
        "attention_mask": [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]],
        "position_ids": [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2], [0, 1, 2, 3, 4]],
        "labels": [[-100, -100, 8, 1], [-100, -100, 9, 1], [-100, 4, 3, 1]],
    }
    assert set(batch) == {"input_ids", "attention_mask", "position_ids", "labels", "logits_to_keep", "use_cache"}
    assert batch["logits_to_keep"] == 4  # the longest target, and one before it
    assert batch["use_cache"] is False


def test_a_batch_of_chats_without_padding_is_one_row() -> None:
    from yoyak.data import collation

    batch = collation.collate_chats(2, padding_free=True)(CHATS)
    names = ("input_ids", "position_ids", "labels", "logits_to_keep")
    assert {name: batch[name].tolist() for name in names} == {
        "input_ids": [[5, 6, 7, 8, 1, 5, 9, 1, 5, 6, 4, 3, 1]],
        "position_ids": [[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3, 4]],
        # Each row's first is none: the last token of the row before must not learn to predict it.
        "labels": [[-100, 8, 1, -100, 9, 1, -100, 4, 3, 1]],
        "logits_to_keep": [2, 3, 4, 5, 6, 7, 9, 10, 11, 12],
    }
    assert set(batch) == {*names, "use_cache"}  # with a mask, transformers would not see the boundaries
    assert batch["use_cache"] is False
