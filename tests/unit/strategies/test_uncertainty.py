import math

import numpy as np
import pytest
from pools import SmallPool, random_pool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies import published_uncertainty as published
from labelbench_ray.strategies import uncertainty
from labelbench_ray.strategies.uncertainty import Entropy, LeastConfidence, Margin

PROBS = np.array([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45], [1.0, 0.0, 0.0], [0.4, 0.3, 0.3]])
STRATEGIES = [LeastConfidence(), Margin(), Entropy()]
CLASSES = [2, 3, uncertainty.FEW_CLASSES, uncertainty.FEW_CLASSES + 1, 57]

each_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
each_number_of_classes = pytest.mark.parametrize("num_classes", CLASSES)


def softmaxes(num_rows, num_classes, sharpness=1.0, seed=0):
    """float32 rows from flat to saturated: some have zeros, some ones."""
    rng = np.random.default_rng(seed)
    scale = sharpness * rng.exponential(4, size=(num_rows, 1))
    logits = (scale * rng.normal(size=(num_rows, num_classes))).astype(np.float32)
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


def naive_score(strategy, row):
    row = [float(p) for p in row]
    if strategy.name == "confidence":
        return max(row)
    if strategy.name == "margin":
        first, second = sorted(row)[:-3:-1]
        return first - second
    return math.fsum(p * math.log(p) for p in row if p > 0)


def test_largest_probability_of_each_row():
    assert uncertainty.largest_probability(PROBS).tolist() == [0.5, 0.45, 1.0, 0.4]


def test_top_two_gap_of_each_row():
    np.testing.assert_allclose(uncertainty.top_two_gap(PROBS), [0.2, 0.0, 1.0, 0.1])
    assert uncertainty.top_two_gap(np.array([[0.3], [0.8]])).tolist() == [0.3, 0.8]


@each_number_of_classes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_largest_and_gap_equal_a_sort(num_classes, dtype):
    probs = softmaxes(200, num_classes).astype(dtype)
    probs[:20, -1] = probs[:20, 0]  # ties, also for the first place
    probs[20:30] = 0.25
    probs.setflags(write=False)
    ordered = np.sort(probs.astype(np.float64), axis=1)
    np.testing.assert_array_equal(uncertainty.largest_probability(probs), ordered[:, -1])
    np.testing.assert_array_equal(uncertainty.top_two_gap(probs), ordered[:, -1] - ordered[:, -2])


def test_the_gap_of_many_classes_is_taken_without_spoiling_the_rows():
    probs = softmaxes(20, 57)
    before = probs.copy()
    uncertainty.top_two_gap(probs)
    np.testing.assert_array_equal(probs, before)
    pool = random_pool(num_rows=60, tile_rows=16, num_classes=57, labels_to_buy=10)
    before = pool.probs_NC.copy()
    Margin().select(pool.request(Margin.needs), stream(0, "test"))
    np.testing.assert_array_equal(pool.probs_NC, before)


def test_entropy_counts_a_zero_probability_as_zero():
    scores = uncertainty.negative_entropy(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(scores, [-np.log(2), 0.0])


@pytest.mark.parametrize("num_classes", [3, 33, 1000])
def test_entropies_do_not_depend_on_which_rows_are_scored_together(num_classes):
    probs = softmaxes(50, num_classes)
    together = uncertainty.negative_entropy(probs)
    assert together.tolist() == [uncertainty.negative_entropy(probs[[row]])[0] for row in range(50)]
    assert together[7::3].tolist() == uncertainty.negative_entropy(probs[7::3]).tolist()


@each_number_of_classes
@pytest.mark.parametrize("sharpness", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("name", ["top_two_gap", "negative_entropy"])
def test_what_scores_are_told_not_to_be_below_they_are_not_below(name, sharpness, num_classes):
    probs = softmaxes(3000, num_classes, sharpness)
    scores, below = getattr(uncertainty, name)(probs), getattr(uncertainty, f"below_{name}")(probs)
    assert (below <= scores).all()


def test_what_is_told_of_scores_is_of_use():
    flat, peaked = softmaxes(3000, 50, 0.05), softmaxes(3000, 50, 1.0)
    np.testing.assert_allclose(uncertainty.below_negative_entropy(flat), uncertainty.negative_entropy(flat), rtol=1e-4)
    gaps = uncertainty.top_two_gap(peaked)
    assert (uncertainty.below_top_two_gap(peaked) > np.quantile(gaps, 0.02)).mean() > 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("below", [uncertainty.below_top_two_gap, uncertainty.below_negative_entropy])
def test_a_row_that_is_not_finite_shows(below, value):
    probs = softmaxes(5, 40)
    probs[3, 7] = value
    assert np.isfinite(below(probs)).tolist() == [True, True, True, False, True]


def test_scores_of_labels_are_means_of_binary_scores():
    probs = np.array([[0.5, 1.0], [0.9, 0.2]])
    np.testing.assert_allclose(uncertainty.largest_probability_per_label(probs), [0.75, 0.85])
    np.testing.assert_allclose(uncertainty.gap_per_label(probs), [0.5, 0.7])
    certain_of_second = 0.9 * np.log(0.9) + 0.1 * np.log(0.1) + 0.2 * np.log(0.2) + 0.8 * np.log(0.8)
    expected = [-np.log(2) / 2, certain_of_second / 2]
    np.testing.assert_allclose(uncertainty.negative_entropy_per_label(probs), expected)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(LeastConfidence(), [3, 1, 0]), (Margin(), [1, 3, 0]), (Entropy(), [3, 0, 1])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_buys_the_least_certain_first(strategy, expected):
    pool = SmallPool(PROBS, PROBS, np.zeros(4, np.int64), np.empty(0, np.int64), 3, tile_rows=3)
    assert strategy.select(pool.request(strategy.needs), stream(0, "test")).tolist() == expected


@each_strategy
@each_number_of_classes
@pytest.mark.parametrize("labels_to_buy", [1, 40, 700])
def test_buys_the_head_of_a_full_sort_of_float64_scores(strategy, num_classes, labels_to_buy):
    pool = random_pool(num_rows=900, num_classes=num_classes, labels_to_buy=labels_to_buy, tile_rows=64)
    pool = pool.changed(probs_NC=softmaxes(900, num_classes)[np.arange(900) % 850])  # the last 50 tie with the first
    scores = [naive_score(strategy, row) for row in pool.probs_NC]
    ours = strategy.select(pool.request(strategy.needs, num_shards=3), stream(0, "test"))
    for_sale = np.setdiff1d(np.arange(900), pool.ids_L)
    expected = sorted(for_sale.tolist(), key=lambda row: (scores[row], row))[:labels_to_buy]
    if strategy.name != "entropy":
        assert ours.tolist() == expected
    else:  # sums of the same terms, rounded in another order
        np.testing.assert_allclose(np.array(scores)[ours], np.array(scores)[expected], rtol=1e-13, atol=1e-15)


@each_strategy
def test_a_multi_label_task_is_scored_label_by_label(strategy):
    probs = np.array([[0.9, 0.9, 0.9], [0.5, 0.5, 0.5], [0.1, 0.1, 0.5]])
    pool = SmallPool(probs, probs, np.zeros(3, np.int64), np.empty(0, np.int64), 3, task="multi_label")
    assert strategy.select(pool.request(strategy.needs), stream(0, "test")).tolist() == [1, 2, 0]


def test_published_scores_by_hand():
    np.testing.assert_allclose(published.published_confidence(PROBS), [0.5, 0.45, 1.0, 0.4])
    np.testing.assert_allclose(published.published_margin(PROBS), [0.2, 0.0, 1.0, 0.1])
    halves = np.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(published.published_entropy(halves), [-1.0, -1.5])


@pytest.mark.parametrize("name", ["confidence", "margin", "entropy"])
def test_the_published_code_scores_two_classes_by_the_first_alone(name):
    probs = np.array([[0.4, 0.6], [0.9, 0.1], [0.2, 0.3]])
    np.testing.assert_allclose(getattr(published, f"published_{name}")(probs), [0.1, 0.4, 0.3])


@pytest.mark.parametrize("strategy_class", [LeastConfidence, Margin, Entropy], ids=lambda one: one.name)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_compatibility_mode_sorts_all_rows_for_sale_at_once(strategy_class, num_classes):
    pool = random_pool(num_rows=400, num_classes=num_classes, labels_to_buy=100)
    pool = pool.changed(probs_NC=np.round(pool.probs_NC, 1))  # many ties, and what an unstable sort does to them
    for_sale = np.setdiff1d(np.arange(400), pool.ids_L)
    scores = getattr(published, f"published_{strategy_class.name}")(pool.probs_NC[for_sale])
    strategy = strategy_class(compatibility="labelbench")
    ours = strategy.select(pool.request(strategy.needs, num_shards=4), stream(0, "test"))
    assert ours.tolist() == for_sale[np.argsort(scores)][:100].tolist()
