"""Time LabelBench's own strategy classes (commit 9e23393) on the same arrays: ``python labelbench.py SRC JOB.npz``.

The classes are loaded from a checkout that the user points to, with a stub for the data set and the trainer, and with
numpy's generator seeded as the published runs do. Nothing of them is part of this project.
"""

import contextlib
import importlib
import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


class StubDataset:
    """The few things that the classes ask of a data set."""

    def __init__(self, num_rows: int, labeled: NDArray[np.int64]) -> None:
        self._num_rows = num_rows
        self._labeled = labeled

    def __len__(self) -> int:
        return self._num_rows

    def labeled_idxs(self) -> NDArray[np.int64]:
        """In the order they were bought."""
        return self._labeled

    def unlabeled_idxs(self) -> NDArray[np.int64]:
        """Ascending."""
        return np.setdiff1d(np.arange(self._num_rows), self._labeled)


class StubTrainer:
    """Hands out predictions, labels and embeddings by the kind that is asked for."""

    def __init__(self, **inputs: Any) -> None:
        self._inputs = inputs

    def retrieve_inputs(self, kinds: Any) -> list[Any]:
        """In the order of the kinds."""
        return [self._inputs[kind.name] for kind in kinds]


def load(source: Path, strategy: str) -> Any:
    """The strategy's class. Its package is entered past ``__init__``, which would import every model library."""
    root = source / "LabelBench"
    for name in ("LabelBench", "LabelBench.strategy", "LabelBench.strategy.strategy_impl", "LabelBench.skeleton"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    module, class_name = CLASSES[strategy]
    return getattr(importlib.import_module(f"LabelBench.strategy.strategy_impl.{module}"), class_name)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """The classes print a line per query; that is not to be timed as output to a terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
