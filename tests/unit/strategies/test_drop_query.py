import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.clusters import nearest_to_centres
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.drop_query import DropQuery


def bought(strategy, pool, **how):
    return strategy.select(pool.request(strategy.needs, **how), stream(0, "test")).tolist()


def candidates_by_a_loop(strategy, pool, rng):
    """Rows for sale on which more than half of the passes disagree, pass by pass and row by row."""
    weight, seed, found = pool.last_layer.weight_CD, int(rng.integers(2**63)), []
    for tile in range(-(-len(pool.probs_NC) // pool.tile_rows)):
        drawn = stream(seed, "dropout", tile)
        drawn.random(pool.tile_rows)
        masks = [drawn.random((pool.tile_rows, 5), np.float32) >= strategy.dropout for _ in range(strategy.num_passes)]
        for place in range(pool.tile_rows):
            row = tile * pool.tile_rows + place
            if row < len(pool.probs_NC) and row not in pool.ids_L:
                x = pool.embeddings_ND[row]
                said = [(weight @ (x * mask[place] / (1 - strategy.dropout))).argmax() for mask in masks]
                if sum(one != (weight @ x).argmax() for one in said) > strategy.num_passes / 2:
                    found.append(row)
    return np.array(found)


@pytest.mark.parametrize("num_passes", [3, 4])
def test_clusters_the_rows_on_which_most_passes_disagree(num_passes):
    strategy = DropQuery(num_passes=num_passes)
    pool = random_pool(num_rows=300, labels_to_buy=20, tile_rows=32)
    rng = stream(0, "test")
    ids = candidates_by_a_loop(strategy, pool, rng)
    assert 20 < len(ids) < 200
    assert bought(strategy, pool, num_shards=3) == ids[nearest_to_centres(pool.embeddings_ND[ids], 20, rng)].tolist()


def test_too_few_candidates_are_all_bought_and_others_drawn():
    strategy, pool = DropQuery(), random_pool(num_rows=300, labels_to_buy=250, tile_rows=32)
    ids = candidates_by_a_loop(strategy, pool, stream(0, "test"))
    found = bought(strategy, pool)
    assert set(found[: len(ids)]) == set(ids.tolist())
    assert len(set(found)) == 250


def test_no_more_than_the_most_candidates_are_clustered():
    pool = random_pool(num_rows=300, labels_to_buy=5, tile_rows=32)
    few = bought(DropQuery(max_candidates=10), pool)
    assert set(few) <= set(candidates_by_a_loop(DropQuery(), pool, stream(0, "test")).tolist())
    assert few != bought(DropQuery(), pool)


@pytest.mark.parametrize(("field", "value"), [("dropout", 1.0), ("dropout", 0.0), ("num_passes", 0)])
def test_fields_out_of_range_are_refused(field, value):
    with pytest.raises(SpecError, match=f"drop_query: `{field}` must .* got {value}"):
        DropQuery(**{field: value})
