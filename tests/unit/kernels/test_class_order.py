import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels import class_order as module
from labelbench_ray.kernels.class_order import ClassOrder, Sorter, class_margin


def descending(probs_N, largest_N):
    return Sorter(len(probs_N)).descending(probs_N, largest_N)


def plain_order(margins_N):
    return np.argsort(-margins_N, kind="stable")


def test_margins_order_predicted_rows_by_confidence():
    probs = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.2, 0.7, 0.1]])
    margins = class_margin(probs[:, 0], probs.max(axis=1))
    np.testing.assert_allclose(margins, [0.5e-8, 0.9e-8, -0.5 + 0.7e-8], rtol=0, atol=1e-16)
    assert descending(probs[:, 0], probs.max(axis=1)).tolist() == [1, 0, 2]


def test_without_largest_probabilities_rows_go_by_their_own():
    assert descending(np.array([0.3, 0.6, 0.0, 0.6, 1.0]), None).tolist() == [4, 1, 3, 0, 2]


SPECIAL = [0.0, -0.0, 1.0, 0.5, 1e-45, 1e-30, 1e-9, 1e-8, 3e-8, 1 - 2**-24, 1 - 2**-23, 1 - 2**-53, 1.0000001, 7.0]


@given(seed=st.integers(0, 2**32 - 1), num_rows=st.integers(1, 40), dtype=st.sampled_from([np.float32, np.float64]))
@settings(deadline=None, max_examples=150)
def test_the_order_is_the_stable_sort_of_exact_margins(seed, num_rows, dtype):
    """Where ties and near ties abound: saturated, denormal, a step apart, out of range."""
    rng = np.random.default_rng(seed)
    special_NC = rng.choice(rng.choice(SPECIAL, size=1 + seed % 6), size=(num_rows, 3))
    probs_NC = np.where(rng.random((num_rows, 3)) < rng.random(), rng.random((num_rows, 3)), special_NC).astype(dtype)
    largest_N = probs_NC.max(axis=1)
    for probs_N in probs_NC.T:
        assert descending(probs_N, largest_N).tolist() == plain_order(class_margin(probs_N, largest_N)).tolist()
        assert descending(probs_N, None).tolist() == plain_order(probs_N.astype(np.float64)).tolist()


def softmax(logits_NC):
    probs_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return probs_NC / probs_NC.sum(axis=1, keepdims=True)


def test_rows_predicted_as_the_class_need_no_second_sort(monkeypatch):
    """Their margins differ by less than 1e-8, and each has its own code all the same."""
    monkeypatch.setattr(module, "_settle_equal_codes", lambda *_: None)
    probs_N = np.random.default_rng(0).permutation(np.linspace(0.4, 1, 10_000, dtype=np.float32))
    assert descending(probs_N, probs_N).tolist() == plain_order(probs_N).tolist()


@pytest.mark.parametrize("scale", [0.01, 1, 20, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_rows_of_any_confidence_are_sorted_exactly(scale, dtype):
    logits_NC = scale * np.random.default_rng(0).normal(size=(70_000, 5))
    probs_NC = softmax(logits_NC).astype(dtype)
    largest_N = probs_NC.max(axis=1)
    expected = plain_order(class_margin(probs_NC[:, 2], largest_N))
    np.testing.assert_array_equal(descending(probs_NC[:, 2], largest_N), expected)
    np.testing.assert_array_equal(descending(probs_NC[:, 2], None), plain_order(probs_NC[:, 2].astype(np.float64)))


@pytest.mark.parametrize("num_pool_rows", [1, 2, 7, 256, 257, 1500, 70_000])
@pytest.mark.parametrize("num_excluded", [0, 5])
def test_an_order_tells_positions_of_rows_and_rows_at_positions(num_pool_rows, num_excluded):
    rng = np.random.default_rng(num_pool_rows)
    ids = rng.permutation(num_pool_rows)[: max(1, num_pool_rows - num_excluded)]
    order = ClassOrder(ids, np.zeros(num_pool_rows, np.uint32))
    positions = np.arange(len(ids))
    assert order.num_rows == len(ids)
    np.testing.assert_array_equal(order.positions_of(ids), positions)
    np.testing.assert_array_equal(order.ids_at(positions[::-3]), ids[::-3])
    sought = positions[:: 1 + num_pool_rows // 1500]
    assert [order.id_at(position) for position in sought.tolist()] == ids[sought].tolist()
    assert order.ids_at(positions[:0]).tolist() == []
