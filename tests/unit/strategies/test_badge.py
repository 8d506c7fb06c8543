import itertools

import numpy as np
import pytest
from pools import SmallPool, random_pool

from labelbench_ray.kernels.k_means_pp import residuals
from labelbench_ray.seeding import stream
from labelbench_ray.strategies import badge
from labelbench_ray.strategies.badge import Badge, spread_out

DRAWS = 800


def law(pool, first):
    """Probability of every ordered outcome of three rows, from gradients written out."""
    q, _ = residuals(pool.probs_NC, "multi_class")
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


@pytest.mark.parametrize("patience", [0.0, 1.0, np.inf], ids=["always", "default", "never"])
@pytest.mark.parametrize("first", ["largest", "drawn"])
def test_ordered_outcomes_follow_the_k_means_pp_law(monkeypatch, first, patience):
    monkeypatch.setattr(badge, "CANDIDATES", 6)  # several blocks a selection
    pool = random_pool(5, num_rows=6, width=3, num_labeled=1, labels_to_buy=3, tile_rows=3)
    from scipy.stats import chisquare

    expected = {outcome: chance for outcome, chance in law(pool, first).items() if chance > 0}
    assert sum(expected.values()) == pytest.approx(1)
    rng = stream(0, "test")
    request = pool.request(Badge.needs)
    drawn = [tuple(spread_out(request, rng, first=first, patience=patience).tolist()) for _ in range(DRAWS)]
    assert set(drawn) <= set(expected)
    counts = np.array([drawn.count(outcome) for outcome in expected])
    chances = np.array(list(expected.values())) * DRAWS
    rare = chances < 5  # the usual rule of the test: pool what is expected less than five times
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        chances = np.append(chances[~rare], chances[rare].sum())
    assert chisquare(counts, chances).pvalue > 1e-3


def test_the_first_is_the_row_of_largest_gradient_ties_to_the_lowest_id():
    pool = random_pool(labels_to_buy=1)
    _, norms = residuals(pool.probs_NC, "multi_class")
    norms = norms * np.square(pool.embeddings_ND, dtype=float).sum(axis=1)
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
    bought = np.array([Badge().select(pool.request(Badge.needs), rng) for _ in range(300)])
    assert (bought[:, 0] == 0).all()
    assert (bought[:, 1] >= 5).all()  # the only direction with mass left
    thirds = np.bincount(bought[:, 2], minlength=10)
    assert thirds[[0, 1]].sum() == 0
    assert (thirds[2:5] > 20).all()  # 300 / 7 = 43 expected
    assert (thirds[5:] > 20).all()


def test_many_centres_need_few_passes_over_the_pool(monkeypatch):
    passes = []
    add = badge.GradientWorker.add
    monkeypatch.setattr(
        badge.GradientWorker, "add", lambda self, centres: passes.append(len(centres.a_N)) or add(self, centres)
    )
    pool = random_pool(num_rows=2000, width=20, labels_to_buy=200, tile_rows=256)
    Badge().select(pool.request(Badge.needs), stream(0, "test"))
    assert passes[0] == 1
    assert len(passes) < 60


def test_a_multi_label_task_uses_the_gradient_of_each_label():
    pool = random_pool(labels_to_buy=30)
    ids = Badge().select(pool.changed(task="multi_label").request(Badge.needs), stream(0, "test"))
    assert len(set(ids.tolist())) == 30
    assert ids.tolist() != Badge().select(pool.request(Badge.needs), stream(0, "test")).tolist()
