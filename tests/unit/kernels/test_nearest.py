import sys

import numpy as np
import pytest

from labelbench_ray.errors import SelectionError
from labelbench_ray.kernels.nearest import k_means, nearest_rows
from labelbench_ray.seeding import stream


def blobs(num_rows=200):
    rng = np.random.default_rng(0)
    group = np.arange(num_rows) % 2
    return group, (6 * np.eye(4)[group] + 0.1 * rng.normal(size=(num_rows, 4))).astype(np.float32)


def test_k_means_finds_groups_and_repeats_for_any_number_of_threads():
    import faiss

    group, rows = blobs()
    before = faiss.omp_get_max_threads()
    try:
        found = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(k_means(rows, 2, stream(1, "test")).tolist())
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    assert found[0] == found[1]
    assert len({(a, b) for a, b in zip(group.tolist(), found[0], strict=True)}) == 2


@pytest.mark.parametrize("num_clusters", [1, 3, 10])
def test_rows_that_are_all_alike_can_be_clustered(num_clusters):
    assert len(set(k_means(np.ones((10, 3), np.float32), num_clusters, stream(0, "test")).tolist())) == 1


def test_nearest_rows_equal_a_sort():
    _, rows = blobs(60)
    found = nearest_rows(rows[:7], rows, 5)
    squared = ((rows[:7, None].astype(float) - rows[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found.places_NK, np.argsort(squared, axis=1)[:, :5])
    np.testing.assert_allclose(found.squared_NK, np.sort(squared, axis=1)[:, :5], atol=1e-4)


def test_where_faiss_is_missing_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(SelectionError, match=r"needs faiss, .* `pip install 'labelbench_ray\[cpu\]'`"):
        k_means(np.ones((4, 2), np.float32), 2, stream(0, "test"))
