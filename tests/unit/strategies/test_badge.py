import itertools
from dataclasses import replace

import numpy as np
import pytest
from pools import SmallPool, random_pool

from labelbench_ray.errors import SelectionError
from labelbench_ray.kernels import falls
from labelbench_ray.kernels.gradients import residuals, squared_lengths
from labelbench_ray.seeding import stream
from labelbench_ray.shards import spread_locally
from labelbench_ray.strategies import badge
from labelbench_ray.strategies.badge import Badge, spread_out
from labelbench_ray.strategies.badge_worker import GradientWorker
from labelbench_ray.strategies.base import PoolShape
from labelbench_ray.strategies.select import select

DRAWS = 150


def law(pool, first):
    """Probability of every ordered outcome of three rows, from gradients written out."""
    q = residuals(pool.probs_NC, "multi_class")
    gradients = np.einsum("nc,nd->ncd", q, pool.embeddings_ND).reshape(len(q), -1)
    squared = np.square(gradients[:, None] - gradients[None]).sum(axis=2)
    norms = np.square(gradients).sum(axis=1)
    rows = [row for row in range(len(q)) if row not in pool.ids_L]
    norms[pool.ids_L] = 0
    start = {int(norms.argmax()): 1.0} if first == "largest" else {row: norms[row] / norms.sum() for row in rows}
    chances = {}
    for one, two, three in itertools.permutations(rows, 3):
        after_one = squared[one]
        after_two = np.minimum(squared[one], squared[two])
        second = after_one[two] / after_one[rows].sum()
        chances[one, two, three] = start.get(one, 0.0) * second * after_two[three] / after_two[rows].sum()
    return chances


def law_pool(rectified):
    """Four rows for sale, two of them close: far nearer than lengths tell, so that weights alone would be far off."""
    pool = random_pool(5, num_rows=5, width=3, num_labeled=1, labels_to_buy=3, tile_rows=3)
    one, other = np.delete(np.arange(5), pool.ids_L)[[1, 3]]
    pool.embeddings_ND[other] = pool.embeddings_ND[one] + np.float32(0.4) * pool.embeddings_ND[other]
    pool.probs_NC[other] = pool.probs_NC[one]
    return pool.changed(embeddings_ND=np.abs(pool.embeddings_ND)) if rectified else pool


PATHS = {
    "float32": {"WORK_PER_CLASS": 1 << 40},
    "class by class": {"WORK_PER_CLASS": 0},
    "rough": {"WORK_PER_CLASS": 0, "ROUGH_WORK": 0},
}


ways = pytest.mark.parametrize(
    ("patience", "first", "path", "rectified"),
    [
        (0.0, "largest", "float32", False),
        (0.3, "drawn", "float32", True),
        (1.0, "largest", "class by class", True),
        (np.inf, "largest", "rough", True),
        (np.inf, "drawn", "rough", False),
    ],
    ids=["passes always", "passes at times", "default, class by class", "never, rough", "never, rough and signed"],
)


@ways
def test_ordered_outcomes_follow_the_k_means_pp_law(monkeypatch, patience, first, path, rectified):
    check_law(monkeypatch, patience, first, path, rectified, DRAWS)


@pytest.mark.slow
@ways
def test_ordered_outcomes_follow_the_k_means_pp_law_closely(monkeypatch, patience, first, path, rectified):
    check_law(monkeypatch, patience, first, path, rectified, 20 * DRAWS)


def check_law(monkeypatch, patience, first, path, rectified, draws):
    for name, value in PATHS[path].items():
        monkeypatch.setattr(falls, name, value)
    monkeypatch.setattr(badge, "FEWEST", 3)  # several blocks a selection
    pool = law_pool(rectified)
    from scipy.stats import chisquare

    expected = {outcome: chance for outcome, chance in law(pool, first).items() if chance > 0}
    assert sum(expected.values()) == pytest.approx(1)
    rng = stream(0, "test")
    request = pool.request(Badge.needs)
    drawn = [tuple(spread_out(request, rng, first=first, patience=patience).tolist()) for _ in range(draws)]
    assert set(drawn) <= set(expected)
    counts = np.array([drawn.count(outcome) for outcome in expected])
    chances = np.array(list(expected.values())) * draws
    rare = chances < 5  # the usual rule of the test: pool what is expected less than five times
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        chances = np.append(chances[~rare], chances[rare].sum())
    assert chisquare(counts, chances).pvalue > 1e-3


def test_candidates_stand_in_proportion_to_their_distance_however_loose_weights_are(monkeypatch):
    """One step of the law, from a thousand candidates at once."""
    from scipy.stats import chisquare

    pool = random_pool(num_rows=60, labels_to_buy=8)
    monkeypatch.setattr(badge, "largest_block", lambda labels_to_buy: 1000)
    search = badge._Search(pool.request(Badge.needs, num_shards=2), stream(0, "test"), np.inf)
    search.take_largest()
    monkeypatch.setattr(badge, "FEWEST", 3)
    while len(search.chosen) < 4:
        search._block = 3
        search.try_block()
    for worker in search._workers._workers:
        worker._weights *= np.random.default_rng(0).uniform(1, 6, worker._weights.shape)
    search._sums = np.concatenate(search._workers.each("sums"))
    judged = []
    monkeypatch.setattr(badge, "walk", lambda rows, found, task, **how: judged.append((rows, found)))
    monkeypatch.setattr(search, "_settle", lambda rows, result: None)
    search._block = 1000
    search.try_block()
    ((rows, found),) = judged
    counts = np.bincount(rows.ids_N[found.nearest_S == np.inf], minlength=60)
    gradients = np.einsum("nc,nd->ncd", residuals(pool.probs_NC, "multi_class"), pool.embeddings_ND).reshape(60, -1)
    nearest = np.square(gradients[:, None] - gradients[search.chosen]).sum(axis=2).min(axis=1)
    nearest[pool.ids_L] = 0
    nearest[search.chosen] = 0
    assert not counts[nearest == 0].any()
    counts, nearest = counts[nearest > 0], nearest[nearest > 0]
    assert chisquare(counts, nearest / nearest.sum() * counts.sum()).pvalue > 1e-3


def test_the_first_is_the_row_of_largest_gradient_ties_to_the_lowest_id():
    pool = random_pool(labels_to_buy=1)
    norms = np.prod(squared_lengths(pool.probs_NC, pool.embeddings_ND, "multi_class"), axis=0)
    norms[pool.ids_L] = 0
    (first,) = Badge().select(pool.request(Badge.needs, num_shards=5), stream(0, "test"))
    assert first == norms.argmax()
    alike = pool.changed(
        probs_NC=pool.probs_NC[np.full(133, first)], embeddings_ND=pool.embeddings_ND[np.full(133, first)]
    )
    (lowest,) = Badge().select(alike.request(Badge.needs, num_shards=5), stream(0, "test"))
    assert lowest == min(set(range(133)) - set(pool.ids_L.tolist()))


def test_when_no_mass_is_left_the_rest_is_drawn_uniformly():
    pool = SmallPool(
        np.full((10, 2), 0.5), np.repeat(np.eye(2, dtype=np.float32), 5, axis=0), np.zeros(10, int), np.array([1]), 3
    )
    rng = stream(0, "test")
    bought = np.array([Badge().select(pool.request(Badge.needs), rng) for _ in range(200)])
    assert (bought[:, 0] == 0).all()
    assert (bought[:, 1] >= 5).all()  # the only direction with mass left
    thirds = np.bincount(bought[:, 2], minlength=10)
    assert thirds[[0, 1]].sum() == 0
    assert (thirds[2:5] > 10).all()  # 200 / 7 = 29 expected
    assert (thirds[5:] > 10).all()


def passes_over(monkeypatch, pool):
    """How many centres each pass over the pool brought."""
    brought = []
    refresh = GradientWorker.refresh
    monkeypatch.setattr(
        GradientWorker,
        "refresh",
        lambda self, accepted: brought.append(self._centres.count + len(accepted)) or refresh(self, accepted),
    )
    ids = Badge().select(pool.request(Badge.needs), stream(0, "test"))
    assert len(set(ids.tolist())) == pool.labels_to_buy
    return brought


def test_lengths_and_rejected_candidates_make_passes_over_the_pool_needless(monkeypatch):
    assert not passes_over(monkeypatch, random_pool(num_rows=2000, width=20, labels_to_buy=200, tile_rows=256))


def test_a_pool_of_copies_is_passed_over_once_rejections_have_cost_as_much(monkeypatch):
    pool = random_pool(num_rows=2000, width=20, labels_to_buy=200, tile_rows=256)
    period = np.arange(2000) % 40
    copies = pool.changed(embeddings_ND=pool.embeddings_ND[period], probs_NC=pool.probs_NC[period])
    assert 1 <= len(passes_over(monkeypatch, copies)) <= 5


def test_a_small_memory_changes_nothing():
    pool = random_pool(num_rows=300, labels_to_buy=60)
    expected = Badge().select(pool.request(Badge.needs), stream(0, "test")).tolist()
    parts = [replace(part, memory_bytes=2000) for part in pool.shard_rows(Badge.needs, 2)]  # a few tiles each
    request = pool.request(Badge.needs, spread=spread_locally(parts))
    assert Badge().select(request, stream(0, "test")).tolist() == expected


@pytest.mark.parametrize("compatibility", ["none", "labelbench"])
def test_too_little_memory_is_refused_with_the_memory_it_takes(compatibility):
    strategy = Badge(compatibility=compatibility)
    shape = PoolShape(1_280_000, 1000, 512, 4096, 1000, 50_000)
    assert strategy.least_memory(shape) < (4 if compatibility == "none" else 40) << 30
    request = random_pool().request(Badge.needs)
    least = strategy.least_memory(request.shape)
    select(strategy, replace(request, memory_bytes=least), stream(0, "test"))
    with pytest.raises(SelectionError, match="strategy badge: needs at least"):
        select(strategy, replace(request, memory_bytes=least - 1), stream(0, "test"))


def test_a_multi_label_task_uses_the_gradient_of_each_label():
    pool = random_pool(labels_to_buy=30)
    ids = Badge().select(pool.changed(task="multi_label").request(Badge.needs), stream(0, "test"))
    assert len(set(ids.tolist())) == 30
    assert ids.tolist() != Badge().select(pool.request(Badge.needs), stream(0, "test")).tolist()
