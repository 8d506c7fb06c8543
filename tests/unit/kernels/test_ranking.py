from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels.ranking import KSmallest, k_smallest, merge_smallest

few_values = st.lists(st.integers(0, 4), min_size=1, max_size=40)


@given(scores=few_values, k=st.integers(1, 50), seed=st.integers(0, 9))
@settings(deadline=None)
def test_the_k_smallest_are_the_head_of_a_full_sort(scores, k, seed):
    ids = np.random.default_rng(seed).permutation(len(scores))
    ranked = k_smallest(np.array(scores, float), ids, k)
    expected = sorted(zip(scores, ids.tolist(), strict=True))[:k]
    assert list(zip(ranked.scores_K.tolist(), ranked.ids_K.tolist(), strict=True)) == expected


@given(scores=few_values, k=st.integers(1, 20), border=st.integers(0, 40))
@settings(deadline=None)
def test_parts_merge_to_the_whole(scores, k, border):
    scores, ids = np.array(scores, float), np.arange(len(scores))
    parts = [k_smallest(scores[:border], ids[:border], k), k_smallest(scores[border:], ids[border:], k)]
    assert merge_smallest(parts, k).ids_K.tolist() == k_smallest(scores, ids, k).ids_K.tolist()


@given(scores=few_values, k=st.integers(1, 20), cuts=st.lists(st.integers(0, 40), max_size=5), seed=st.integers(0, 9))
@settings(deadline=None)
def test_scores_that_arrive_in_parts_leave_the_k_smallest(scores, k, cuts, seed):
    scores, ids = np.array(scores, float), np.arange(len(scores))
    least = KSmallest(k)
    parts = np.split(np.random.default_rng(seed).permutation(len(scores)), sorted(cuts))
    for part in parts:
        worth_it = part[scores[part] <= least.bar]
        least.offer(scores[worth_it], ids[worth_it])
    assert least.ranked().ids_K.tolist() == k_smallest(scores, ids, k).ids_K.tolist()


def test_the_bar_falls_to_the_kth_smallest_seen():
    least = KSmallest(2)
    least.offer(np.array([5.0]), np.array([0]))
    assert least.bar == np.inf
    least.offer(np.array([3.0, 4.0, 9.0]), np.array([1, 2, 3]))
    assert least.bar == 4
    least.offer(np.array([1.0, 4.0]), np.array([4, 5]))
    assert least.bar == 3


def test_parts_may_come_from_several_threads():
    scores = np.random.default_rng(0).integers(50, size=4000).astype(float)
    least = KSmallest(100)
    with ThreadPoolExecutor(4) as threads:
        ids = [np.arange(first, first + 40) for first in range(0, 4000, 40)]
        list(threads.map(lambda part: least.offer(scores[part], part), ids))
    assert least.ranked().ids_K.tolist() == np.argsort(scores, kind="stable")[:100].tolist()
