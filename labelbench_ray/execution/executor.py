"""What an executor must do. There are two: in this process, and on Ray. They give the same rows."""

from collections.abc import Sequence
from typing import Protocol

from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.preflight import Node
from labelbench_ray.execution.progress import Watch
from labelbench_ray.features.embedding import EmbedTask


class Executor(Protocol):
    """Embeds what is missing and runs jobs. Used as a context manager around one grid."""

    def nodes(self) -> Sequence[Node]:
        """Resources of every node there is, or can be."""
        ...

    def embed(self, tasks: Sequence[EmbedTask]) -> None:
        """Make every shard that these tasks lack. Raises FeatureStoreError, DataError or WeightsError."""
        ...

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> None:
        """Run every job; one that fails is left with its reason in the ledger and the others go on."""
        ...
