import numpy as np
import pytest
from pools import SmallPool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies import uncertainty
from labelbench_ray.strategies.uncertainty import Entropy, LeastConfidence, Margin

PROBS = np.array([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45], [1.0, 0.0, 0.0], [0.4, 0.3, 0.3]])


def test_largest_probability_of_each_row():
    assert uncertainty.largest_probability(PROBS).tolist() == [0.5, 0.45, 1.0, 0.4]


def test_top_two_gap_of_each_row():
    np.testing.assert_allclose(uncertainty.top_two_gap(PROBS), [0.2, 0.0, 1.0, 0.1])


def test_top_two_gap_equals_a_sort():
    probs = np.random.default_rng(0).dirichlet(np.ones(17), 200)
    ordered = np.sort(probs, axis=1)
    np.testing.assert_array_equal(uncertainty.top_two_gap(probs), ordered[:, -1] - ordered[:, -2])


def test_entropy_counts_a_zero_probability_as_zero():
    scores = uncertainty.negative_entropy(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(scores, [-np.log(2), 0.0])


def test_scores_of_labels_are_means_of_binary_scores():
    probs = np.array([[0.5, 1.0], [0.9, 0.2]])
    np.testing.assert_allclose(uncertainty.largest_probability_per_label(probs), [0.75, 0.85])
    np.testing.assert_allclose(uncertainty.gap_per_label(probs), [0.5, 0.7])
    np.testing.assert_allclose(uncertainty.negative_entropy_per_label(probs)[0], -np.log(2) / 2)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(LeastConfidence(), [3, 1, 0]), (Margin(), [1, 3, 0]), (Entropy(), [3, 0, 1])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_buys_the_least_certain_first(strategy, expected):
    pool = SmallPool(PROBS, PROBS, np.zeros(4, np.int64), np.empty(0, np.int64), 3, tile_rows=3)
    assert strategy.select(pool.request(strategy.needs), stream(0, "test")).tolist() == expected


@pytest.mark.parametrize("strategy", [LeastConfidence(), Margin(), Entropy()], ids=lambda strategy: strategy.name)
def test_a_multi_label_task_is_scored_label_by_label(strategy):
    probs = np.array([[0.9, 0.9, 0.9], [0.5, 0.5, 0.5], [0.1, 0.1, 0.5]])
    pool = SmallPool(probs, probs, np.zeros(3, np.int64), np.empty(0, np.int64), 3, task="multi_label")
    assert strategy.select(pool.request(strategy.needs), stream(0, "test")).tolist() == [1, 2, 0]
