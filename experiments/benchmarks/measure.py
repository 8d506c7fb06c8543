"""Measuring: each contestant in a process of its own, taking turns, in CPU seconds and anonymous memory."""

import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")

Work = Callable[[Any], Callable[[], Any]]
"""Does what it is asked for while the clock runs; what it returns is called afterwards, and tells what came of it."""

SAMPLE_SECONDS = 0.01
PATIENCE_SECONDS = 1.0
PROCESSES = multiprocessing.get_context("forkserver")
"""Every process is a fresh copy of one that has the libraries loaded and nothing else."""


def elsewhere(work: Callable[..., R], *arguments: Any) -> R:
    """``work(*arguments)`` in a process of its own, so that nothing of it stays in this one."""
    with ProcessPoolExecutor(1, mp_context=PROCESSES) as pool:
        return pool.submit(work, *arguments).result()


@dataclass
class Run:
    """What one turn took."""

    cpu_s: float
    wall_s: float
    peak_bytes: int = 0


@dataclass
class Result:
    """What a contestant took for a case."""

    runs: list[Run] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    budget: int = 0
    """Labels that ``ids`` holds: fewer than asked where a time is extrapolated."""
    rule: str = ""
    """How a time was extrapolated; empty where the whole selection was run."""
    refused: str = ""
    """Why there is no time: what the library, or an error, said."""
    failed: bool = False
    """It was an error, not a refusal."""

    def median(self, what: str = "cpu_s") -> float:
        """Over the runs."""
        return float(statistics.median(getattr(run, what) for run in self.runs))


class NotMeasured(Exception):  # noqa: N818 - it tells of a refusal more often than of an error
    """Why a contestant has no time: (what it said, whether that was an error)."""


class Measured:
    """A contestant in its own process, which ``prepare(*arguments)`` gets ready there; ``turn`` runs its work."""

    def __init__(
        self, prepare: Callable[..., AbstractContextManager[Work]], *arguments: Any, daemon: bool = True
    ) -> None:
        self._pipe, far = PROCESSES.Pipe()
        self._process = PROCESSES.Process(target=_serve, args=(far, prepare, arguments), daemon=daemon)
        self._process.start()
        far.close()
        self.peak_bytes = 0
        self._ready = False

    def turn(self, asked: Any, shortest_s: float = 0.0) -> tuple[Run, Any]:
        """Do what is asked, again and again for ``shortest_s``. Raises NotMeasured with what it said."""
        if not self._ready:
            self._answer()
            self._ready = True
        self._pipe.send((asked, shortest_s))
        cpu_s, wall_s, told = self._answer()
        return Run(cpu_s, wall_s, self.peak_bytes), told

    def close(self) -> None:
        """End the process, in the middle of its work if it must be."""
        self._pipe.close()
        self._process.join(PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _answer(self) -> Any:
        while True:
            self.peak_bytes = max(self.peak_bytes, anonymous_bytes(self._process.pid or 0))
            if self._pipe.poll(SAMPLE_SECONDS):
                break
        try:
            told = self._pipe.recv()
        except EOFError:
            told = NotMeasured("the measuring process died, for lack of memory perhaps", True)
        if isinstance(told, NotMeasured):
            raise told
        return told


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that no file backs. What it maps from files is the page cache's, and is not counted."""
    status = Path(f"/proc/{pid}/status")
    if status.is_file():
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        return int(found[0]) * 1024 if found else 0
    import psutil

    return int(psutil.Process(pid).memory_full_info().uss)


def _serve(pipe: Connection, prepare: Callable[..., AbstractContextManager[Work]], arguments: tuple[Any, ...]) -> None:
    """Body of a measuring process: says that it is ready, then answers each request until the pipe closes."""
    import torch

    from labelbench_ray.errors import LabelBenchError

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    torch.set_num_threads(1)
    try:
        with prepare(*arguments) as work:
            pipe.send("ready")
            while True:
                pipe.send(_timed(work, *pipe.recv()))
    except (EOFError, ConnectionError):  # the process that asked has gone, before a request or before its answer
        return
    except LabelBenchError as error:
        pipe.send(NotMeasured(str(error), False))
    except Exception as error:
        pipe.send(NotMeasured(f"{type(error).__name__}: {error}", True))


def _timed(work: Work, asked: Any, shortest_s: float) -> tuple[float, float, Any]:
    """Median CPU and wall seconds of the work, and what it tells."""
    runs: list[Run] = []
    began = time.perf_counter()
    while True:
        cpu, wall = time.process_time(), time.perf_counter()
        tell = work(asked)
        runs.append(Run(time.process_time() - cpu, time.perf_counter() - wall))
        if time.perf_counter() - began >= shortest_s:
            median = Result(runs)
            return median.median("cpu_s"), median.median("wall_s"), tell()
