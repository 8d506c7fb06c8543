"""Trials of a stage that other drivers of the folder run or have finished: no event tells this driver of them."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labelbench_ray.benchmark.run_folder import running
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LabelBenchError
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.progress import Event

LOOK_EVERY_S = 10.0
"""A look at 1,000 trials on a disk takes a fraction of a second, and one where there is no other driver far less."""


@dataclass(frozen=True)
class Seen:
    """What was seen of them."""

    running: int = 0
    done: int = 0
    rounds: int = 0
    """That were finished since the stage began."""


class Elsewhere:
    """Looks at the ledger for trials of which this driver has heard nothing."""

    def __init__(
        self, jobs: Sequence[TrialJob], finished: Sequence[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``finished`` are the rounds that the ledger has of each job as the stage begins."""
        self._unheard = {job.trial.id: (job, rounds) for job, rounds in zip(jobs, finished, strict=True)}
        self._clock, self._last = clock, clock()
        self._others_came = False
        self._seen = Seen()

    def heard(self, event: Event) -> None:
        """This driver runs that trial itself."""
        self._unheard.pop(event.trial, None)

    def look(self, *, at_the_end: bool = False) -> Seen:
        """What is known, looked up anew now and then, and at the end; storage that does not answer changes nothing."""
        if self._unheard and (at_the_end or self._clock() - self._last >= LOOK_EVERY_S):
            self._last = self._clock()
            with contextlib.suppress(OSError, LabelBenchError):
                self._seen = self._look() if at_the_end or self._is_shared() else self._seen
        return self._seen

    def _is_shared(self) -> bool:
        job, _ = next(iter(self._unheard.values()))
        self._others_came |= any(run.name != job.run.name for run in running(job.results))
        return self._others_came

    def _look(self) -> Seen:
        unheard = tuple(self._unheard.values())
        ledger = Ledger(unheard[0][0].results).now()
        found = [(ledger.trial(job.trial.id).status(), before) for job, before in unheard]
        return Seen(
            running=sum(status.state == "running" for status, _ in found),
            done=sum(status.state == "done" for status, _ in found),
            rounds=sum(status.finished_rounds - before for status, before in found),
        )
