import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels.class_order import PENDING, ClassOrder, class_margin


def order_of(text):
    """An order read from left to right: 1 in the class, 0 outside, ? pending, . unlabelled; ids are positions."""
    order = ClassOrder(1, -np.arange(len(text), dtype=float), np.arange(len(text)), len(text))
    ids = np.array([place for place, mark in enumerate(text) if mark != "."], np.int64)
    labels = np.array([PENDING if text[place] == "?" else int(text[place]) for place in ids], np.int64)
    order.bring_up_to_date(ids, labels)
    return order


def test_margins_order_predicted_rows_by_confidence():
    probs = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.2, 0.7, 0.1]])
    margins = class_margin(probs, 0)
    assert np.argsort(-margins).tolist() == [1, 0, 2]
    np.testing.assert_allclose(margins[2], -0.5, atol=1e-7)


def test_two_classes_have_one_order():
    probs = np.array([[0.3, 0.7], [0.6, 0.4]])
    assert class_margin(probs, 1).tolist() == class_margin(probs, 0).tolist() == [0.3, 0.6]


def test_buys_the_middle_of_the_shortest_run_between_labels_that_disagree():
    assert order_of("1....0...1.1").shortest_cut() == 7
    assert order_of("1..0.1").shortest_cut() == 4
    assert order_of("1..0..1").shortest_cut() == 1  # the first on ties, and the left of two middles
    assert order_of("1...1...").shortest_cut() is None
    assert order_of("..").shortest_cut() is None


def test_extends_around_a_cut_left_on_ties_right_if_strictly_nearer():
    assert order_of("..1100.").beside_cut() == 1
    assert order_of("..110.").beside_cut() == 5
    assert order_of("10").beside_cut() is None
    assert order_of(".11.").beside_cut() is None
    assert order_of(".10....10.").beside_cut() == 6  # the largest position among equals on the left


def test_the_published_fallback_sees_one_polarity():
    assert order_of(".10.").beside_cut(descending_only=True) is None
    assert order_of(".01.").beside_cut(descending_only=True) == 0


def test_a_pending_row_splits_its_run():
    assert order_of("1..?...0").shortest_cut() == 1
    assert order_of("1?...0").shortest_cut() == 3
    assert order_of("..?...0").shortest_cut() is None


def test_an_answer_that_comes_late_counts():
    order = order_of("1..?...0")
    ids = np.array([0, 3, 7])
    order.bring_up_to_date(ids, np.array([1, 1, 0]))
    assert order.shortest_cut() == 5
    assert order.num_free == 5


def naive_cut(text):
    best = None
    marks = [place for place, mark in enumerate(text) if mark != "."]
    for left, right in itertools.pairwise(marks):
        if text[left] != text[right] and right - left > 1 and (best is None or right - left < best[0]):
            best = (right - left, (left + right) // 2)
    return best and best[1]


def naive_beside(text):
    def free(places):
        return next((place for place in places if text[place] == "."), None)

    lefts, rights = [], []
    for place in range(len(text) - 1):
        if "." not in text[place : place + 2] and text[place] != text[place + 1]:
            left, right = free(range(place, -1, -1)), free(range(place + 1, len(text)))
            lefts += [(place - left, -left)] if left is not None else []
            rights += [(right - place - 1, right)] if right is not None else []
    if not lefts and not rights:
        return None
    if not lefts or (rights and min(rights)[0] < min(lefts)[0]):
        return min(rights, key=lambda found: found[0])[1]
    return -min(lefts)[1]


@given(text=st.text("01.", min_size=1, max_size=25))
@settings(deadline=None, max_examples=200)
def test_agrees_with_a_plain_walk_along_the_order(text):
    order = order_of(text)
    assert order.shortest_cut() == naive_cut(text)
    assert order.beside_cut() == naive_beside(text)
    free = [place for place, mark in enumerate(text) if mark == "."]
    assert [order.free_position(rank) for rank in range(order.num_free)] == free
    assert order.is_free(np.arange(len(text))).nonzero()[0].tolist() == free
