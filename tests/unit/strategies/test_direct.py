import dataclasses
import tracemalloc
from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pools import SmallPool, random_pool

from labelbench_ray.errors import SelectionError, SpecError
from labelbench_ray.kernels.threshold import leap
from labelbench_ray.seeding import stream
from labelbench_ray.strategies import class_lines
from labelbench_ray.strategies.class_lines import ClassLine, Purchases
from labelbench_ray.strategies.class_margins import ClassMargins
from labelbench_ray.strategies.direct import Direct, Queries
from labelbench_ray.strategies.select import select

PUBLISHED = Direct(compatibility="labelbench")


class Trips:
    """The oracle, and what was asked in which trip."""

    def __init__(self, pool):
        self.pool, self.ids = pool, []

    def __call__(self, ids):
        self.ids.append(ids.tolist())
        return self.pool.ask(ids)


def trips(pool, strategy, seed=0, **how):
    oracle = Trips(pool)
    request = dataclasses.replace(pool.request(Direct.needs, **how), ask=oracle)
    ids = select(strategy, request, stream(seed, "test")).tolist()
    assert list(chain(*oracle.ids)) == ids
    return oracle.ids


def bought(pool, strategy):
    return list(chain(*trips(pool, strategy)))


def line(truth, bought, labels_to_buy):
    """Two classes along a line: ids stand in the order of class 0."""
    confidence = np.linspace(0.99, 0.01, len(truth))
    probs = np.stack([confidence, 1 - confidence], axis=1)
    return SmallPool(probs, probs, np.array(truth), np.array(bought), labels_to_buy)


def border_at(border, num_rows=400):
    return [0] * border + [1] * (num_rows - border)


@pytest.mark.parametrize("strategy", [Direct(parallel_labels=5), Direct(parallel_labels=5, compatibility="labelbench")])
@pytest.mark.parametrize("border", [37, 200, 391])
def test_closes_in_on_where_the_class_ends(strategy, border):
    pool = line(border_at(border), [0, 399], 60)
    ids = sorted(bought(pool, strategy))
    assert {border - 2, border - 1, border, border + 1} <= set(ids)
    assert sum(abs(row - border) < 25 for row in ids) > (30 if strategy.compatibility == "none" else 20)


def test_noisy_answers_do_not_lead_it_astray():
    truth = np.array(border_at(200))
    noisy = np.random.default_rng(0).choice(400, 40, replace=False)
    truth[noisy] = 1 - truth[noisy]
    ids = bought(line(truth, np.arange(0, 400, 40), 60), Direct(parallel_labels=5, min_budget_per_class=15))
    assert abs(np.median(ids) - 200) < 60
    assert sum(abs(row - 200) < 40 for row in ids) > 25


@pytest.mark.parametrize("truth", [[0] * 50, [1] * 50])
@pytest.mark.parametrize("strategy", [Direct(), PUBLISHED])
def test_pools_of_one_class_are_sold_too(truth, strategy):
    assert len(bought(line(truth, [10, 20, 30], 47), strategy)) == 47


def three_classes(labels_to_buy):
    """Labels bought: 6 of class 0, 1 of class 1, 3 of class 2."""
    pool = random_pool(seed=1, num_rows=200, num_labeled=0)
    of = [np.flatnonzero(pool.truth_N == k) for k in range(3)]
    ids_L = np.concatenate([of[0][:6], of[1][:1], of[2][:3]])
    return pool.changed(ids_L=ids_L, labels_to_buy=labels_to_buy)


@pytest.fixture
def spent(monkeypatch):
    """(half, class, labels) in the order in which they are spent."""
    calls = []

    def listen(half, name):
        plain = getattr(Queries, name)

        def told(self, class_index, num_labels):
            calls.append((half, int(class_index), int(num_labels)))
            plain(self, class_index, num_labels)

        monkeypatch.setattr(Queries, name, told)

    listen("shrink", "shrink_version_space")
    listen("buy", "buy_around_threshold")
    return calls


def test_the_rarest_classes_are_served_first(spent):
    trips(three_classes(30), Direct(min_budget_per_class=7))
    assert spent == [("shrink", 1, 7), ("shrink", 2, 7), ("buy", 1, 6), ("buy", 2, 5), ("buy", 0, 5)]


def test_a_large_budget_serves_every_class(spent):
    trips(three_classes(60), Direct(min_budget_per_class=7))
    assert [call for call in spent if call[0] == "shrink"] == [("shrink", 1, 10), ("shrink", 2, 10), ("shrink", 0, 10)]


def test_a_budget_under_the_number_of_classes_goes_to_the_rarest(spent):
    trips(three_classes(2), Direct())
    assert spent == [("shrink", 1, 1), ("buy", 1, 1), ("buy", 2, 0), ("buy", 0, 0)]


def test_the_published_code_spends_alike_on_every_class_and_the_frequent_ones_first(spent):
    trips(three_classes(30), Direct(min_budget_per_class=7, compatibility="labelbench"))
    assert spent[:3] == [("shrink", 0, 5), ("shrink", 2, 5), ("shrink", 1, 5)]
    assert [call[2] for call in spent[3:]] == [5, 5, 5]
    assert sorted(call[1] for call in spent[3:]) == [0, 1, 2]


@pytest.mark.parametrize("strategy", [Direct, lambda **fields: Direct(compatibility="labelbench", **fields)])
def test_a_trip_to_the_annotators_takes_as_many_labels_as_they_answer_at_once(strategy):
    pool = random_pool(num_rows=200, num_labeled=12, labels_to_buy=30)
    sizes = [len(trip) for trip in trips(pool, strategy(parallel_labels=4))]
    assert max(sizes) == 4
    assert len(sizes) < 15
    assert [len(trip) for trip in trips(pool, strategy(parallel_labels=1))] == [1] * 30


def test_answers_steer_the_next_draw():
    head, tail = (trips(line(border_at(border), [0, 399], 40), Direct(parallel_labels=5)) for border in (20, 380))
    assert head[0] == tail[0]
    assert max(head[3]) < min(tail[3])


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_margins_are_the_same_however_many_columns_fit(num_shards, num_classes):
    pool = random_pool(num_classes=num_classes)
    largest_N = pool.probs_NC.max(axis=1)
    for memory_bytes in (0, 2 * pool.probs_NC[:, 0].nbytes, 1 << 20):
        margins = ClassMargins(pool.request(Direct.needs, num_shards), memory_bytes)
        margins.expect(range(num_classes))
        for class_index in [*range(num_classes), 0]:
            expected = pool.probs_NC[:, class_index] - largest_N + 1e-8 * largest_N
            np.testing.assert_array_equal(margins.of(class_index), expected)


def test_two_classes_stand_in_opposite_orders_but_not_in_the_published_code():
    pool = random_pool(num_classes=2)
    p_N = pool.probs_NC[:, 1]
    for by_first_class in (False, True):
        margins = ClassMargins(pool.request(Direct.needs), 1 << 20, by_first_class=by_first_class)
        margins.expect([1])
        order = np.argsort(-margins.of(1), kind="stable")
        inside = order[p_N[order] > 0.5]
        assert (np.diff(p_N[inside]) >= 0).all() if by_first_class else (np.diff(p_N[order]) <= 0).all()


@st.composite
def class_lines_with_ties(draw):
    num_rows = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    kind = rng.choice(["for sale", "labelled", "excluded"], num_rows, p=[0.5, 0.4, 0.1])
    kind[0] = "for sale"
    pool = random_pool(num_rows=num_rows, num_labeled=0).changed(
        ids_L=rng.permutation(np.flatnonzero(kind == "labelled")),
        excluded_ids=np.flatnonzero(kind == "excluded"),
        labels_to_buy=1,
        truth_N=rng.integers(0, 2, num_rows),
    )
    margins_N = rng.integers(-draw(st.integers(1, 60)), 1, num_rows) / 7
    return ClassLine(1, margins_N, Purchases(pool.request(Direct.needs), 3))


def naive_line(line):
    """All usable rows in order, and their signs."""
    ids = sorted(np.flatnonzero(line.purchases.labels_N != -2).tolist(), key=lambda row: (-line.margins_N[row], row))
    return ids, [{-1: 0, 1: 1}.get(int(line.purchases.labels_N[row]), -1) for row in ids]


@given(line=class_lines_with_ties())
@settings(deadline=None, max_examples=100)
def test_uncertain_rows_are_those_a_walk_from_either_end_finds(line):
    ids, signs = naive_line(line)
    first, last = 0, len(ids) - 1
    for place, sign in enumerate(signs):
        if sign == -1:
            break
        first = place if sign == 1 else first
    for place in range(len(ids) - 1, -1, -1):
        if signs[place] == 1:
            break
        last = place if signs[place] == -1 else last
    assert line.uncertain_ids().tolist() == sorted(ids[first : last + 1])


@given(line=class_lines_with_ties(), num_ids=st.integers(1, 12), every=st.sampled_from([1, 3, 64]))
@settings(deadline=None, max_examples=100)
def test_nearest_rows_are_those_a_walk_in_turns_finds(line, num_ids, every):
    ids, signs = naive_line(line)
    accuracy = [sum(signs[:place]) - sum(signs[place:]) for place in range(len(ids) + 1)]
    start = int(np.argmax(accuracy))
    steps = [place for step in range(len(ids)) for place in (start - 1 - step, start + step)]
    expected = [ids[place] for place in steps if 0 <= place < len(ids) and signs[place] == 0][:num_ids]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_lines, "SAMPLE_EVERY", every)
        assert line.nearest_to_threshold(num_ids).tolist() == expected


@given(line=class_lines_with_ties(), num_keep=st.integers(1, 5), every=st.sampled_from([1, 2, 5]))
@settings(deadline=None, max_examples=100)
def test_a_leap_by_sample_is_part_of_a_leap(line, num_keep, every):
    ids_S = line.along(line.uncertain_ids())
    assume((line.signs_of(ids_S) == 0).any())
    whole = leap(line.signs_of(ids_S), num_keep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_lines, "SAMPLE_EVERY", every)
        patch.setattr(class_lines, "LEAST_SAMPLED", 0)
        part_S = line.along(line.leap_by_sample(np.sort(ids_S), num_keep))
    start = ids_S.tolist().index(part_S[0]) if len(part_S) else 0
    np.testing.assert_array_equal(part_S, ids_S[start : start + len(part_S)])
    assert (leap(line.signs_of(part_S), num_keep) + np.array([start, start]) == whole).all()


def test_large_version_spaces_are_not_sorted_whole(monkeypatch):
    pool = line(border_at(30_000, 60_000), range(0, 60_000, 100), 60)
    pool.truth_N[[400, 59_900]] = 1, 0
    sorted_rows = []
    plain = ClassLine.along
    monkeypatch.setattr(ClassLine, "along", lambda self, ids: (sorted_rows.append(len(ids)), plain(self, ids))[1])
    assert sum(abs(row - 30_000) < 1000 for row in bought(pool, Direct(parallel_labels=5))) > 30
    assert max(sorted_rows) < 20_000


@pytest.mark.parametrize("strategy", [Direct(), PUBLISHED])
def test_memory_stays_within_what_was_told(strategy):
    pool = random_pool(num_rows=50_000, num_labeled=1000, labels_to_buy=300, tile_rows=512)
    request = pool.request(Direct.needs)
    least = strategy.least_memory(request.shape)
    request = dataclasses.replace(request, memory_bytes=least)
    tracemalloc.start()
    ids = select(strategy, request, stream(0, "test"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < least
    assert ids.tolist() == bought(pool, strategy)


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(SpecError, match="`parallel_labels` must be at least 1, got 0"):
        Direct(parallel_labels=0)
    with pytest.raises(SpecError, match="`min_budget_per_class` must be at least 1, got -1"):
        Direct(min_budget_per_class=-1)


def test_a_multi_label_task_is_refused():
    with pytest.raises(SelectionError, match=r"strategy direct: .*multi_class task, got multi_label"):
        trips(random_pool(task="multi_label"), Direct())
