"""The executor on Ray: a local cluster for the length of a run, or one that is there."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labelbench_ray.config import NodeType
from labelbench_ray.execution.executor import Embedded
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.metrics import Emitter
from labelbench_ray.execution.on_ray.embedding import embed_on_ray
from labelbench_ray.execution.on_ray.metrics import RayEmitter
from labelbench_ray.execution.on_ray.session import nodes, session
from labelbench_ray.execution.on_ray.sweep import run_jobs
from labelbench_ray.execution.preflight import Node, nodes_there_can_be
from labelbench_ray.execution.progress import Watch
from labelbench_ray.features.embedding import EmbedTask


@dataclass(frozen=True)
class OnRay:
    """Embeds by Ray Data, schedules trials by Ray Tune."""

    embed_actors: int | None = None
    """How many actors embed; as many as the processors allow when None."""
    cluster: Sequence[NodeType] = ()
    """What an autoscaler may add."""

    def nodes(self) -> Sequence[Node]:
        """Resources of every living node, and of those that an autoscaler may add."""
        return nodes_there_can_be(nodes(), self.cluster)

    def metrics(self, experiment: str) -> Emitter:
        """To Prometheus, through the agent of the driver's node."""
        return RayEmitter(experiment)

    def embed(self, tasks: Sequence[EmbedTask], embedded: Embedded = lambda _: None) -> None:
        """Make missing shards in one Ray Data pipeline, while no trial holds a CPU."""
        embed_on_ray(tasks, self.nodes(), self.embed_actors, embedded)

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> None:
        """Run every job through Ray Tune."""
        run_jobs(jobs, watch, self.nodes())


@contextlib.contextmanager
def on_ray(
    address: str | None = None,
    num_cpus: int | None = None,
    embed_actors: int | None = None,
    cluster: Sequence[NodeType] = (),
) -> Iterator[OnRay]:
    """The executor, with Ray running."""
    with session(address, num_cpus):
        yield OnRay(embed_actors, cluster)
