import numpy as np

from labelbench_ray.kernels.clusters import nearest_to_centres
from labelbench_ray.seeding import stream


def blobs(sizes, spread=0.1):
    """Rows of well separated clusters, each with its first row at the centre."""
    rng = np.random.default_rng(0)
    parts = []
    for number, size in enumerate(sizes):
        around = rng.normal(scale=spread, size=(size - 1, 3))
        parts.append(10 * number + np.concatenate([np.zeros((1, 3)), around, -around]))
    return np.concatenate(parts)


def test_one_row_stands_for_each_cluster_the_largest_first():
    rows = blobs([5, 20, 10])  # 9, 39 and 19 rows
    assert nearest_to_centres(rows, 3, stream(0, "test")).tolist() == [9, 48, 0]


def test_coinciding_rows_are_filled_up_from_the_first():
    rows = np.repeat([[0.0, 0.0], [5.0, 5.0]], [6, 4], axis=0)
    assert nearest_to_centres(rows, 5, stream(0, "test")).tolist() == [0, 6, 1, 2, 3]


def test_as_many_clusters_as_rows_are_all_rows():
    rows = blobs([4])
    assert sorted(nearest_to_centres(rows, 7, stream(0, "test")).tolist()) == list(range(7))


def test_a_seed_decides():
    rows = np.random.default_rng(0).normal(size=(200, 4))
    found = [nearest_to_centres(rows, 12, stream(seed, "test")).tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
