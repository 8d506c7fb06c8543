"""What every strategy promises, over the whole table."""

import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import random_pool

from labelbench_ray.errors import SelectionError
from labelbench_ray.seeding import stream
from labelbench_ray.shards import LocalWorkers, spread_locally
from labelbench_ray.strategies.base import STRATEGIES, Needs
from labelbench_ray.strategies.select import select

every_strategy = pytest.mark.parametrize("name", STRATEGIES.names())
needs_of = {name: STRATEGIES.get(name).needs for name in STRATEGIES.names()}
every_reading_strategy = pytest.mark.parametrize(
    "name", [name for name, needs in needs_of.items() if needs.probabilities or needs.embeddings]
)


def bought(name, pool, seed=0, strategy=None, **how):
    strategy = strategy or STRATEGIES.get(name)()
    return select(strategy, pool.request(strategy.needs, **how), stream(seed, "test")).tolist()


@st.composite
def pools(draw):
    """Small pools: sizes, ties, a budget up to everything, a class nobody has, nothing bought yet, excluded rows."""
    num_rows = draw(st.integers(2, 60))
    num_classes = draw(st.integers(2, 5))
    pool = random_pool(
        seed=draw(st.integers(0, 99)),
        num_rows=num_rows,
        num_classes=num_classes,
        num_labeled=0,
        tile_rows=draw(st.integers(1, 9)),
    )
    shuffled = np.random.default_rng(draw(st.integers(0, 99))).permutation(num_rows)
    num_labeled = draw(st.integers(0, num_rows - 1))
    num_excluded = draw(st.integers(0, min(3, num_rows - num_labeled - 1)))
    changes = {
        "ids_L": shuffled[:num_labeled],
        "excluded_ids": shuffled[num_labeled : num_labeled + num_excluded],
        "labels_to_buy": draw(st.integers(1, num_rows - num_labeled - num_excluded)),
        "truth_N": pool.truth_N % draw(st.integers(1, num_classes)),
    }
    if draw(st.booleans()):
        changes["embeddings_ND"] = np.round(pool.embeddings_ND)
        changes["probs_NC"] = np.round(pool.probs_NC, 1)
    return pool.changed(**changes)


@every_strategy
@given(pool=pools())
@settings(deadline=None, max_examples=40)
def test_buys_exactly_the_budget_of_distinct_ids_for_sale_and_repeats(name, pool):
    ids = bought(name, pool)
    assert len(set(ids)) == len(ids) == pool.labels_to_buy
    assert not set(ids) & (set(pool.ids_L.tolist()) | set(pool.excluded_ids.tolist()))
    if needs_of[name].labels_in_batch:
        assert pool.asked == ids
    assert bought(name, pool) == ids


@every_strategy
def test_a_pickled_copy_buys_the_same(name):
    pool = random_pool()
    copy = pickle.loads(pickle.dumps(STRATEGIES.get(name)()))
    assert bought(name, pool, strategy=copy) == bought(name, pool)


@every_strategy
def test_the_request_is_left_as_it_was(name):
    pool = random_pool(excluded_ids=np.array([3, 77]))
    strategy = STRATEGIES.get(name)()
    request = pool.request(strategy.needs)
    arrays = [request.ids_L, request.labels_L, request.excluded_ids, pool.probs_NC, pool.embeddings_ND, pool.truth_N]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    strategy.select(request, stream(0, "test"))
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def sharded_pools():
    plain = random_pool(num_rows=133, tile_rows=8, labels_to_buy=40)  # 17 tiles, the last one of 5 rows
    period = np.arange(133) % 12  # copies in every tile, across the borders of all shards
    tied = plain.changed(embeddings_ND=plain.embeddings_ND[period], probs_NC=plain.probs_NC[period])
    wide = random_pool(num_rows=500, num_classes=10, width=37, tile_rows=29, labels_to_buy=60, padding=0.25)
    return {
        "plain": plain,
        "tied": tied,
        "wide": wide,
        "single precision": wide.changed(probs_NC=wide.probs_NC.astype(np.float32)),
    }


@every_strategy
@pytest.mark.parametrize("kind", sharded_pools())
def test_shards_and_threads_change_nothing(name, kind):
    pool = sharded_pools()[kind]
    expected = bought(name, pool)
    for num_shards in (2, 8):
        assert all(len(part.tiles()) >= 2 for part in pool.shard_rows(needs_of[name], num_shards))
        assert bought(name, pool, num_shards=num_shards) == expected
        assert bought(name, pool, num_shards=num_shards, threads=2) == expected
    assert bought(name, pool, threads=2) == expected


@every_strategy
def test_what_pads_the_last_tile_changes_nothing(name):
    pool = random_pool()
    assert bought(name, pool.changed(padding=9.5)) == bought(name, pool)


class PickledWorkers(LocalWorkers):
    """Every call and answer goes through pickle, as between processes."""

    def each(self, method, *arguments):
        return [self._call(worker, method, arguments) for worker in self._workers]

    def one(self, index, method, *arguments):
        return self._call(self._workers[index], method, arguments)

    def _call(self, worker, method, arguments):
        return pickle.loads(pickle.dumps(getattr(worker, method)(*pickle.loads(pickle.dumps(arguments)))))


@every_strategy
def test_workers_may_live_in_other_processes(name):
    pool = random_pool()
    parts = pool.shard_rows(needs_of[name], 3)

    def spread(worker, *arguments):
        made = [pickle.loads(pickle.dumps(worker))(part, *pickle.loads(pickle.dumps(arguments))) for part in parts]
        return PickledWorkers([part.shard for part in parts], made)

    assert bought(name, pool, spread=spread) == bought(name, pool)


@every_reading_strategy
def test_the_comparison_notices_a_shard_that_is_not_asked(name):
    pool = random_pool(labels_to_buy=60)
    parts = pool.shard_rows(needs_of[name], 8)
    without_one = None
    with contextlib.suppress(Exception):  # failing is noticing too
        without_one = bought(name, pool, spread=spread_locally(parts[:5] + parts[6:]))
    assert without_one != bought(name, pool)


@every_reading_strategy
def test_reading_what_was_not_declared_is_refused(name):
    strategy = STRATEGIES.get(name)()
    with pytest.raises(SelectionError, match=f"strategy {name}: reads .* without declaring"):
        select(strategy, random_pool().request(Needs(labels_in_batch=True)), stream(0, "test"))


@every_reading_strategy
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused_by_name(name, value):
    pool = random_pool()
    pool.embeddings_ND[41, 2] = pool.probs_NC[41, 1] = value
    with pytest.raises(SelectionError, match=f"strategy {name}: .* of example 41 is NaN or infinite"):
        bought(name, pool, num_shards=3)


def hard_pools():
    pool = random_pool(num_rows=40, num_classes=4)
    sure = np.eye(4)[np.arange(40) % 3]
    return {
        "two classes": random_pool(num_rows=40, num_classes=2),
        "only one class was ever seen": pool.changed(truth_N=np.zeros(40, np.int64)),
        "all rows alike": pool.changed(embeddings_ND=np.ones((40, 5), np.float32), probs_NC=np.full((40, 4), 0.25)),
        "zero vectors": pool.changed(embeddings_ND=np.zeros((40, 5), np.float32)),
        "saturated": pool.changed(probs_NC=sure),
        "zero vectors and saturated": pool.changed(probs_NC=sure, embeddings_ND=np.zeros((40, 5), np.float32)),
        "everything that is left": pool.changed(labels_to_buy=31),
        "one row left": pool.changed(ids_L=np.delete(np.arange(40), 17), labels_to_buy=1),
        "nothing bought yet": pool.changed(ids_L=np.empty(0, np.int64)),
        "one tile": pool.changed(tile_rows=64),
        "one row per tile": pool.changed(tile_rows=1),
    }


@every_strategy
@pytest.mark.parametrize("kind", hard_pools())
def test_degenerate_pools_are_sold_too(name, kind):
    pool = hard_pools()[kind]
    expected = bought(name, pool)
    assert len(expected) == pool.labels_to_buy
    assert bought(name, pool, num_shards=4) == expected
