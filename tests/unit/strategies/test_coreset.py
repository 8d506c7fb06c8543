import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import random_pool

from labelbench_ray.kernels import contenders, distance_bounds, products
from labelbench_ray.kernels.distance_bounds import squared_distance
from labelbench_ray.seeding import stream
from labelbench_ray.strategies import coreset, cover_worker
from labelbench_ray.strategies.coreset import CoreSet


def bought(pool, **how):
    return CoreSet().select(pool.request(CoreSet.needs, **how), stream(0, "test")).tolist()


def naive(pool):
    """One centre after another, of all distances between all rows."""
    rows = pool.embeddings_ND
    distance_NN = np.array([squared_distance(rows, row) for row in rows])
    nearest_N = distance_NN[pool.ids_L].min(axis=0, initial=np.inf)
    nearest_N[~pool.request(CoreSet.needs).for_sale()] = -1
    chosen = []
    for _ in range(pool.labels_to_buy):
        chosen.append(int(nearest_N.argmax()))
        nearest_N = np.minimum(nearest_N, distance_NN[chosen[-1]])
        nearest_N[chosen] = -1
    return chosen


def laid_out(pool, kind, rng):
    """The pool with embeddings of some kind."""
    embeddings = pool.embeddings_ND
    if kind == "on a grid":
        embeddings = np.round(embeddings)
    if kind == "copies":
        embeddings = embeddings[rng.integers(8, size=len(embeddings))]
    if kind == "tight clusters":
        embeddings = embeddings[rng.integers(8, size=len(embeddings))] + np.float32(1e-4) * embeddings
    if kind == "huge and small":
        embeddings = embeddings * np.float32(10) ** rng.integers(-30, 30, len(embeddings))[:, None].astype(np.float32)
    return pool.changed(embeddings_ND=embeddings)


KINDS = ["random", "on a grid", "copies", "tight clusters", "huge and small"]


@given(
    seed=st.integers(0, 50),
    num_labeled=st.integers(0, 20),
    width=st.integers(1, 5),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    proposed=st.integers(2, 9),
    for_all=st.sampled_from([1, 3, 128]),
    block=st.sampled_from([2, 5, 512]),
    tile_rows=st.sampled_from([1, 8, 50]),
    shards=st.sampled_from([1, 3]),
    scarce=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_plain_greedy_loop_however_the_work_is_cut(
    seed, num_labeled, width, kind, dtype, proposed, for_all, block, tile_rows, shards, scarce
):
    pool = random_pool(seed, num_rows=50, width=width, num_labeled=num_labeled, labels_to_buy=20, tile_rows=tile_rows)
    pool = laid_out(pool, kind, np.random.default_rng(seed)).changed(memory_bytes_per_shard=1 if scarce else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "rough_dtype", lambda device="cpu": dtype)
        patch.setattr(distance_bounds, "rough_dtype", lambda device="cpu": dtype)
        patch.setattr(coreset, "PROPOSED", proposed)
        patch.setattr(cover_worker, "CENTRES_FOR_ALL", for_all)
        patch.setattr(contenders, "BLOCK", block)
        patch.setattr(contenders, "NEIGHBOURS", 1)
        assert bought(pool, num_shards=shards) == naive(pool)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_plain_greedy_loop_on_more_rows_than_one_product_takes(kind):
    pool = random_pool(num_rows=1300, width=24, num_labeled=40, labels_to_buy=60, tile_rows=600)
    pool = laid_out(pool, kind, np.random.default_rng(0))
    expected = naive(pool)
    assert bought(pool) == expected
    assert bought(pool, num_shards=2, threads=2) == expected


def test_rows_at_one_distance_do_not_replace_each_other_forever_where_memory_is_short(monkeypatch):
    monkeypatch.setattr(coreset, "PROPOSED", 3)
    pool = random_pool(num_rows=60, num_labeled=1, labels_to_buy=50, memory_bytes_per_shard=1)
    pool = laid_out(pool, "copies", np.random.default_rng(0))
    assert bought(pool) == naive(pool)


def test_a_common_offset_that_drowns_float32_products_changes_nothing():
    pool = random_pool(num_rows=90, labels_to_buy=40)
    far = (np.round(pool.embeddings_ND * 64) / 64 + 1000).astype(np.float32)
    shifted = pool.changed(embeddings_ND=far)
    assert bought(shifted) == naive(shifted) == bought(pool.changed(embeddings_ND=far - 1000))


def test_with_nothing_bought_the_lowest_id_comes_first_then_the_farthest_from_it():
    pool = random_pool(num_labeled=0, labels_to_buy=2, excluded_ids=np.array([0, 1]))
    first, second = bought(pool)
    assert first == 2
    distance = squared_distance(pool.embeddings_ND, pool.embeddings_ND[2])
    distance[:2] = -1
    assert second == distance.argmax()


def test_copies_of_centres_are_bought_last_by_ascending_id():
    pool = random_pool(num_rows=30, labels_to_buy=21)
    embeddings = pool.embeddings_ND[np.arange(30) % 10]
    pool = pool.changed(embeddings_ND=embeddings, ids_L=np.arange(9), tile_rows=4)
    assert bought(pool) == [9, *range(10, 30)]


def test_most_rows_are_compared_with_few_centres(monkeypatch):
    seen = []
    bring = contenders.Contenders.bring_up_to_date

    def watched(rows, places, bar):
        seen.append(len(places))
        bring(rows, places, bar)

    monkeypatch.setattr(contenders.Contenders, "bring_up_to_date", watched)
    pool = random_pool(num_rows=4000, width=4, num_labeled=200, labels_to_buy=20, tile_rows=500)
    bought(pool)
    assert 0 < sum(seen) < 1000


def test_the_least_memory_grows_with_what_is_kept():
    pool = random_pool()
    shape = pool.request(CoreSet.needs).shape._replace(num_rows=1_280_000, width=512, num_labeled=1000)
    least = [CoreSet().least_memory(shape._replace(labels_to_buy=count)) / 2**30 for count in (1000, 30_000)]
    assert 0.05 < least[0] < least[1] < 1
    # The published code holds the pool several times over.
    assert CoreSet(compatibility="labelbench").least_memory(shape) / 2**30 > 3 * 1_280_000 * 512 * 4 / 2**30
