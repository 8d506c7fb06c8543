import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.balanced_random import BalancedRandom, by_turns


def bought(pool, seed=0, **how):
    strategy = BalancedRandom()
    return strategy.select(pool.request(strategy.needs, **how), stream(seed, "test"))


def pool_predicted_as(classes, **changes):
    """Every row of the given predicted class, nothing bought yet."""
    classes = np.asarray(classes)
    pool = random_pool(num_rows=len(classes), num_labeled=0, labels_to_buy=1)
    return pool.changed(probs_NC=np.where(np.arange(4) == classes[:, None], 0.7, 0.1), **changes)


def test_rows_come_turn_by_turn():
    classes = np.array([2, 0, 0, 2, 1, 2, 2])
    assert by_turns(classes, np.array([1, 2, 0])).tolist() == [0, 1, 4, 3, 2, 5, 6]


def test_turns_equal_those_of_a_loop_over_queues():
    rng = np.random.default_rng(0)
    classes, order = rng.integers(5, size=200), rng.permutation(5)
    queues = {c: np.flatnonzero(classes == c).tolist() for c in np.argsort(order).tolist()}
    expected = []
    while any(queues.values()):
        expected += [queue.pop(0) for queue in queues.values() if queue]
    assert by_turns(classes, order).tolist() == expected


@pytest.mark.parametrize("labels_to_buy", [8, 10, 11])
def test_counts_of_predicted_classes_differ_by_one_at_most(labels_to_buy):
    classes = np.repeat([0, 1, 2, 3], [900, 60, 30, 10])
    ids = bought(pool_predicted_as(classes, labels_to_buy=labels_to_buy, tile_rows=64))
    counts = np.bincount(classes[ids], minlength=4)
    assert counts.max() - counts.min() <= 1


def test_a_class_that_runs_out_leaves_its_turns_to_the_others():
    classes = np.repeat([0, 1, 3], [90, 60, 5])
    ids = bought(pool_predicted_as(classes, labels_to_buy=45))
    assert np.bincount(classes[ids], minlength=4).tolist() == [20, 20, 0, 5]


def test_every_row_of_a_class_is_as_likely():
    classes = np.repeat([0, 1], [6, 2])
    pool = pool_predicted_as(classes, labels_to_buy=4)
    counts = np.bincount(np.concatenate([bought(pool, seed) for seed in range(600)]), minlength=8)
    assert counts[6:].tolist() == [600, 600]
    assert ((counts[:6] - 200) ** 2 / 200).sum() < 20.5  # 5 degrees of freedom: 1 in 1,000


def test_bought_rows_are_not_drawn_again():
    classes = np.repeat([0, 1], [20, 20])
    pool = pool_predicted_as(classes, ids_L=np.arange(0, 18), labels_to_buy=22)
    assert sorted(bought(pool, num_shards=3).tolist()) == list(range(18, 40))
