import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels.ranking import k_smallest, merge_smallest

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
