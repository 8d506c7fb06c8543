import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.errors import SelectionError, SpecError
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.cluster_margin import ClusterMargin, average_linkage, in_turn
from labelbench_ray.strategies.select import select


def bought(strategy, pool, **how):
    return select(strategy, pool.request(strategy.needs, **how), stream(0, "test")).tolist()


def naive_average_linkage(rows, num_clusters):
    """Merges the two groups of least mean distance until few enough are left."""
    distance = np.sqrt(((rows[:, None].astype(float) - rows[None]) ** 2).sum(axis=2))
    groups = [[row] for row in range(len(rows))]
    while len(groups) > num_clusters:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        a, b = min(pairs, key=lambda pair: distance[np.ix_(groups[pair[0]], groups[pair[1]])].mean())
        groups[b] += groups.pop(a)
    return sorted(sorted(group) for group in groups)


def test_clusters_are_those_of_average_linkage():
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    for num_clusters in (1, 7, 40):
        found = average_linkage(rows, num_clusters)
        groups = [np.flatnonzero(found == cluster).tolist() for cluster in np.unique(found)]
        assert sorted(groups) == naive_average_linkage(rows, num_clusters)


def test_clusters_take_turns_from_the_smallest_to_the_largest():
    clusters = np.array([7, 7, 7, 2, 2, 5, 7, 2])
    turns = clusters[in_turn(clusters, 8, stream(0, "test"))]
    assert turns.tolist() == [5, 2, 7, 2, 7, 2, 7, 7]
    assert sorted(in_turn(clusters, 8, stream(0, "test")).tolist()) == list(range(8))


def test_buys_among_the_rows_of_smallest_margin_one_of_every_cluster():
    pool = random_pool(num_rows=200, labels_to_buy=6)
    ids = bought(ClusterMargin(candidates_per_label=5), pool)
    ordered = np.sort(pool.probs_NC, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    margins[pool.ids_L] = np.inf
    candidates = np.sort(np.argsort(margins, kind="stable")[:30])
    assert set(ids) <= set(candidates.tolist())
    groups = naive_average_linkage(pool.embeddings_ND[candidates], 6)
    sizes = [len(group) for one in ids for group in groups if one in candidates[group]]
    assert sizes == sorted(map(len, groups))


def test_one_candidate_per_label_buys_the_smallest_margins():
    pool = random_pool()
    ordered = np.sort(pool.probs_NC, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    margins[pool.ids_L] = np.inf
    assert sorted(bought(ClusterMargin(candidates_per_label=1), pool)) == sorted(np.argsort(margins)[:12].tolist())


def test_a_budget_whose_candidates_cannot_be_clustered_is_refused():
    shape = random_pool().request(ClusterMargin.needs).shape._replace(num_rows=1_280_000, labels_to_buy=50_000)
    assert ClusterMargin().least_memory(shape) > 1000 << 30
    with pytest.raises(SelectionError, match="strategy cluster_margin: needs at least"):
        bought(ClusterMargin(), random_pool(memory_bytes=1000))


def test_parameters_out_of_range_are_refused():
    with pytest.raises(SpecError, match="cluster_margin: `candidates_per_label` must be at least 1, got 0"):
        ClusterMargin(candidates_per_label=0)
