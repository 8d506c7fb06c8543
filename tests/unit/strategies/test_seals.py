import numpy as np
import pytest
from pools import multi_label_pool, random_pool

from labelbench_ray.errors import SpecError
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.base import STRATEGIES
from labelbench_ray.strategies.seals import Seals
from labelbench_ray.strategies.select import select


def bought(strategy, pool, **how):
    return select(strategy, pool.request(strategy.needs, **how), stream(0, "test")).tolist()


def neighbours(pool, count):
    """Nearest rows for sale of every bought row, from all distances."""
    rows = pool.embeddings_ND.astype(float)
    squared = ((rows[pool.ids_L][:, None] - rows[None]) ** 2).sum(axis=2)
    squared[:, ~pool.request(Seals.needs).for_sale()] = np.inf
    return np.unique(np.argsort(squared, axis=1, kind="stable")[:, :count])


def excluding_all_but(pool, ids):
    return pool.changed(excluded_ids=np.setdiff1d(np.arange(len(pool.probs_NC)), np.union1d(ids, pool.ids_L)))


@pytest.mark.parametrize("strategy", ["margin", "entropy", "coreset"])
@pytest.mark.parametrize("make", [random_pool, multi_label_pool])
def test_equals_the_strategy_where_only_neighbours_are_for_sale(strategy, make):
    pool = make(num_rows=300)
    pool = pool.changed(excluded_ids=np.setdiff1d(np.arange(300), pool.ids_L)[:20])
    near = neighbours(pool, 6)
    assert 12 < len(near) < 60
    alone = bought(STRATEGIES.get(strategy)(), excluding_all_but(pool, near))
    assert bought(Seals(strategy=strategy, neighbours=6), pool) == alone


def test_with_enough_neighbours_it_is_the_strategy_itself():
    assert bought(Seals(neighbours=500), random_pool()) == bought(STRATEGIES.get("margin")(), random_pool())


def test_drawn_rows_join_where_neighbours_are_too_few():
    pool = random_pool(labels_to_buy=80)
    near = neighbours(pool, 2)
    ids = bought(Seals(neighbours=2), pool)
    assert set(near.tolist()) < set(ids)
    assert len(set(ids)) == 80


def test_strategies_of_probabilities_and_embeddings_can_be_wrapped():
    pool = random_pool(num_rows=200)
    for name in ("badge", "bait", "max_herding", "random"):
        assert len(set(bought(Seals(strategy=name, neighbours=9), pool, num_shards=3))) == 12


def test_what_cannot_be_wrapped_is_refused():
    for name in ("galaxy", "alfa_mix", "seals"):
        with pytest.raises(SpecError, match=f"seals: `strategy: {name}` cannot be wrapped"):
            Seals(strategy=name)
    with pytest.raises(SpecError, match="seals: `neighbours` must be at least 1, got 0"):
        Seals(neighbours=0)
