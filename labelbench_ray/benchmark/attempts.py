"""Every attempt at a trial: where, when, and how it ended. Read by whoever decides whether there is another one.

Numbered notes that are only ever added, each a file, by whoever knows something: who holds the trial, and who learns
later why it ended. An attempt without an end, that nobody holds the trial for, is one whose process died.
"""

import contextlib
import itertools
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from labelbench_ray.benchmark.writing import writing
from labelbench_ray.storage.place import Where, place_at

Ended = Literal[
    "done",
    "process died",
    "node lost",
    "worker lost",
    "preempted",
    "out of memory",
    "full disk",
    "storage lost",
    "user error",
    "interrupted",
]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One process trying one trial."""

    number: int
    run: str
    """Of which run of the grid."""
    host: str
    pid: int
    began: float
    """Seconds since 1970."""
    rounds: int
    """Rounds that were finished when it began."""
    micro_batch_size: int | None = None
    """Images of a pass, where memory did not allow for those that the trial asks for."""
    ended: Ended | None = None
    ended_at: float = 0.0
    rounds_at_end: int = 0
    message: str = ""
    final: bool = False
    """Trying again would end the same way."""


class Attempts:
    """The attempts at one trial; the place holds nothing else."""

    def __init__(self, place: Where) -> None:
        self._place = place_at(place)

    def read(self) -> list[Attempt]:
        """All of them, in order. Of several ends the last one counts: who learns more later says so."""
        found: dict[int, Attempt] = {}
        for name in self._names():
            told = json.loads(self._place.read(name))
            number = told["number"]
            found[number] = replace(found[number], **told) if number in found else Attempt(**told)
        return list(found.values())

    def begin(self, run: str, rounds: int, micro_batch_size: int | None = None) -> int:
        """Note an attempt of this process; returns its number. Raises LedgerError."""
        number = len(self.read())
        told = {"run": run, "host": platform.node(), "pid": os.getpid(), "began": time.time(), "rounds": rounds}
        self._append({"number": number, **told, "micro_batch_size": micro_batch_size})
        return number

    def end(self, number: int, ended: Ended, rounds: int, message: str = "", *, final: bool = False) -> None:
        """Note how an attempt ended, with how many finished rounds of the trial. Raises LedgerError."""
        told = {"ended": ended, "ended_at": time.time(), "rounds_at_end": rounds, "message": message, "final": final}
        self._append({"number": number, **told})

    def _append(self, told: dict[str, Any]) -> None:
        names = self._names()
        first = int(names[-1].removesuffix(".json")) + 1 if names else 0
        with writing(self._place.where):
            for number in itertools.count(first):
                with contextlib.suppress(FileExistsError):  # then somebody else knew something too
                    self._place.create(f"{number:06d}.json", json.dumps(told).encode())
                    break

    def _names(self) -> list[str]:
        return sorted(name for name in self._place.names() if name.endswith(".json"))


def open_attempt(attempts: Sequence[Attempt]) -> Attempt | None:
    """The last one, if it has not ended."""
    return attempts[-1] if attempts and attempts[-1].ended is None else None
