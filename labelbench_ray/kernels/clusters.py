"""A few rows that stand for many: the nearest to each centre of k-means."""

import warnings

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.types import Floats

MOST_PASSES = 100
"""Of Lloyd's algorithm."""


def nearest_to_centres(rows_QD: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of ``count`` rows, one of each cluster, the largest cluster first; ties to the first row.

    k-means++ and Lloyd's algorithm by scikit-learn, on one thread, so that threads change nothing. Where clusters are
    empty because rows coincide, the first rows that stand for none fill up.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    seed = int(rng.integers(2**31))
    means = KMeans(count, n_init=1, max_iter=MOST_PASSES, random_state=seed)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct rows than clusters: filled up below
        clusters_Q = means.fit_predict(np.ascontiguousarray(rows_QD, np.float32))
    apart_QD = rows_QD - means.cluster_centers_[clusters_Q]
    order = np.lexsort((np.vecdot(apart_QD, apart_QD), clusters_Q))
    clusters, firsts, sizes = np.unique(clusters_Q[order], return_index=True, return_counts=True)
    chosen = order[firsts[np.lexsort((clusters, -sizes))]]
    others = np.setdiff1d(np.arange(len(rows_QD)), chosen)
    return np.concatenate([chosen, others])[:count].astype(np.int64)
