"""What a tracker must do, and the thread that keeps a slow or dead one from costing the run anything."""

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from labelbench_ray.benchmark.state import State, TrialLedger
from labelbench_ray.errors import TrackingError

RETRY_S = 30.0
"""Seconds between two attempts at a tracker that did not answer."""

CLOSE_S = 30.0
"""Seconds the end of a run waits for what is still to be logged."""


class Tracker(Protocol):
    """A view of the ledger somewhere else.

    Every method may be called again at any time and then changes nothing. Raises TrackingError when the other side
    cannot be used, LedgerError when the ledger cannot be read.
    """

    def open(self) -> None:
        """Find or make the place of this grid."""
        ...

    def sync_trial(self, trial: TrialLedger) -> None:
        """Show what the ledger knows of this trial and is not shown yet."""
        ...

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Put files beside the grid, and ``note`` (markdown) where a reader looks first."""
        ...

    def close(self, state: State) -> None:
        """Tell how the grid ended. What still counts as running then was killed."""
        ...


class NoTracker:
    """Tracks nothing."""

    def open(self) -> None:
        """Do nothing."""

    def sync_trial(self, trial: TrialLedger) -> None:
        """Do nothing."""

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Do nothing."""

    def close(self, state: State) -> None:
        """Do nothing."""


def sync(tracker: Tracker, trials: Iterable[TrialLedger], state: State) -> None:
    """Fill a tracker from the ledger, at once and in this thread: what `labelbench sync` does."""
    tracker.open()
    for trial in trials:
        tracker.sync_trial(trial)
    tracker.close(state)


class BackgroundTracker:
    """Hands all work to one thread, so that no call blocks or raises.

    Several pending calls for one trial become one, because ``sync_trial`` catches up with everything. A tracker that
    does not answer costs one warning; what it missed is kept, tried again every ``retry_s`` seconds, and once at the
    end.
    """

    def __init__(self, tracker: Tracker, warn: Callable[[str], None], *, retry_s: float = RETRY_S) -> None:
        self._tracker = tracker
        self._warn = warn
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._pending: dict[str, Callable[[], None]] = {}
        self._num_attached = 0
        self._ending = False
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="labelbench-tracking", daemon=True)

    def open(self) -> None:
        """Start the thread, which opens the tracker before anything else."""
        self._add("open", self._tracker.open)
        self._thread.start()

    def sync_trial(self, trial: TrialLedger) -> None:
        """Show this trial soon."""
        self._add(f"trial {trial.trial_id}", partial(self._tracker.sync_trial, trial))

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Attach these files soon."""
        self._num_attached += 1
        self._add(f"attach {self._num_attached}", partial(self._tracker.attach, tuple(files), note))

    def close(self, state: State, timeout_s: float = CLOSE_S) -> None:
        """Wait until all is shown or was tried once more, at most ``timeout_s`` seconds, if it was ever opened."""
        if self._thread.ident is None:
            return
        self._add("close", partial(self._tracker.close, state))
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._warn_once("late", f"tracking is not done {timeout_s:g} s after the run; run `labelbench sync`")

    def _add(self, key: str, step: Callable[[], None]) -> None:
        with self._changed:
            self._pending[key] = step
            self._changed.notify()

    def _work(self) -> None:
        while job := self._next():
            key, step = job
            answered = self._try(step)
            if answered or (self._ending and key != "open"):
                self._forget(key, step)
            elif self._ending:
                return
            else:
                self._put_last(key)
                self._pause()

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ending)
            return next(iter(self._pending.items()), None)

    def _forget(self, key: str, step: Callable[[], None]) -> None:
        with self._changed:
            if self._pending.get(key) is step:  # else it was asked for again meanwhile
                del self._pending[key]

    def _put_last(self, key: str) -> None:
        if key != "open":  # one trial that is refused must not hold up the others
            with self._changed:
                self._pending[key] = self._pending.pop(key)

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ending, self._retry_s)

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except TrackingError as error:
            self._warn_once("server", str(error))
            return False
        except Exception as error:  # the view must never end a run, whatever is wrong with it
            self._warn_once(str(error), f"tracking: {type(error).__name__}: {error}; results are safe")
        return True

    def _warn_once(self, about: str, message: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            self._warn(message)
