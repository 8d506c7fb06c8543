"""The thread that keeps a slow or dead tracker from costing the run anything."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from labelbench_ray.benchmark.state import State, TrialLedger
from labelbench_ray.errors import TrackingError
from labelbench_ray.tracking.tracker import Tracker

PASS_S = 5.0
"""Seconds between two looks at what changed. Rounds of a trial that end meanwhile are shown together."""

SHARE = 0.2
"""Of one processor: what showing may take while trials run. What it does not get done is done at the end."""

RETRY_S = 30.0
"""Seconds between two attempts at a tracker that did not answer."""

CLOSE_S = 30.0
"""Seconds the end of a run waits for what is still to be shown, however many trials it is."""

_LAST_S = 10.0
"""Of these, seconds kept for the report and the state of the study."""

_REFUSALS = 3
"""Trials in a row that are refused before the others are left alone for a while."""


class BackgroundTracker:
    """Hands all work to one thread, so that no call blocks or raises. Satisfies ``Tracker``.

    Several pending calls for one trial become one, because ``sync_trial`` catches up with everything. A tracker that
    does not answer costs one warning; what it missed is kept, and tried again every ``retry_s`` seconds. One that
    answers again is asked about every trial: it may have been wiped. The end waits a bounded time, then tells what is
    missing.
    """

    def __init__(
        self,
        tracker: Tracker,
        warn: Callable[[str], None],
        *,
        pass_s: float = PASS_S,
        share: float = SHARE,
        retry_s: float = RETRY_S,
    ) -> None:
        self._tracker = tracker
        self._warn = warn
        self._pass_s = pass_s
        self._share = share
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._trials: dict[str, TrialLedger] = {}
        self._pending: dict[str, TrialLedger] = {}
        self._last_steps: list[Callable[[], None]] = []
        self._ending = threading.Event()
        self._deadline = float("inf")
        self._is_open = False
        self._may_be_wiped = False
        self._refused: set[str] = set()
        self._retry_at = 0.0
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="labelbench-tracking", daemon=True)

    def load(self) -> None:
        """Import what the tracker needs, in this thread."""
        self._tracker.load()

    def open(self) -> None:
        """Start the thread, which opens the tracker before anything else.

        What it needs is imported before, in this thread. Ray pickles in this thread, and to pickle looks into every
        module there is: where some are loaded as they are looked at, and another thread is just loading them too, each
        waits for the other, and Python ends one with an error.
        """
        self.load()
        self._thread.start()

    def sync_trial(self, trial: TrialLedger) -> None:
        """Show this trial with the next pass."""
        with self._lock:
            self._trials[trial.trial_id] = self._pending[trial.trial_id] = trial

    def watch_machine(self) -> None:
        """Nothing: every pass does."""

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Attach these files at the end."""
        self._last_steps.append(partial(self._tracker.attach, tuple(files), note))

    def close(self, state: State, timeout_s: float = CLOSE_S) -> None:
        """Show what is left for at most ``timeout_s`` seconds, if the tracker was ever opened; tell what is missing."""
        if self._thread.ident is None:
            return
        self._last_steps.append(partial(self._tracker.close, state))
        self._deadline = time.monotonic() + timeout_s
        self._ending.set()
        self._thread.join(timeout_s)
        if missing := self._missing():
            self._warn(f"not in MLflow yet: {missing}; `labelbench sync` shows them")

    def _missing(self) -> str:
        with self._lock:
            trials, everything, steps = len(self._pending), len(self._trials), len(self._last_steps)
        parts = [f"{trials:,} of {everything:,} trials"] if trials else []
        return " and ".join([*parts, *(["how the study ended"] if steps else [])])

    def _work(self) -> None:
        self._connect()
        while not self._ending.wait(self._pass_s):
            if time.monotonic() >= self._retry_at:
                self._show(self._ending.is_set)
                self._try(self._tracker.watch_machine)
        self._finish()

    def _finish(self) -> None:
        """Show what is left, and how the study ended, as far as the time reaches."""
        for _ in range(2):  # the second time what the first one found lost, or was refused
            going_on = self._show(lambda: time.monotonic() > self._deadline - _LAST_S)
            if not going_on or not self._pending:
                break
        while self._last_steps and self._is_open and time.monotonic() < self._deadline:
            if not self._try(self._last_steps[0]):
                return
            self._last_steps.pop(0)

    def _show(self, should_stop: Callable[[], bool]) -> bool:
        """Show what changed, trial by trial; returns whether there is a point in going on with the rest."""
        refusals = 0
        for trial in self._changed():
            if should_stop():
                return False
            if not self._connect() or refusals == _REFUSALS:
                return False
            began = time.thread_time()
            refusals = 0 if self._shown(trial) else refusals + 1
            self._rest(time.thread_time() - began)
        return self._connect()

    def _changed(self) -> list[TrialLedger]:
        with self._lock:
            return list(self._pending.values())

    def _shown(self, trial: TrialLedger) -> bool:
        with self._lock:  # before it is read: what changes meanwhile has to be shown again
            del self._pending[trial.trial_id]
        may_be_wiped, was_refused = self._may_be_wiped, trial.trial_id in self._refused
        if self._try(partial(self._tracker.sync_trial, trial)):
            self._refused.discard(trial.trial_id)
            return True
        self._may_be_wiped = may_be_wiped or not was_refused  # refused twice, it is this trial that is not wanted
        self._refused.add(trial.trial_id)
        with self._lock:  # last, so that one trial that is refused does not hold up the others
            self._pending.setdefault(trial.trial_id, trial)
        return False

    def _connect(self) -> bool:
        """Open the tracker, again after an error; where what was shown may be gone, every trial is looked at."""
        if not self._is_open and self._try(self._tracker.open):
            self._is_open = True
            with self._lock:
                self._pending |= {**self._trials, **self._pending} if self._may_be_wiped else {}
            self._may_be_wiped = False
        return self._is_open

    def _rest(self, busy_s: float) -> None:
        """Leave the processor to the trials, until the run ends."""
        self._ending.wait(busy_s * (1 / self._share - 1))

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except TrackingError as error:
            self._is_open, self._may_be_wiped = False, True
            self._retry_at = time.monotonic() + self._retry_s
            self._warn_once("server", str(error))
            return False
        except Exception as error:  # the view must never end a run, whatever is wrong with it
            self._warn_once(str(error), f"tracking: {type(error).__name__}: {error}; results are safe")
        return True

    def _warn_once(self, about: str, message: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            self._warn(message)
