import numpy as np
import pytest

from labelbench_ray.errors import BudgetExceededError
from labelbench_ray.oracles.base import Oracle
from labelbench_ray.oracles.perfect import Perfect
from labelbench_ray.seeding import stream

TRUTH = np.array([3, 1, 4, 1, 5, 2, 6, 5])


def oracle(allowed):
    one = Oracle.of(Perfect(), TRUTH, 7, stream(0, "oracle"))
    one.open_round(allowed)
    return one


def test_sells_the_labels_asked_in_their_order():
    assert oracle(3).label(np.array([7, 0, 2])).tolist() == [5, 3, 4]


def test_counts_labels_and_trips():
    one = oracle(5)
    one.label(np.array([0, 1]))
    one.label(np.array([2]))
    assert (one.spent, one.annotation_rounds) == (3, 2)


def test_more_than_is_left_sells_nothing():
    one = oracle(3)
    one.label(np.array([0, 1]))
    with pytest.raises(BudgetExceededError, match="asked for 2 labels, 1 left of 3"):
        one.label(np.array([2, 3]))
    assert (one.spent, one.annotation_rounds) == (2, 1)
    assert one.label(np.array([2])).tolist() == [4]


def test_nothing_is_for_sale_before_a_round_opens():
    one = Oracle.of(Perfect(), TRUTH, 7, stream(0, "oracle"))
    with pytest.raises(BudgetExceededError):
        one.label(np.array([0]))


def test_what_a_round_leaves_is_not_carried_into_the_next():
    one = oracle(5)
    one.label(np.array([0]))
    one.open_round(2)
    with pytest.raises(BudgetExceededError, match="asked for 3 labels, 2 left"):
        one.label(np.array([1, 2, 3]))


def test_its_text_tells_no_label():
    assert "4" not in repr(oracle(3)).replace("allowance", "")


def test_what_it_would_say_is_what_it_sells_and_costs_nothing():
    truth = np.array([0, 1, 2, 1])
    oracle = Oracle.of(Perfect(), truth, 3, stream(0, "oracle"))
    ids = np.array([3, 2])
    assert oracle.would_say(ids).tolist() == [1, 2]
    assert (oracle.spent, oracle.annotation_rounds) == (0, 0)
    oracle.open_round(2)
    assert oracle.label(ids).tolist() == [1, 2]
