"""Selections of LabelBench's own BADGE (commit 9e23393), list for list.

Made outside this repository by running its class ``BADGESampling`` on synthetic inputs (rectified gaussian features
under a random softmax head) with stubs for the data set and the trainer, after ``np.random.seed(rng_seed)``. The keys
are those of the other files in ``selection``.
"""

from pathlib import Path

import numpy as np
import pytest
from pools import SmallPool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.badge import Badge
from labelbench_ray.strategies.published_badge import draw_as_published
from labelbench_ray.strategies.select import select

FILES = sorted((Path(__file__).parent / "selection").glob("badge_*.npz"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def golden(file):
    with np.load(file) as stored:
        told = dict(stored)
    arrays = (told["probabilities"], told["features"], told["labels"], told["labeled"])
    return SmallPool(*arrays, int(told["budget"]), tile_rows=32), told["selected"].tolist(), int(told["rng_seed"])


def test_there_are_files():
    assert [file.stem for file in FILES] == ["badge_n200_k10_s22", "badge_n300_k4_s21"]


@every_file
@pytest.mark.parametrize("num_shards", [1, 4])
def test_compatibility_mode_repeats_the_published_code(file, num_shards):
    pool, expected, seed = golden(file)
    request = pool.request(Badge.needs, num_shards)
    assert draw_as_published(request, np.random.RandomState(seed)).tolist() == expected


@every_file
def test_the_default_mode_begins_with_the_same_row(file):
    pool, expected, _ = golden(file)
    assert select(Badge(), pool.request(Badge.needs), stream(0, "test"))[0] == expected[0]


def test_compatibility_mode_seeds_the_legacy_generator_from_the_stream():
    pool, _, _ = golden(FILES[0])
    seed = int(stream(3, "test").integers(2**32))
    expected = draw_as_published(pool.request(Badge.needs), np.random.RandomState(seed))
    bought = select(Badge(compatibility="labelbench"), pool.request(Badge.needs), stream(3, "test"))
    assert bought.tolist() == expected.tolist()
