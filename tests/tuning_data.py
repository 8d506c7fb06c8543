"""A data set of vectors whose test split may not be touched, and a search on it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from feature_sets import VectorsInMemory
from learning import blobs

from labelbench_ray.config import Experiment
from labelbench_ray.datasets.base import DatasetCard

ROWS = {"train": 120, "val": 60, "test": 60}


class TestSplitReadError(AssertionError):
    __test__ = False


@dataclass(frozen=True, kw_only=True)
class SealedTest:
    """Blobs that raise when anyone asks for a row or a label of the test split."""

    name: ClassVar[str] = "sealed"
    default_encoder: ClassVar[str | None] = "vectors"
    metric: str = "accuracy"

    def open(self):
        return self

    @property
    def card(self):
        return DatasetCard(
            name=self.name, title="", revision="1", modality="vector", class_names=("a", "b", "c"), num_examples=ROWS,
            split_rule="", licence="", citation="", approximate_size="", main_metric=self.metric,
        )  # fmt: skip

    def labels(self, split):
        return self._split(split)[1]

    def vectors(self, split):
        return VectorsInMemory(self._split(split)[0])

    def _split(self, split):
        if split == "test":
            raise TestSplitReadError("the test split was read")
        return blobs(ROWS[split], seed=list(ROWS).index(split), distance=1.5)


def study(**changes):
    trainer = {"name": "linear", "algorithm": "flexmatch", "min_steps": 0, "epochs": 9, "train_batch_size": 16}
    spec = {
        "name": "tuned", "dataset": SealedTest(), "trainer": trainer, "strategy": "random", "seeds": 1,
        "schedule": {"initial": 5, "labels_per_round": 5, "rounds": 2}, "tracking": {"mlflow": "off"},
        "search": {"learning_rate": {"log_uniform": [1e-4, 1.0]}, "epochs": {"choice": [9, 18]}},
    }  # fmt: skip
    return Experiment.from_mapping({**spec, **changes})


def rows_of(ledger):
    """All that two equal searches have in common: everything but how long it took."""
    return [replace(one, seconds=0.0) for one in ledger.measurements()]


def log_distance(values):
    """A make-believe validation metric that is 1 at a learning rate of 0.01 and falls on both sides."""
    return float(1.0 - 0.2 * abs(np.log10(values["learning_rate"]) + 2.0))
