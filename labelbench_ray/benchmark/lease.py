"""Who works on a folder: a lease that its holder renews, and that anybody may take over when it does not.

A lease is a file whose name is a number. The highest number counts. To take a lease is to link the next number, which
the file system lets one process do; to give it back is to write into one's own file that it is free. The highest file
is never deleted, so a number is never used twice, and a holder that was taken for dead finds a higher number than its
own before it writes. Nothing but atomic links and renames is asked of the file system: no locks.
"""

import contextlib
import functools
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from labelbench_ray.errors import LeaseLostError, TrialLockedError

EXPIRES_S = 60.0
"""A lease that was not renewed for so long is free."""
RENEW_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds, or held, a lease."""

    host: str
    pid: int
    machine: str
    """Told apart from others of its name, as containers may be."""
    started: str
    """When the process started, as its system says it: pids are used again."""
    since: float

    @property
    def in_words(self) -> str:
        """For people."""
        return f"process {self.pid} of {self.host}"

    @property
    def is_gone(self) -> bool:
        """The process is of this machine and not there any more."""
        return self.machine == _machine() and _started(self.pid) != self.started


class Lease:
    """The lease of one folder."""

    def __init__(self, folder: Path, expires_s: float = EXPIRES_S, renew_s: float = RENEW_S) -> None:
        self.folder = folder
        self._expires_s, self._renew_s = expires_s, renew_s

    def holder(self) -> Holder | None:
        """Who holds it; None when nobody does."""
        number = self._newest()
        return self._holder(number, time.time())

    def last_holder(self) -> Holder | None:
        """Who held it last, alive or not, unless it was given back."""
        return _read(self._file(self._newest()))

    @contextlib.contextmanager
    def hold(self) -> Iterator["Held"]:
        """Hold it for the length of a block. Raises TrialLockedError when another process does, OSError."""
        held = Held(self, self._take())
        stop = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(held.number, stop), daemon=True)
        renewing.start()
        try:
            yield held
        finally:
            stop.set()
            renewing.join()
            with contextlib.suppress(OSError):  # the process ends soon and the lease with it, or it expires
                self._give_back(held.number)

    def revoke(self, holder: Holder) -> None:
        """Free it for others, if this process holds it still: it is known to be dead."""
        number = self._newest()
        if _read(self._file(number)) == holder:
            with contextlib.suppress(OSError):
                self._link(number + 1, "{}")

    def _take(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        number = self._newest()
        held_by = self._holder(number, self._now())
        if held_by is not None:
            raise TrialLockedError(self.folder.parent.name, held_by.in_words)
        try:
            self._link(number + 1, json.dumps(asdict(_this_process())))
        except FileExistsError:
            raise TrialLockedError(self.folder.parent.name, "a process that was faster") from None
        if self._newest() != number + 1:  # what was the highest number is long gone
            self._file(number + 1).unlink(missing_ok=True)
            raise TrialLockedError(self.folder.parent.name, "a process that was faster")
        for old in self._numbers():
            if old <= number:
                self._file(old).unlink(missing_ok=True)
        return number + 1

    def _link(self, number: int, text: str) -> None:
        """Make the file of a number, whole or not at all. Raises FileExistsError."""
        draft = self.folder / f".{secrets.token_hex(8)}"
        draft.write_text(text)
        try:
            os.link(draft, self._file(number))
        finally:
            draft.unlink()

    def _give_back(self, number: int) -> None:
        draft = self.folder / f".{secrets.token_hex(8)}"
        draft.write_text("{}")
        draft.replace(self._file(number))

    def _renew(self, number: int, stop: threading.Event) -> None:
        while not stop.wait(self._renew_s):
            with contextlib.suppress(OSError):
                os.utime(self._file(number))

    def _holder(self, number: int, now: float) -> Holder | None:
        holder = _read(self._file(number))
        if holder is None or holder.is_gone:
            return None
        try:
            silent_s = now - self._file(number).stat().st_mtime
        except FileNotFoundError:
            return None
        return holder if silent_s < self._expires_s else None

    def _now(self) -> float:
        """By the clock of the file system, which stamps renewals too: clocks of machines differ."""
        probe = self.folder / f".{secrets.token_hex(8)}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:08d}"

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self.folder) if name.isdigit()]  # noqa: PTH208, it is called often
        except (FileNotFoundError, NotADirectoryError):
            return []


@dataclass(frozen=True)
class Held:
    """A lease that this process holds, as far as it knows."""

    lease: Lease
    number: int

    def check(self) -> None:
        """Raises LeaseLostError when another process has taken over."""
        if self.lease._newest() != self.number:
            raise LeaseLostError(self.lease.folder.parent.name)


def _read(file: Path) -> Holder | None:
    try:
        told = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Holder(**told) if told else None


def _this_process() -> Holder:
    pid = os.getpid()
    return Holder(
        host=platform.node(), pid=pid, machine=_machine(), started=_started(pid) or "unknown", since=time.time()
    )


@functools.cache
def _machine() -> str:
    """One boot of one machine, or of one container: within it, pids can be looked up."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115, it is no path
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process of this machine started; None when it is not there."""
    if not Path("/proc/self/stat").exists():
        return _started_elsewhere(pid)
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, ticks_since_boot = told[0], told[19]
    return None if state in "ZX" else ticks_since_boot


def _started_elsewhere(pid: int) -> str | None:
    """On systems without /proc."""
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
