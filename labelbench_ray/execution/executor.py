"""What an executor must do. There are two: in this process, and on Ray. They give the same rows."""

from collections.abc import Callable, Sequence
from typing import Protocol

from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.metrics import Emitter
from labelbench_ray.execution.preflight import Node
from labelbench_ray.execution.progress import Watch
from labelbench_ray.features.embedding import EmbedTask

Embedded = Callable[[int], None]
"""Told of each shard that is stored: its rows, counted once for every view."""


class Executor(Protocol):
    """Embeds what is missing and runs jobs. Used as a context manager around one grid."""

    def nodes(self) -> Sequence[Node]:
        """Resources of every node there is, or can be."""
        ...

    def metrics(self, experiment: str) -> Emitter:
        """Where the driver's numbers about an experiment go."""
        ...

    def embed(self, tasks: Sequence[EmbedTask], embedded: Embedded = lambda _: None) -> None:
        """Make every shard that these tasks lack, telling of each.

        Raises FeatureStoreError, DataError or WeightsError.
        """
        ...

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> None:
        """Run jobs of one run until none is free: each is done, given up, held by another run, or waits for its turn.

        One that fails is left with its reason in the ledger and the others go on.
        """
        ...
