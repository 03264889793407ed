"""Splits the batch of an encoder-decoder into parts. On a CPU, parts with little padding are faster than the whole batch.

Each part goes through the model forward and backward by itself. The loss is a sum over tokens, so the gradients of the parts
add up to the gradient of the batch.

The limits are measured with KoBART's shape on two cores (docs/log/speed.md):

- PADDED_POSITIONS: a smaller part pays the fixed cost of a step more often; a larger one holds rows of more different lengths
  and computes more padding. Tokens a second: 382 with 512 positions, 426 with 1,024, 384 with 2,048, 285 with the whole batch.
- PACKED_TOKENS: packed rows have no padding, so only the fixed cost of a part counts (casts and sums of gradients, 0.2 s of
  about 1.2 s), and a larger part is better. The limit bounds the memory: 5.1 GiB for 16 rows of 512 tokens, 3.9 with 2,048.
"""

from collections.abc import Iterator

from yoyak.data.collation import Batch

PADDED_POSITIONS = 1024  # source positions of a part, padding included
PACKED_TOKENS = 4096  # source tokens of a part


def split_padded(batch: Batch) -> Iterator[Batch]:
    """Parts of rows with similar source lengths, each cut to its own longest source and target.

    Args:
        batch: input_ids and attention_mask (rows, longest source); labels and decoder_input_ids (rows, longest target).

    Yields:
        Batches of the same form with at most PADDED_POSITIONS source positions, or with a single row.
    """
    lengths = batch["attention_mask"].sum(1)
    groups: list[list[int]] = []
    for row in lengths.argsort(descending=True, stable=True).tolist():
        if groups and int(lengths[groups[-1][0]]) * (len(groups[-1]) + 1) <= PADDED_POSITIONS:
            groups[-1].append(row)
        else:
            groups.append([row])
    for rows in groups:
        part = {name: values[rows] for name, values in batch.items()}
        source, target = part["attention_mask"].any(0), (part["labels"] != -100).any(0)
        yield {name: values[:, source if name in ("input_ids", "attention_mask") else target] for name, values in part.items()}


def split_packed(batch: Batch) -> Iterator[Batch]:
    """Parts without padding: the rows of a part stand one after another in a single row, for `packing.packed_attention`.

    Args:
        batch: as in `split_padded`.

    Yields:
        input_ids (1, source tokens), decoder_input_ids and labels (1, target tokens), and `lengths`, two lists with the numbers
        of source and target tokens of each row. At most PACKED_TOKENS source tokens, or a single row.
    """
    in_source, in_target = batch["attention_mask"].bool(), batch["labels"] != -100
    lengths = in_source.sum(1).tolist()
    groups: list[list[int]] = []
    for row, length in enumerate(lengths):
        if groups and sum(lengths[other] for other in groups[-1]) + length <= PACKED_TOKENS:
            groups[-1].append(row)
        else:
            groups.append([row])
    for rows in groups:
        source, target = in_source[rows], in_target[rows]
        yield {
            "input_ids": batch["input_ids"][rows][source][None],
            "decoder_input_ids": batch["decoder_input_ids"][rows][target][None],
            "labels": batch["labels"][rows][target][None],
            "lengths": (source.sum(1).tolist(), target.sum(1).tolist()),
        }
