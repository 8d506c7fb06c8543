"""What the embedding rows of the training benchmark compare is the same work."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The module under test."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("training_embedding")
    sys.path.remove(str(FOLDER))


def test_the_contestants_of_the_pipeline_make_the_same_tensors(benchmark):
    from labelbench_ray.datasets.decode import decode_rgb
    from labelbench_ray.encoders.open_clip import OpenClip

    photos, preprocess = [benchmark.photograph(seed) for seed in range(2)], OpenClip()._preprocess()
    ours = preprocess.apply([decode_rgb(photo) for photo in photos])
    for theirs in (
        benchmark._by_float_tensors(photos, preprocess),
        benchmark._by_open_clip(photos, preprocess),
    ):
        assert theirs.shape == ours.shape
        assert (theirs - ours).abs().max() < 0.06  # three of 256 levels


def test_photographs_have_the_bytes_of_photographs(benchmark):
    assert 30_000 < len(benchmark.photograph(0)) < 120_000


@pytest.mark.parametrize(("strong", "forwards"), [(1, 2), (5, 6)])
def test_clean_is_encoded_once_and_every_strong_view_once(benchmark, strong, forwards):
    assert benchmark.forwards_per_example(num_strong_views=strong) == forwards
