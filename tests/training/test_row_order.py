import pytest
import torch

from yoyak.training.row_order import RowOrder

LENGTHS = [(index * 37) % 101 for index in range(67)]


@pytest.mark.parametrize("group_by_length", [True, False])
@pytest.mark.parametrize("rows", [1, 64, 67])
def test_the_order_depends_on_seed_and_epoch_alone(rows: int, group_by_length: bool) -> None:
    lengths = LENGTHS[:rows]

    def order_of(seed: int) -> RowOrder:
        return RowOrder(lengths, rows_per_step=4, group_by_length=group_by_length, seed=seed)

    order = order_of(1)
    first_epoch = list(order)
    assert sorted(first_epoch) == list(range(rows)) == list(range(len(order)))
    assert list(order) == first_epoch == list(order_of(1))
    order.epoch = 1
    assert list(order) == list(order_of(2))
    assert rows == 1 or list(order) != first_epoch
    for start in range(0, rows, 4):
        step = [lengths[row] for row in first_epoch[start : start + 4]]
        assert step == sorted(step, reverse=True), "the batches of one step need little padding"


def test_a_step_has_random_rows_or_rows_of_similar_length() -> None:
    mixed, grouped = (list(RowOrder(LENGTHS, rows_per_step=4, group_by_length=by, seed=1)) for by in (False, True))
    plain = torch.randperm(67, generator=torch.Generator().manual_seed(1)).tolist()
    starts = range(0, 67, 4)
    assert [{*mixed[start : start + 4]} for start in starts] == [{*plain[start : start + 4]} for start in starts]
    longest_mixed, longest_grouped = ([LENGTHS[rows[start]] for start in starts] for rows in (mixed, grouped))
    assert sum(longest_grouped) < 0.8 * sum(longest_mixed), "less padding"
    pools = [longest_grouped[start : start + 4] for start in range(0, 16, 4)]  # transformers sorts four steps of these together
    assert sum(pool == sorted(pool, reverse=True) for pool in pools) < 2, "steps do not come from long to short"
