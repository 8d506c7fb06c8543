"""Stopping a grid without losing a round: by Ctrl-C or SIGTERM to its driver, or from elsewhere by its folder."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from labelbench_ray.benchmark.run_folder import RunFolder, running
from labelbench_ray.errors import LedgerError
from labelbench_ray.execution.progress import duration
from labelbench_ray.storage.place import Where, place_at


@dataclass
class Stopping:
    """What a first signal does now."""

    rounds_may_end: bool = False
    """There may be rounds to be finished; before that it stops at once, as a second one does."""


@contextlib.contextmanager
def stops_after_the_round(run: RunFolder, within_s: float, tell: Callable[[str], None]) -> Iterator[Stopping]:
    """While the block runs, a first Ctrl-C or SIGTERM lets running trials finish their round.

    A second one, or ``within_s`` seconds after the first, raises KeyboardInterrupt. Off the main thread, which alone
    hears signals, nothing changes.
    """
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    impatience = threading.Timer(within_s, os.kill, (os.getpid(), signal.SIGINT))
    impatience.daemon = True

    def hear(signum: int, _: Any) -> None:
        if not stopping.rounds_may_end or impatience.is_alive() or impatience.finished.is_set():
            raise KeyboardInterrupt
        name = signal.Signals(signum).name
        told = f"{name}: running trials finish their round, within {duration(within_s)}; once more stops at once"
        threading.Thread(target=tell, args=(told,)).start()  # the signal may have come in the middle of a line
        impatience.start()
        run.ask_to_stop(name)

    before = {one: signal.signal(one, hear) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        impatience.cancel()
        for one, handler in before.items():
            signal.signal(one, handler)


def stop(results: Where) -> list[RunFolder]:
    """Ask every run of a results folder, on whatever machine, to finish its rounds and end; returns those asked.

    Raises LedgerError for a folder that no run wrote, or that cannot be written.
    """
    place = place_at(results)
    if not {"trials", "runs"} & set(place.folders()):
        raise LedgerError(place.where, "no trials here", "give the folder that `labelbench run` wrote")
    asked = running(place)
    for run in asked:
        run.ask_to_stop("labelbench stop")
    return asked
