"""Stopping a grid without losing a round: by Ctrl-C or SIGTERM to its driver, or from elsewhere by its folder."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from labelbench_ray.benchmark.finding import check_results
from labelbench_ray.benchmark.run_folder import RunFolder, running
from labelbench_ray.execution.progress import duration
from labelbench_ray.storage.place import Where

LOOK_EVERY_S = 5.0
"""How often a run looks whether it was asked to stop from elsewhere. Its trials look after every round."""


@dataclass
class Stopping:
    """What a first signal does now."""

    rounds_may_end: bool = False
    """There may be rounds to be finished; before that it stops at once, as a second one does."""


@contextlib.contextmanager
def stops_after_the_round(
    run: RunFolder, within_s: float, tell: Callable[[str], None], look_every_s: float = LOOK_EVERY_S
) -> Iterator[Stopping]:
    """While the block runs, a first Ctrl-C or SIGTERM lets running trials finish their round, as ``stop`` does.

    A second one, or ``within_s`` seconds after the first or after ``stop``, raises KeyboardInterrupt. Off the main
    thread, which alone hears signals, nothing changes: there a stop is without a limit.
    """
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    limit, over = _Limit(within_s, tell), threading.Event()
    threading.Thread(target=_watch, args=(run, limit, over, look_every_s), daemon=True).start()

    def hear(signum: int, _: Any) -> None:
        if not stopping.rounds_may_end or limit.has_begun:
            raise KeyboardInterrupt
        name = signal.Signals(signum).name
        limit.begin(name, "once more stops at once")
        run.ask_to_stop(name)

    before = {one: signal.signal(one, hear) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        over.set()
        limit.cancel()
        for one, handler in before.items():
            signal.signal(one, handler)


class _Limit:
    """How long running trials may take to finish their round once somebody asked; then this process interrupts itself.

    Begun by the signal handler or by the thread that watches the folder, whoever is first.
    """

    def __init__(self, within_s: float, tell: Callable[[str], None]) -> None:
        self._within_s, self._tell = within_s, tell
        self._lock = threading.RLock()  # a signal may come while the handler of another holds it
        self._timer = threading.Timer(within_s, os.kill, (os.getpid(), signal.SIGINT))
        self._timer.daemon = True

    @property
    def has_begun(self) -> bool:
        """Somebody asked before."""
        return self._timer.is_alive() or self._timer.finished.is_set()

    def begin(self, who: str, otherwise: str) -> None:
        """Somebody asked; ``otherwise`` is how to stop at once."""
        with self._lock:
            if self.has_begun:
                return
            told = f"{who}: running trials finish their round, within {duration(self._within_s)}; {otherwise}"
            threading.Thread(target=self._tell, args=(told,)).start()  # a signal may have come in the middle of a line
            self._timer.start()

    def cancel(self) -> None:
        """All have ended."""
        self._timer.cancel()


def _watch(run: RunFolder, limit: _Limit, over: threading.Event, every_s: float) -> None:
    """Until the run is over, look whether ``stop`` asked it from elsewhere."""
    while not over.wait(every_s):
        with contextlib.suppress(OSError):  # looks again
            if run.asked_to_stop:
                limit.begin(run.why, "Ctrl-C stops at once")
                return


def stop(results: Where) -> list[RunFolder]:
    """Ask every run of a results folder, on whatever machine, to finish its rounds and end; returns those asked.

    Raises NoResultsError for a folder that no run wrote, LedgerError for one that cannot be written.
    """
    check_results(results)
    asked = running(results)
    for run in asked:
        run.ask_to_stop("labelbench stop")
    return asked
