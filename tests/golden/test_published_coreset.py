"""LabelBench's own CoreSet (commit 9e23393) in compatibility mode, list for list; see ``test_selection``."""

import numpy as np
import pytest
from pools import random_pool
from test_selection import files_of, golden

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.coreset import CoreSet
from labelbench_ray.strategies.select import select


@files_of("coreset")
@pytest.mark.parametrize("num_shards", [1, 4])
def test_compatibility_mode_repeats_the_published_code(file, num_shards):
    pool, expected, _ = golden(file)
    request = pool.request(CoreSet.needs, num_shards)
    assert select(CoreSet(compatibility="labelbench"), request, stream(0, "test")).tolist() == expected


def test_compatibility_mode_begins_with_the_lowest_id_where_nothing_is_bought_and_sells_copies_once():
    pool = random_pool(num_rows=20, num_labeled=0, labels_to_buy=20).changed(embeddings_ND=np.ones((20, 3), np.float32))
    request = pool.request(CoreSet.needs)
    assert select(CoreSet(compatibility="labelbench"), request, stream(0, "test")).tolist() == list(range(20))
