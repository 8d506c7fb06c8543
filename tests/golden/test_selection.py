"""Selections of LabelBench's own strategies (commit 9e23393) on synthetic inputs, list for list.

Each file: features (N, d), probabilities (N, K), labels (N,), labeled (bought before, in order), budget, rng_seed of
the legacy generator that GALAXY draws from, selected (in order).
"""

from pathlib import Path

import numpy as np
import pytest
from recordings import golden

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.base import STRATEGIES
from labelbench_ray.strategies.galaxy import Galaxy, LegacyDraws, query_cuts
from labelbench_ray.strategies.select import select

FILES = sorted((Path(__file__).parent / "selection").glob("*.npz"))


def files_of(*names):
    found = [file for file in FILES if file.stem.split("_")[0] in names]
    assert {file.stem.split("_")[0] for file in found} == set(names)
    return pytest.mark.parametrize("file", found, ids=lambda file: file.stem)


@files_of("confidence", "entropy", "margin", "coreset")
@pytest.mark.parametrize("num_shards", [1, 4])
def test_default_mode_repeats_the_published_code(file, num_shards):
    pool, expected, _ = golden(file)
    strategy = STRATEGIES.get(file.stem.split("_")[0])()
    assert select(strategy, pool.request(strategy.needs, num_shards), stream(0, "test")).tolist() == expected


@files_of("confidence", "entropy", "margin")
@pytest.mark.parametrize("num_shards", [1, 4])
def test_compatibility_mode_repeats_the_published_code(file, num_shards):
    pool, expected, _ = golden(file)
    strategy = STRATEGIES.get(file.stem.split("_")[0])(compatibility="labelbench")
    assert select(strategy, pool.request(strategy.needs, num_shards), stream(0, "test")).tolist() == expected


@files_of("galaxy")
def test_galaxy_in_compatibility_mode_repeats_the_published_code(file):
    pool, expected, seed = golden(file)
    draws = LegacyDraws(np.random.RandomState(seed))
    request = pool.request(Galaxy.needs, num_shards=3)
    assert query_cuts(request, draws, at_once=1, descending_only=True).tolist() == expected
    assert pool.asked == expected


@files_of("galaxy")
def test_compatibility_mode_seeds_the_legacy_generator_from_the_stream(file):
    pool, _, _ = golden(file)
    seed = int(stream(3, "test").integers(2**32))
    draws = LegacyDraws(np.random.RandomState(seed))
    expected = query_cuts(pool.request(Galaxy.needs), draws, at_once=1, descending_only=True)
    strategy = Galaxy(compatibility="labelbench")
    assert select(strategy, pool.request(Galaxy.needs), stream(3, "test")).tolist() == expected.tolist()
