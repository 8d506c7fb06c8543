"""What the driver of a grid does with its jobs: has them run until each is done or given up."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from labelbench_ray.benchmark.retries import patiently
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import PlatformError
from labelbench_ray.execution.attempt import look_at
from labelbench_ray.execution.executor import Executor
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.progress import Event, Watch

ASK_AGAIN_S, ASK_AGAIN_REMOTE_S = 2.0, 10.0
"""How often it looks at trials that another run has, or that wait to be tried again; a look at a store is paid for."""
FRUITLESS = 3
"""After so many starts of processes of which none was heard, something is wrong with the cluster."""


def run_all(jobs: Sequence[TrialJob], executor: Executor, watch: Watch, tell: Callable[[str], None]) -> None:
    """Run jobs of one run until each is done or given up, or the run starts no more of them.

    Trials that another run of the same folder has are waited for, at no cost, and taken over should it end.
    Raises PlatformError when no process of a trial can be started.
    """
    heard = _Heard(watch)
    left, held_before, fruitless = list(jobs), 0, 0
    while left and jobs[0].run.may_start_trials:
        looks = patiently(partial(_looks, left), jobs[0].limits)
        left = [job for job, what in looks if what not in {"done", "given up"} and job.trial.id not in heard.failed]
        held = [job for job, what in looks if what == "held"]
        if any(what == "free" for job, what in looks if job in left):
            before = heard.events
            executor.run(left, heard)
            fruitless = fruitless + 1 if heard.events == before else 0
            if fruitless == FRUITLESS:
                raise PlatformError("no process of a trial could be started", "look at the cluster with `ray status`")
        elif left:
            if held and len(held) != held_before:
                tell(_waiting(held))
            held_before = len(held)
            time.sleep(ASK_AGAIN_REMOTE_S if jobs[0].results.is_remote else ASK_AGAIN_S)


def _looks(jobs: Sequence[TrialJob]) -> list[tuple[TrialJob, str]]:
    now = Ledger(jobs[0].results).now()
    return [(job, look_at(now.trial(job.trial.id), job.run.name, job.limits).what) for job in jobs]


class _Heard:
    """Passes events on, and remembers which trials failed: of those whose state cannot be written, it alone knows."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.events = 0
        self.failed: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Take note of it."""
        self.events += 1
        if event.what == "failed":
            self.failed.add(event.trial)
        self._watch(event)


def _waiting(held: Sequence[TrialJob]) -> str:
    holder = held[0].ledger.lease.holder()
    first = f" ({held[0].name} is run by {holder.in_words})" if holder else ""
    return f"waiting for {len(held)} trials that another run of this folder has{first}"
