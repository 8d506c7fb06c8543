"""Where the time of an embedding goes: seconds by stage, and for how long the device had work."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

STAGES = ("read", "prepare", "augment", "encode", "write")
"""Reading and decoding; resizing and moving to the device; the view; the encoder and the way back; the shard's file.

On a GPU ``augment`` only starts the work, and ``encode`` waits for it.
"""


class Stopwatch:
    """Seconds of a thread by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs inside counts for this stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


class DeviceClock(Protocol):
    """Tells when a device had work, on a clock of its own in seconds."""

    def now(self) -> Any:
        """A moment, in the order in which the device works."""
        ...

    def seconds(self, moment: Any) -> float:
        """Of a moment."""
        ...


class ProcessorClock:
    """The processor works when it is asked to."""

    def now(self) -> float:
        """This moment."""
        return time.perf_counter()

    def seconds(self, moment: float) -> float:
        """Itself."""
        return moment


class CudaClock:
    """Events on the current stream: a GPU works after it was asked to."""

    def __init__(self) -> None:
        self._start = self.now()

    def now(self) -> Any:
        """The moment at which the GPU has done what it was asked so far."""
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds(self, moment: Any) -> float:
        """Since this clock was made; waits for the moment."""
        moment.synchronize()
        return float(self._start.elapsed_time(moment)) / 1000


def device_clock(device: str) -> DeviceClock:
    """The clock of this device."""
    return CudaClock() if device.startswith("cuda") else ProcessorClock()


def busy_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """For how long at least one of these intervals was open: threads that share a device overlap."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def merged(parts: Iterable[Mapping[str, float]], share: float = 1.0) -> dict[str, float]:
    """Sums by name, times ``share``."""
    total: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.items():
            total[name] = total.get(name, 0.0) + share * seconds
    return total


def shared_among(once: Stopwatch, each: Sequence[Stopwatch]) -> tuple[dict[str, float], ...]:
    """Seconds of each view by stage, with an even part of what was done once for all."""
    shared = merged([once.seconds], 1 / len(each))
    return tuple(merged([shared, watch.seconds]) for watch in each)


def stages_in_words(num_rows: int, seconds: Mapping[str, float]) -> str:
    """Such as ``50000 rows, 412 rows/s a worker; read 12 %, ..., write 1 %; device at work 81 %``."""
    wall, spent = seconds.get("wall", 0.0), sum(seconds.get(stage, 0.0) for stage in STAGES)
    if not wall or not spent:
        return f"{num_rows} rows"
    rate = num_rows / wall
    shares = (f"{stage} {seconds[stage] / spent:.0%}" for stage in STAGES if stage in seconds)
    return (
        f"{num_rows} rows, {rate:.{0 if rate >= 10 else 2}f} rows/s a worker; {', '.join(shares)}; "
        f"device at work {seconds.get('device', 0.0) / wall:.0%}"
    )
