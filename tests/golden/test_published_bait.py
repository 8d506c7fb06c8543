"""BAIT repeats LabelBench's own selections (commit 9e23393), list for list. What a file holds: see test_selection."""

from pathlib import Path

import numpy as np
import pytest
from recordings import golden

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.bait import Bait, swap_as_published
from labelbench_ray.strategies.select import select

FILES = sorted((Path(__file__).parent / "selection").glob("bait_*.npz"))
AS_RECORDED = Bait(pca_width=8, compatibility="labelbench")


def test_there_is_a_recording():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("num_shards", [1, 4])
def test_compatibility_mode_repeats_the_published_code(file, num_shards):
    pool, expected, seed = golden(file)
    request = pool.request(Bait.needs, num_shards)
    assert swap_as_published(AS_RECORDED, request, np.random.RandomState(seed)).tolist() == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_compatibility_mode_seeds_the_legacy_generator_from_the_stream(file):
    pool, _, _ = golden(file)
    seed = int(stream(3, "test").integers(2**32))
    expected = swap_as_published(AS_RECORDED, pool.request(Bait.needs), np.random.RandomState(seed))
    assert select(AS_RECORDED, pool.request(Bait.needs), stream(3, "test")).tolist() == expected.tolist()
