"""One run of a grid: who drives it, and whether it was asked to stop.

Trials look at it between rounds. It is a folder beside the trials, so it reaches them on whatever node they run, and
so does whoever sees the results.
"""

import contextlib
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator

from labelbench_ray.benchmark.lease import Holder, Lease
from labelbench_ray.benchmark.writing import write_json
from labelbench_ray.storage.place import Where, place_at

STOP, NO_MORE = "stop", "no_more"


class RunFolder:
    """The folder of one run."""

    def __init__(self, place: Where) -> None:
        self.place = place_at(place)
        self._lease = Lease(self.place.below("lease"))

    @property
    def name(self) -> str:
        """What attempts at trials call it."""
        return self.place.where.rpartition("/")[2]

    @contextlib.contextmanager
    def driven(self) -> Iterator[None]:
        """Note, for the length of a block, that this process drives the run. Raises LedgerError."""
        write_json(self.place, "run.json", {"host": platform.node(), "pid": os.getpid(), "began": time.time()})
        with self._lease.hold():
            yield

    def driver(self) -> Holder | None:
        """The process that drives it; None when it has ended."""
        return self._lease.holder()

    def ask_to_stop(self, why: str) -> None:
        """Let every trial of the run finish its round, and no other start. Raises LedgerError."""
        write_json(self.place, STOP, {"why": why, "at": time.time()})

    def start_no_more(self, why: str) -> None:
        """Let running trials end, and no other start. Raises LedgerError."""
        write_json(self.place, NO_MORE, {"why": why, "at": time.time()})

    @property
    def asked_to_stop(self) -> bool:
        """Running trials end after their round."""
        return self.place.has(STOP)

    @property
    def may_start_trials(self) -> bool:
        """Nobody asked that no more trials start."""
        return not (self.asked_to_stop or self.place.has(NO_MORE))

    @property
    def why(self) -> str:
        """Why it was asked to stop, or to start no more."""
        for name in (STOP, NO_MORE):
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                return str(json.loads(self.place.read(name))["why"])
        return ""


def new_run(results: Where) -> RunFolder:
    """A run that begins now."""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    return RunFolder(place_at(results).below("runs").below(name))


def running(results: Where) -> list[RunFolder]:
    """The runs of a results folder that are driven by a living process."""
    runs = place_at(results).below("runs")
    found = [RunFolder(runs.below(name)) for name in runs.folders()]
    return [run for run in found if run.driver() is not None]
