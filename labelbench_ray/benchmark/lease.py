"""Who works on a folder: a lease that its holder renews, and that anybody may take over when it does not.

A lease is a file whose name is a number. The highest number counts. To take a lease is to make the next number, which
disks and object stores let one process do; to give it back is to write into one's own file that it is free. The highest
file is never deleted, so a number is never used twice, and a holder that was taken for dead finds a higher number than
its own before it writes. No locks are asked for.
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
from labelbench_ray.storage.place import IN_CLOUD, Where, place_at

EXPIRES_S = 60.0
"""A lease that was not renewed for so long is free."""
RENEW_S = 10.0
SLOWER = 3
"""Times as long in an object store, where every renewal is paid for."""


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
    token: str = ""
    """Of this hold: a process may hold several leases, and one again and again."""

    @property
    def in_words(self) -> str:
        """For people."""
        return f"process {self.pid} of {self.host}"

    @property
    def is_this(self) -> bool:
        """It is the process that asks."""
        return self.pid == os.getpid() and self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """The process is of this machine and not there any more."""
        return self.machine == _machine() and _started(self.pid) != self.started


class Lease:
    """The lease of one place. It lies in a place of its own below that."""

    def __init__(self, place: Where, expires_s: float | None = None, renew_s: float | None = None) -> None:
        self._place = place_at(place)
        self.of = self._place.where.split("/")[-2]
        times = SLOWER if self._place.where.startswith(IN_CLOUD) else 1
        self._expires_s = EXPIRES_S * times if expires_s is None else expires_s
        self._renew_s = RENEW_S * times if renew_s is None else renew_s

    def holder(self) -> Holder | None:
        """Who holds it; None when nobody does."""
        number = self._newest()
        return self._holder(number, time.time())

    def last_holder(self) -> Holder | None:
        """Who held it last, alive or not, unless it was given back."""
        return self._read(self._newest())

    @contextlib.contextmanager
    def hold(self) -> Iterator["Held"]:
        """Hold it for the length of a block. Raises TrialLockedError when another process does, OSError."""
        holder = _this_process()
        with _known_here(holder):
            yield from self._hold(json.dumps(asdict(holder)).encode())

    def _hold(self, told: bytes) -> Iterator["Held"]:
        held, stop = Held(self, self._take(told)), threading.Event()
        renewing = threading.Thread(target=self._renew, args=(held.number, told, stop), daemon=True)
        renewing.start()
        try:
            yield held
        finally:
            stop.set()
            renewing.join()
            with contextlib.suppress(OSError):  # to this process it is free all the same, to others when it expires
                self._place.write(_name(held.number), FREE.ljust(len(told)))  # no longer: see OnDisk.write

    def revoke(self, holder: Holder) -> None:
        """Free it for others, if this process holds it still: it is known to be dead."""
        number = self._newest()
        if self._read(number) == holder:
            with contextlib.suppress(OSError):
                self._place.create(_name(number + 1), FREE)

    def _take(self, told: bytes) -> int:
        number = self._newest()
        held_by = self._holder(number, self._now()) if number else None
        if held_by is not None:
            raise TrialLockedError(self.of, held_by.in_words)
        try:
            self._place.create(_name(number + 1), told)
        except FileExistsError:
            raise TrialLockedError(self.of, "a process that was faster") from None
        numbers = self._numbers()
        if max(numbers, default=0) != number + 1:  # what was the highest number is long gone
            self._place.delete(_name(number + 1))
            raise TrialLockedError(self.of, "a process that was faster")
        for old in numbers:
            if old <= number:
                self._place.delete(_name(old))
        return number + 1

    def _renew(self, number: int, told: bytes, stop: threading.Event) -> None:
        while not stop.wait(self._renew_s):
            with contextlib.suppress(OSError):
                self._place.write(_name(number), told)

    def _holder(self, number: int, now: float) -> Holder | None:
        holder = self._read(number)
        if holder is None or holder.is_gone or (holder.is_this and holder.token not in _HELD_HERE):
            return None
        try:
            silent_s = now - self._place.modified(_name(number))
        except FileNotFoundError:
            return None
        return holder if silent_s < self._expires_s else None

    def _read(self, number: int) -> Holder | None:
        try:
            told = json.loads(self._place.read(_name(number)))
        except FileNotFoundError:
            return None
        return Holder(**told) if told else None

    def _now(self) -> float:
        """By the clock of the place, which stamps renewals too: clocks of machines differ."""
        probe = f"now-{secrets.token_hex(8)}"
        self._place.write(probe, b"")
        try:
            return self._place.modified(probe)
        finally:
            self._place.delete(probe)

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        return [int(name) for name in self._place.names() if name.isdigit()]


FREE = b"{}"
_HELD_HERE: set[str] = set()
"""Tokens of what this process holds. A lease of its own that is not among these was given back, unheard."""


@contextlib.contextmanager
def _known_here(holder: Holder) -> Iterator[None]:
    """Within the block this process knows that it holds, or is about to."""
    _HELD_HERE.add(holder.token)
    try:
        yield
    finally:
        _HELD_HERE.discard(holder.token)


def _name(number: int) -> str:
    return f"{number:08d}"


@dataclass(frozen=True)
class Held:
    """A lease that this process holds, as far as it knows."""

    lease: Lease
    number: int

    def check(self) -> None:
        """Raises LeaseLostError when another process has taken over."""
        if self.lease._newest() != self.number:
            raise LeaseLostError(self.lease.of)


def _this_process() -> Holder:
    pid = os.getpid()
    return Holder(
        host=platform.node(),
        pid=pid,
        machine=_machine(),
        started=_started(pid) or "unknown",
        since=time.time(),
        token=secrets.token_hex(8),
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
