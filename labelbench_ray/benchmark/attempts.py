"""Every attempt at a trial: where, when, and how it ended. Read by whoever decides whether there is another one.

A file of lines that are only ever appended. An attempt without an end, that nobody holds the trial for, is one whose
process died. A kill in the middle of a line leaves half of it, which is passed over.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from labelbench_ray.errors import LedgerError

Ended = Literal[
    "done",
    "process died",
    "node lost",
    "worker lost",
    "preempted",
    "out of memory",
    "full disk",
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
    """The attempts at one trial."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[Attempt]:
        """All of them, in order. Of several ends the last one counts: who learns more later says so."""
        found: dict[int, Attempt] = {}
        for line in self._lines():
            number = line["number"]
            if number in found:
                found[number] = replace(found[number], **line)
            else:
                found[number] = Attempt(**line)
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
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab+") as file:
                half = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
                file.write((b"\n" if half else b"") + json.dumps(told).encode() + b"\n")
        except OSError as error:
            reason = error.strerror or str(error)
            raise LedgerError(
                str(self.file), f"cannot be written ({reason})", "free space, or choose another --results"
            ) from error

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self.file.read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return []
        lines = []
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return lines


def open_attempt(attempts: Sequence[Attempt]) -> Attempt | None:
    """The last one, if it has not ended."""
    return attempts[-1] if attempts and attempts[-1].ended is None else None
