import itertools

import pytest

from tests.training.helpers import padded_batch, rows_of
from yoyak.config.sections import Params
from yoyak.training import batch_splitting

limits = pytest.mark.parametrize("limit", [1, 50, 130, 10_000])


@limits
def test_padded_parts_hold_the_rows_of_the_batch(params: Params, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(batch_splitting, "PADDED_POSITIONS", limit)
    _, batch = padded_batch(params)
    parts = list(batch_splitting.split_padded(batch))
    assert sorted(row for part in parts for row in rows_of(part)) == sorted(rows_of(batch))
    lengths = [[len(ids) for ids, _, _ in rows_of(part)] for part in parts]
    assert list(itertools.chain(*lengths)) == sorted((len(ids) for ids, _, _ in rows_of(batch)), reverse=True)
    for part, part_lengths in zip(parts, lengths, strict=True):
        assert part["input_ids"].shape == part["attention_mask"].shape == (len(part_lengths), max(part_lengths))
        assert part["labels"].shape == part["decoder_input_ids"].shape
        assert part["labels"].shape[1] == max(len(labels) for _, labels, _ in rows_of(part)), "no column of padding alone"
        assert len(part_lengths) == 1 or part["input_ids"].numel() <= limit
    assert all(part[0] * (len(part) + 1) > limit for part in lengths[:-1]), "as few parts as possible"


@limits
def test_packed_parts_hold_the_rows_of_the_batch(params: Params, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(batch_splitting, "PACKED_TOKENS", limit)
    _, batch = padded_batch(params)
    parts = []
    for part in batch_splitting.split_packed(batch):
        sources, targets = part["lengths"]
        assert part["input_ids"].shape == (1, sum(sources)) and part["labels"].shape == (1, sum(targets))
        assert sum(sources) <= limit or len(sources) == 1
        columns = [
            part["input_ids"][0].split(sources),
            *(part[name][0].split(targets) for name in ("labels", "decoder_input_ids")),
        ]
        parts.append([tuple(ids.tolist() for ids in row) for row in zip(*columns, strict=True)])
    assert list(itertools.chain(*parts)) == rows_of(batch)
    for rows, next_rows in itertools.pairwise(parts):
        assert sum(len(ids) for ids, _, _ in [*rows, next_rows[0]]) > limit, "as few parts as possible"
