from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import random_pool

from labelbench_ray import shards
from labelbench_ray.errors import SelectionError
from labelbench_ray.shards import LocalWorkers, Shard, cut_into_shards, owner_of, spread_locally
from labelbench_ray.strategies.base import Needs

BOTH = Needs(probabilities=True, embeddings=True)


@given(num_rows=st.integers(1, 500), tile_rows=st.integers(1, 40), num_shards=st.integers(1, 20))
@settings(deadline=None)
def test_shards_cover_all_tiles_in_order_and_evenly(num_rows, tile_rows, num_shards):
    shards = cut_into_shards(num_rows, tile_rows, num_shards)
    tiles = [tile for shard in shards for tile in shard.tiles()]
    assert tiles == list(range(-(-num_rows // tile_rows)))
    sizes = [len(shard.tiles()) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    assert len(shards) == min(num_shards, len(tiles))
    assert [owner_of(shards, tile) for tile in tiles] == [shard.index for shard in shards for _ in shard.tiles()]


def test_candidates_are_the_rows_of_a_tile_that_exist_and_are_for_sale():
    pool = random_pool(num_rows=11, tile_rows=4, ids_L=np.array([5, 10]), excluded_ids=np.array([0]), labels_to_buy=1)
    (rows,) = pool.shard_rows(BOTH)
    masks = [rows.candidates(tile).astype(int).tolist() for tile in rows.tiles()]
    assert masks == [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0]]


def test_rows_of_a_tile_are_those_of_its_ids():
    pool = random_pool(num_rows=11, tile_rows=4, num_labeled=1, labels_to_buy=1)
    (rows,) = pool.shard_rows(BOTH)
    assert rows.first_id(2) == 8
    np.testing.assert_array_equal(rows.probs(2)[:3], pool.probs_NC[8:])
    np.testing.assert_array_equal(rows.embeddings(1), pool.embeddings_ND[4:8])


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ("probs", "probabilities without declaring `Needs\\(probabilities=True\\)`"),
        ("embeddings", "embeddings without declaring"),
    ],
)
def test_reading_what_was_not_declared_is_refused(read, told):
    (rows,) = random_pool().shard_rows(Needs())
    with pytest.raises(SelectionError, match=f"reads {told}"):
        getattr(rows, read)(0)


@pytest.mark.parametrize(("value", "row"), [(np.nan, 0), (np.inf, 9), (-np.inf, 10)])
def test_a_row_that_is_not_finite_is_named(value, row):
    pool = random_pool(num_rows=11, tile_rows=4, num_labeled=1, labels_to_buy=1)
    pool.embeddings_ND[row, 1] = value
    (rows,) = pool.shard_rows(BOTH)
    with pytest.raises(SelectionError, match=f"embedding of example {row} is NaN or infinite"):
        rows.embeddings(row // 4)


def test_infinities_that_cancel_are_found_too():
    pool = random_pool(num_rows=11, tile_rows=4, num_labeled=1, labels_to_buy=1)
    pool.embeddings_ND[6, :2] = np.inf, -np.inf
    (rows,) = pool.shard_rows(BOTH)
    with pytest.raises(SelectionError, match="example 6"):
        rows.embeddings(1)


def test_finite_numbers_whose_squares_overflow_are_no_fault():
    pool = random_pool(num_rows=11, tile_rows=4, num_labeled=1, labels_to_buy=1)
    pool.embeddings_ND[6] = 1e30
    (rows,) = pool.shard_rows(BOTH)
    np.testing.assert_array_equal(rows.embeddings(1), pool.embeddings_ND[4:8])


def test_blocks_are_the_tile_in_order(monkeypatch):
    monkeypatch.setattr(shards, "BLOCK_BYTES", 3 * 3 * 8)  # three rows of three classes
    pool = random_pool(num_rows=23, tile_rows=8)
    (rows,) = pool.shard_rows(BOTH)
    for checked in (True, False):
        blocks = list(rows.probs_in_blocks(1, checked=checked))
        assert [len(block) for block in blocks] == [3, 3, 2]
        np.testing.assert_array_equal(np.concatenate(blocks), pool.probs_NC[8:16])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_block_is_checked_when_it_is_handed_out(value, monkeypatch):
    monkeypatch.setattr(shards, "BLOCK_BYTES", 3 * 3 * 8)
    pool = random_pool(num_rows=23, tile_rows=8)
    pool.probs_NC[12, 1] = value
    (rows,) = pool.shard_rows(BOTH)
    blocks = rows.probs_in_blocks(1)
    assert len(next(blocks)) == 3
    with pytest.raises(SelectionError, match="probability of example 12 is NaN or infinite"):
        next(blocks)
    assert len(list(rows.probs_in_blocks(1, checked=False))) == 3
    with pytest.raises(SelectionError, match="probability of example 12 is NaN or infinite"):
        rows.probs(1)


@pytest.mark.parametrize(("read", "what"), [("probs", "probability"), ("embeddings", "embedding")])
def test_a_tile_of_another_shape_than_told_is_refused(read, what):
    pool = random_pool(num_rows=11, tile_rows=4, num_labeled=1, labels_to_buy=1)
    (rows,) = pool.shard_rows(BOTH)
    taller = replace(rows, tile_rows=5)
    with pytest.raises(SelectionError, match=rf"{what} rows of tile 0 have shape \(4, [35]\), expected \(5, [35]\)"):
        getattr(taller, read)(0)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_of_tiles_come_in_tile_order(threads):
    _, second = random_pool(num_rows=40, tile_rows=4).shard_rows(BOTH, num_shards=2, threads=threads)
    assert second.map_tiles(lambda tile: tile * 10) == [50, 60, 70, 80, 90]
    assert second.on_threads(len, [(), (0, 0, 0), (0,)]) == [0, 3, 1]


class Counter:
    def __init__(self, rows, start):
        self.total = start + rows.shard.index

    def add(self, number):
        self.total += number
        return self.total


def test_workers_are_made_per_shard_and_keep_what_they_know():
    workers = spread_locally(random_pool().shard_rows(BOTH, 3))(Counter, 100)
    assert [shard.index for shard in workers.shards] == [0, 1, 2]
    assert workers.each("add", 1) == [101, 102, 103]
    assert workers.one(1, "add", 10) == 112
    assert workers.each("add", 0) == [101, 112, 103]


def test_local_workers_answer_in_shard_order():
    workers = LocalWorkers([Shard(0, 0, 1), Shard(1, 1, 2)], [[1, 2, 2], [2]])
    assert workers.each("count", 2) == [2, 1]
