"""The executor on Ray: a local cluster for the length of a run, or one that is there."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.on_ray.embedding import embed_on_ray
from labelbench_ray.execution.on_ray.session import nodes, session
from labelbench_ray.execution.on_ray.sweep import run_jobs
from labelbench_ray.execution.preflight import Node
from labelbench_ray.execution.progress import Watch
from labelbench_ray.features.embedding import EmbedTask
from labelbench_ray.features.store import FeatureStore


@dataclass(frozen=True)
class OnRay:
    """Embeds by Ray Data, schedules trials by Ray Tune."""

    def nodes(self) -> Sequence[Node]:
        """Resources of every living node."""
        return nodes()

    def embed(self, tasks: Sequence[EmbedTask], store: FeatureStore) -> None:
        """Complete the feature store, one Ray Data pipeline at a time, while no trial holds a CPU."""
        for task in tasks:
            embed_on_ray(task, store)

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> None:
        """Run every job through Ray Tune."""
        run_jobs(jobs, watch, self.nodes())


@contextlib.contextmanager
def on_ray(address: str | None = None, num_cpus: int | None = None) -> Iterator[OnRay]:
    """The executor, with Ray running."""
    with session(address, num_cpus):
        yield OnRay()
