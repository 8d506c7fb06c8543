import operator

import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.kernels.tile_sums import sum_over_tiles, total
from labelbench_ray.strategies.base import Needs


@pytest.mark.parametrize("num_tiles", [1, 2, 3, 5, 8, 13])
def test_the_sum_is_the_same_to_the_last_bit_for_any_shards_and_threads(num_tiles):
    values = np.random.default_rng(0).normal(size=num_tiles) * 10.0 ** np.arange(num_tiles)
    pool = random_pool(num_rows=8 * num_tiles, num_labeled=0, labels_to_buy=1)

    def summed(num_shards, threads=1):
        parts = pool.shard_rows(Needs(), num_shards, threads)
        return total([sum_over_tiles(part, lambda tile: values[tile], operator.add) for part in parts], operator.add)

    expected = summed(1)
    assert expected == pytest.approx(values.sum())
    assert {summed(num_shards, threads) for num_shards in (1, 2, 3, 8) for threads in (1, 2)} == {expected}


def test_a_shard_holds_a_few_branches_not_a_value_per_tile():
    pool = random_pool(num_rows=8 * 64, num_labeled=0, labels_to_buy=1)
    one, two, three = pool.shard_rows(Needs(), 3)
    branches = [sum_over_tiles(part, lambda tile: [tile], operator.add) for part in (one, two, three)]
    assert max(map(len, branches)) <= 8
    assert total(branches, operator.add) == list(range(64))  # lower tiles come first in every sum
