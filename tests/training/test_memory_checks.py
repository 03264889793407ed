from yoyak.training import memory_checks


def test_the_needs_of_a_full_training() -> None:
    parameters = 124_000_000
    assert memory_checks.full_training_bytes(parameters) == parameters * 16
    # Four checkpoints with two moments each, the model, and its copy in DVC's cache.
    assert memory_checks.full_training_disk_bytes(parameters, 3) == parameters * 4 * 14
    assert memory_checks.full_training_disk_bytes(parameters, 4) > memory_checks.full_training_disk_bytes(parameters, 3)


def test_the_newest_and_the_best_checkpoint_stay_with_a_limit_of_one() -> None:
    assert [memory_checks.most_checkpoints(limit) for limit in (1, 2, 3)] == [3, 3, 4]
    assert memory_checks.full_training_disk_bytes(10, 1) == memory_checks.full_training_disk_bytes(10, 2)
