"""LabelBench's own DIRECT (commit 9e23393; B1 20, min_budget_per_class 60) on synthetic inputs, as a set."""

from pathlib import Path

import numpy as np
import pytest
from pools import SmallPool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.direct import Direct, query_as_published
from labelbench_ray.strategies.select import select

FILE = Path(__file__).parent / "selection" / "direct_n600_k4_s14.npz"
PUBLISHED = Direct(parallel_labels=20, min_budget_per_class=60, compatibility="labelbench")


@pytest.fixture
def golden():
    with np.load(FILE) as stored:
        told = dict(stored)
    return SmallPool(
        told["probabilities"], told["features"], told["labels"], told["labeled"], int(told["budget"]), tile_rows=32
    ), told


@pytest.mark.parametrize("num_shards", [1, 3])
def test_compatibility_mode_repeats_the_published_code(golden, num_shards):
    pool, told = golden
    random = np.random.RandomState(int(told["rng_seed"]))
    ids = query_as_published(PUBLISHED, pool.request(Direct.needs, num_shards), random)
    assert sorted(ids.tolist()) == sorted(told["selected"].tolist())
    assert pool.asked == ids.tolist()


def test_compatibility_mode_seeds_the_legacy_generator_from_the_stream(golden):
    pool, _ = golden
    random = np.random.RandomState(int(stream(3, "test").integers(2**32)))
    expected = query_as_published(PUBLISHED, pool.request(Direct.needs), random).tolist()
    assert select(PUBLISHED, pool.request(Direct.needs), stream(3, "test")).tolist() == expected
