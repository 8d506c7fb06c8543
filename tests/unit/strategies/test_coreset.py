import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import random_pool

from labelbench_ray.kernels.k_center import squared_distance
from labelbench_ray.seeding import stream
from labelbench_ray.strategies import coreset
from labelbench_ray.strategies.coreset import CoreSet


def bought(pool, num_shards=1):
    return CoreSet().select(pool.request(CoreSet.needs, num_shards), stream(0, "test")).tolist()


def naive(pool):
    """One centre after another, every distance anew."""
    centres, left, chosen = pool.ids_L.tolist(), pool.request(CoreSet.needs).candidate_ids().tolist(), []
    for _ in range(pool.labels_to_buy):
        distance = [
            squared_distance(pool.embeddings_ND[centres], pool.embeddings_ND[row]).min(initial=np.inf) for row in left
        ]
        chosen.append(left.pop(int(np.argmax(distance))))
        centres.append(chosen[-1])
    return chosen


@given(
    seed=st.integers(0, 50),
    num_labeled=st.integers(0, 20),
    width=st.integers(1, 5),
    grid=st.booleans(),
    propose=st.integers(1, 9),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_plain_greedy_loop_however_few_rows_are_proposed(seed, num_labeled, width, grid, propose):
    pool = random_pool(seed, num_rows=70, width=width, num_labeled=num_labeled, labels_to_buy=30)
    if grid:
        pool = pool.changed(embeddings_ND=np.round(pool.embeddings_ND))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "PROPOSED_PER_BATCH", propose)
        assert bought(pool, num_shards=3) == naive(pool)


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
