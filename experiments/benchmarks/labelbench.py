"""LabelBench's own strategy classes (commit 9e23393) on the same arrays.

The classes, and the data set class that tells them which rows are bought, are loaded from a checkout that the user
points to. Only the trainer is a stub: it hands out arrays. Numpy's generator is seeded as the published runs do.
Nothing of LabelBench is part of this project.
"""

import contextlib
import hashlib
import importlib
import io
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cases import OPTIONS
from numpy.typing import NDArray
from selection_pools import PoolArrays

COMMIT = "9e23393ba5dd48fc7c23293e441337a5e45a3edf"

CLASSES = {
    "random": ("random_sampling", "RandomSampling"),
    "confidence": ("confidence_sampling", "ConfidenceSampling"),
    "entropy": ("entropy_sampling", "EntropySampling"),
    "margin": ("margin_sampling", "MarginSampling"),
    "coreset": ("coreset_sampling", "CoresetSampling"),
    "badge": ("badge", "BADGESampling"),
    "galaxy": ("galaxy", "GALAXYSampling"),
    "direct": ("direct", "DIRECTSampling"),
    "bait": ("bait", "BAIT"),
}

BLOBS = {
    "strategy/strategy_impl/badge.py": "a65a1aef7be91890b3264e2c5849c05f8995343b",
    "strategy/strategy_impl/bait.py": "b080d93fea17eec2cdf6a0134e219bcfd99bc4b6",
    "strategy/strategy_impl/confidence_sampling.py": "92f118500efc0a00f580fc663cd2f5994cd29406",
    "strategy/strategy_impl/coreset_sampling.py": "5d7b576f0d9d9175acdbf96604843675fd8bf198",
    "strategy/strategy_impl/direct.py": "0bbf7bc0c87731d3e45621f1a2276ab65381889e",
    "strategy/strategy_impl/entropy_sampling.py": "1b35fedd31fb2aee983d2a076ae0ff436e030694",
    "strategy/strategy_impl/galaxy.py": "882b631ad01ba879308a9b265ab99c34b4c82912",
    "strategy/strategy_impl/margin_sampling.py": "2da7d8faf4df11dca66262f7cd45aa5ec40ab9de",
    "strategy/strategy_impl/random_sampling.py": "80d5afb1910860616e948c8264513651514a9160",
    "skeleton/dataset_skeleton.py": "19f9c93027fc26fc87e90130062c371450dc14b8",
    "skeleton/active_learning_skeleton.py": "829ebc157dd92d038575c128e18206075a36b261",
}
"""Git's hashes of the files at that commit, so that an archive can be verified as well as a clone."""

CONFIG = {
    "working_memory_GB": 2,
    "B1": OPTIONS["direct"]["parallel_labels"],
    "min_budget_per_class": OPTIONS["direct"]["min_budget_per_class"],
    "pca_dimension": OPTIONS["bait"]["pca_width"],
    "num_proposed_additions": 10,
    "num_complete_swaps": 1,
}


def verified(source: Path, blobs: Mapping[str, str] = BLOBS) -> str:
    """What is known of the checkout: its files are those of the commit, or which of them are not."""
    other = [name for name, blob in blobs.items() if _blob(source / "LabelBench" / name) != blob]
    if not other:
        return f"commit {COMMIT[:7]}, verified file by file"
    return f"unverified: {', '.join(other)} differ from commit {COMMIT[:7]}"


def _blob(file: Path) -> str:
    if not file.is_file():
        return "missing"
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class StubTrainer:
    """Hands out predictions, labels and embeddings by the kind that is asked for."""

    def __init__(self, **inputs: Any) -> None:
        self._inputs = inputs

    def retrieve_inputs(self, kinds: Any) -> list[Any]:
        """In the order of the kinds."""
        return [self._inputs[kind.name] for kind in kinds]


def published(source: Path, strategy: str, pool: PoolArrays) -> Callable[[int], NDArray[np.int64]]:
    """The class's ``select`` on a pool, by the number of labels to buy. Everything it reads is ready before."""
    with silence():
        enter(source / "LabelBench", ("strategy", "strategy.strategy_impl", "skeleton", "dataset"))
        extractor: Any = types.ModuleType("LabelBench.dataset.feature_extractor")
        extractor.FeatureExtractor = object
        sys.modules[extractor.__name__] = extractor
        strategy_class, dataset_class = _strategy(strategy), load("skeleton.dataset_skeleton").ALDataset
    num_rows, num_classes = pool.probs_NC.shape
    one_hot_NC = np.zeros((num_rows, num_classes), np.int8)
    one_hot_NC[np.arange(num_rows), pool.truth_N] = 1
    trainer = StubTrainer(TRAIN_PRED=pool.probs_NC, TRAIN_EMBEDDING=pool.embeddings_ND, TRAIN_LABEL=one_hot_NC)
    dataset = dataset_class.__new__(dataset_class)  # without the files that its constructor reads
    dataset.train_dataset = range(num_rows)
    dataset._ALDataset__labeled_idxs = pool.ids_L

    def select(budget: int) -> NDArray[np.int64]:
        np.random.seed(0)  # noqa: NPY002 - the generator that the classes draw from
        with silence():
            return np.array(strategy_class(CONFIG, dataset).select(trainer, budget), np.int64)

    return select


def enter(root: Path, packages: Iterable[str]) -> None:
    """Packages without their ``__init__``, which would import every model library."""
    for name in ("", *packages):
        package = types.ModuleType(f"LabelBench.{name}".rstrip("."))
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[package.__name__] = package


def _strategy(name: str) -> Any:
    module, class_name = CLASSES[name]
    return getattr(load(f"strategy.strategy_impl.{module}"), class_name)


def load(module: str) -> Any:
    """A module of the checkout, by its name within the package."""
    return importlib.import_module(f"LabelBench.{module}")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """The classes print a line per query; that is not to be timed as output to a terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
