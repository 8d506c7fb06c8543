"""Everything in this process, one trial after another: for tests, debugging and machines without Ray."""

from collections.abc import Callable, Sequence

from labelbench_ray.execution.attempt import run_job
from labelbench_ray.execution.executor import Embedded
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.metrics import Emitter, Silent
from labelbench_ray.execution.preflight import MEMORY, Node
from labelbench_ray.execution.progress import Watch
from labelbench_ray.execution.slots import Stock, work
from labelbench_ray.features.embedding import EmbedTask, embed_missing
from labelbench_ray.shards import spread_locally
from labelbench_ray.trainers.launch import launch_inline


class InProcess:
    """The executor that needs no cluster."""

    def nodes(self) -> Sequence[Node]:
        """This machine."""
        import psutil
        import torch

        there = {"CPU": float(psutil.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
        return [there | {MEMORY: float(psutil.virtual_memory().total)}]

    def metrics(self, experiment: str) -> Emitter:
        """Nobody scrapes this process."""
        return Silent()

    def embed(self, tasks: Sequence[EmbedTask], embedded: Embedded = lambda _: None) -> None:
        """Make missing shards, one after another."""
        for task in tasks:
            _embed(task, embedded)

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> None:
        """Run every job in order."""
        stock = Stock.of(jobs, _as_it_is)
        for event in work(stock, lambda job: run_job(job, launch_inline, spread_locally)):
            watch(event)


def _as_it_is(job: TrialJob) -> Callable[[], TrialJob]:
    return lambda: job


def _embed(task: EmbedTask, embedded: Embedded) -> None:
    embed_missing(task, lambda shard: embedded((shard.last - shard.first) * len(task.keys)))
