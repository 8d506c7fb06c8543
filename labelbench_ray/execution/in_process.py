"""Everything in this process, one trial after another: for tests, debugging and machines without Ray."""

from collections.abc import Sequence

from labelbench_ray.execution.job import TrialJob, round_event, run_job
from labelbench_ray.execution.preflight import MEMORY, Node
from labelbench_ray.execution.progress import Event, Watch
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

    def embed(self, tasks: Sequence[EmbedTask]) -> None:
        """Make missing shards, one after another."""
        for task in tasks:
            embed_missing(task)

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> None:
        """Run every job in order."""
        for job in jobs:
            run_watched(job, watch)


def run_watched(job: TrialJob, watch: Watch) -> None:
    """Run one job here, telling its events; an error ends the job, not the caller."""
    try:
        for done in run_job(job, launch_inline, spread_locally):
            watch(round_event(job, done))
    except Exception as error:
        watch(Event(trial=job.trial.id, name=job.name, what="failed", error=str(error)))
    else:
        watch(Event(trial=job.trial.id, name=job.name, what="done"))
