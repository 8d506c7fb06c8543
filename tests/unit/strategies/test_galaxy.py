import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import SmallPool, random_pool

from labelbench_ray.errors import SpecError
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.galaxy import FreeRows, Galaxy, LegacyDraws, StreamDraws, query_cuts


def line(num_rows, border, bought, labels_to_buy):
    """Two classes along a line: id order is the order, class 0 before the border."""
    confidence = np.linspace(0.99, 0.01, num_rows)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    truth = (np.arange(num_rows) >= border).astype(np.int64)
    return SmallPool(probs, probs, truth, np.array(bought), labels_to_buy)


def bought(pool, strategy=None, seed=0):
    return (strategy or Galaxy()).select(pool.request(Galaxy.needs, num_shards=2), stream(seed, "test")).tolist()


def test_bisects_and_then_extends_around_the_cut():
    assert bought(line(16, 5, [0, 15], 6)) == [7, 3, 5, 4, 6, 2]


def test_answers_steer_the_next_query():
    assert bought(line(16, 12, [0, 15], 4)) == [7, 11, 13, 12]


def test_without_a_cut_rows_are_random():
    pool = line(16, 0, [0, 15], 5)
    assert bought(pool, seed=0) != bought(pool, seed=1)


class Recorder:
    def __init__(self, pool):
        self.pool, self.asked = pool, []

    def __call__(self, ids):
        self.asked.append(len(ids))
        return self.pool.ask(ids)


@pytest.mark.parametrize(
    ("rounds", "expected"), [(None, [1] * 10), (1, [10]), (3, [4, 4, 2]), (10, [1] * 10), (99, [1] * 10)]
)
def test_rounds_per_batch_is_the_number_of_trips_to_the_annotators(rounds, expected):
    pool = random_pool(labels_to_buy=10)
    recorder = Recorder(pool)
    request = dataclasses.replace(pool.request(Galaxy.needs), ask=recorder)
    Galaxy(rounds_per_batch=rounds).select(request, stream(0, "test"))
    assert recorder.asked == expected


def test_queries_asked_at_once_split_the_run_between_them():
    assert bought(line(16, 5, [0, 15], 3), Galaxy(rounds_per_batch=1)) == [7, 3, 1]


def test_excluded_rows_leave_the_order():
    assert bought(line(16, 5, [0, 15], 1).changed(excluded_ids=np.array([7]))) == [8]


def test_either_polarity_is_bisected():
    confidence = np.linspace(0.99, 0.01, 16)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    truth = np.array([0] * 4 + [1] * 8 + [0] * 4)  # of class 0 at both ends of the order
    pool = SmallPool(probs, probs, truth, np.array([0, 7, 15]), 6)
    assert bought(pool) == [3, 5, 4, 11, 13, 12]


def test_rows_are_bought_on_both_sides_of_a_cut_from_outside_to_inside():
    pool = line(16, 12, [4, 5], 3).changed(truth_N=np.array([1] * 5 + [0] * 11))
    assert bought(pool) == [3, 6, 2]


class NaiveGalaxy:
    """The definition, row by row, for a class drawn and a free row drawn by the given functions."""

    def __init__(self, pool, at_once=1, by_probability=False, descending_only=False):
        self.pool, self.at_once, self.descending_only = pool, at_once, descending_only
        wide = pool.probs_NC.astype(np.float64)
        largest = wide.max(axis=1, keepdims=True)
        margins = wide if by_probability else wide - largest + 1e-8 * largest
        orders = np.argsort(-margins, axis=0, kind="stable").T
        self.orders = [[row for row in order if row not in set(pool.excluded_ids)] for order in orders.tolist()]

    def select(self, draw_class, draw_row):
        truth = self.pool.truth_N
        answers = {row: truth[row] for row in self.pool.ids_L.tolist()}
        chosen = []
        while len(chosen) < self.pool.labels_to_buy:
            k = draw_class()
            order = self.orders[k]
            taken = set(answers) | set(chosen)
            marks = [(self.mark(answers[row], k) if row in answers else "?") if row in taken else "." for row in order]
            place = self.shortest(marks)
            place = self.beside(marks) if place is None else place
            chosen.append(draw_row(order, taken) if place is None else order[place])
            if len(chosen) % self.at_once == 0:
                answers |= {row: truth[row] for row in chosen}
        return chosen

    def mark(self, label, k):
        return str(int(label[k] if np.ndim(label) else label == k))

    def cuts(self, marks):
        taken = [place for place, mark in enumerate(marks) if mark != "."]
        for left, right in itertools.pairwise(taken):
            before = [mark for mark in marks[: left + 1] if mark in "01"]
            after = [mark for mark in marks[right:] if mark in "01"]
            if before and after and before[-1] != after[0]:
                yield left, right

    def shortest(self, marks):
        runs = [(right - left, left, right) for left, right in self.cuts(marks) if right - left > 1]
        return sum(min(runs)[1:]) // 2 if runs else None

    def beside(self, marks):
        free = [place for place, mark in enumerate(marks) if mark == "."]
        around = []  # (distance, left before right, larger places first on the left, smaller ones on the right, place)
        for left, right in self.cuts(marks):
            if right - left > 1 or (self.descending_only and (marks[left], marks[right]) != ("0", "1")):
                continue
            around += [(left - place, 0, -place, place) for place in free if place < left]
            around += [(place - right, 1, place, place) for place in free if place > right]
        return min(around)[-1] if around else None


@st.composite
def pools(draw, **changes):
    num_rows = draw(st.integers(3, 40))
    pool = random_pool(
        seed=draw(st.integers(0, 99)), num_rows=num_rows, num_classes=draw(st.integers(3, 5)), num_labeled=0, **changes
    )
    shuffled = np.random.default_rng(draw(st.integers(0, 99))).permutation(num_rows)
    num_labeled = draw(st.integers(0, num_rows - 2))
    pool = pool.changed(
        ids_L=shuffled[:num_labeled],
        excluded_ids=shuffled[num_labeled : num_labeled + draw(st.integers(0, 1))],
        labels_to_buy=draw(st.integers(1, num_rows - num_labeled - 1)),
        truth_N=np.where(draw(st.booleans()), pool.truth_N, pool.probs_NC.argmax(axis=1)),
    )
    if draw(st.booleans()):  # ties and saturated rows
        pool = pool.changed(probs_NC=np.round(pool.probs_NC, 1).astype(np.float32))
    return pool


def naive_default(pool, **how):
    rng = stream(0, "test")
    classes = iter(rng.integers(pool.probs_NC.shape[1], size=pool.labels_to_buy).tolist())

    def draw_row(_, taken):
        free = sorted(set(range(len(pool.probs_NC))) - taken - set(pool.excluded_ids.tolist()))
        return free[rng.integers(len(free))]

    return NaiveGalaxy(pool, **how).select(lambda: next(classes), draw_row)


@given(pool=pools(), rounds=st.none() | st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_buys_what_the_definition_buys(pool, rounds):
    at_once = 1 if rounds is None else -(-pool.labels_to_buy // rounds)
    assert bought(pool, Galaxy(rounds_per_batch=rounds)) == naive_default(pool, at_once=at_once)


def published_row(random):
    return lambda order, taken: next(
        order[place] for place in random.permutation(len(order)) if order[place] not in taken
    )


@given(pool=pools(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_buys_what_the_published_loop_buys(pool, seed):
    random = np.random.RandomState(seed)
    naive = NaiveGalaxy(pool, descending_only=True)
    expected = naive.select(lambda: random.randint(len(naive.orders)), published_row(random))
    draws = LegacyDraws(np.random.RandomState(seed))
    assert query_cuts(pool.request(Galaxy.needs), draws, at_once=1, descending_only=True).tolist() == expected


def multi_label(pool):
    rng = np.random.default_rng(0)
    probs_NC = rng.random(pool.probs_NC.shape).astype(np.float32)
    return pool.changed(
        probs_NC=probs_NC, truth_N=(rng.random(probs_NC.shape) < probs_NC).astype(np.int64), task="multi_label"
    )


@given(pool=pools(), at_once=st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_multi_label_bisects_the_probability_of_a_label(pool, at_once):
    pool = multi_label(pool)
    request = pool.request(Galaxy.needs, num_shards=2)
    ids = query_cuts(request, StreamDraws(stream(0, "test")), at_once=at_once).tolist()
    assert ids == naive_default(pool, at_once=at_once, by_probability=True)


def test_two_labels_of_a_multi_label_task_are_both_drawn():
    pool = multi_label(random_pool(num_classes=2, num_rows=60, labels_to_buy=30))
    assert bought(pool) == naive_default(pool, by_probability=True)


def test_the_published_loop_orders_a_multi_label_task_by_margin():
    pool = multi_label(random_pool(num_classes=4, num_rows=60, labels_to_buy=30))
    random = np.random.RandomState(5)
    naive = NaiveGalaxy(pool, descending_only=True)
    expected = naive.select(lambda: random.randint(4), published_row(random))
    draws = LegacyDraws(np.random.RandomState(5))
    assert query_cuts(pool.request(Galaxy.needs), draws, at_once=1, descending_only=True).tolist() == expected


def test_the_published_loop_knows_one_order_where_there_are_two_labels():
    pool = multi_label(random_pool(num_classes=2, num_rows=60, labels_to_buy=30))
    naive = NaiveGalaxy(pool, by_probability=True, descending_only=True)
    expected = naive.select(lambda: 0, published_row(np.random.RandomState(5)))
    draws = LegacyDraws(np.random.RandomState(5))
    assert query_cuts(pool.request(Galaxy.needs), draws, at_once=1, descending_only=True).tolist() == expected


def test_little_memory_changes_nothing():
    pool = random_pool(num_rows=300, num_classes=6, labels_to_buy=100)
    request = pool.request(Galaxy.needs)
    least = Galaxy().least_memory(request.shape)
    tight = dataclasses.replace(request, memory_bytes=least)
    assert Galaxy().select(tight, stream(0, "test")).tolist() == bought(pool)


def test_free_rows_are_found_by_rank():
    mask = np.random.default_rng(0).random(3000) < 0.3
    free = FreeRows(mask.copy())
    for row in np.flatnonzero(mask)[::3]:
        free.take(int(row))
        mask[row] = False
    assert free.num_rows == mask.sum()
    assert [free.at(rank) for rank in range(free.num_rows)] == np.flatnonzero(mask).tolist()


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(SpecError, match="`rounds_per_batch` must be at least 1, got 0"):
        Galaxy(rounds_per_batch=0)
    with pytest.raises(SpecError, match="leave out `rounds_per_batch`"):
        Galaxy(compatibility="labelbench", rounds_per_batch=2)
