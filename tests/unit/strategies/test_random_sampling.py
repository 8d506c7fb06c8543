import numpy as np
from pools import random_pool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.random import RandomSampling


def test_every_row_for_sale_is_as_likely_at_every_place():
    pool = random_pool(num_rows=6, num_labeled=1, labels_to_buy=2)
    rng = stream(0, "test")
    bought = np.array([RandomSampling().select(pool.request(RandomSampling.needs), rng) for _ in range(2000)])
    for place in (0, 1):
        counts = np.bincount(bought[:, place], minlength=6)
        assert counts[pool.ids_L[0]] == 0
        # 400 expected, deviation 18
        assert (abs(np.delete(counts, pool.ids_L[0]) - 400) < 80).all()
