"""What a tracker must do: show the ledger somewhere else."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from labelbench_ray.benchmark.state import State, TrialLedger


class Tracker(Protocol):
    """A view of the ledger somewhere else.

    Every method may be called again at any time and then changes nothing. Raises TrackingError when the other side
    cannot be used, LedgerError when the ledger cannot be read.
    """

    def load(self) -> None:
        """Import whatever the other methods will need, in this thread."""
        ...

    def open(self) -> None:
        """Find or make the place of this grid."""
        ...

    def sync_trial(self, trial: TrialLedger) -> None:
        """Show what the ledger knows of this trial and is not shown yet."""
        ...

    def watch_machine(self) -> None:
        """Show how this machine is doing, if it was not shown a moment ago."""
        ...

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Put files beside the grid, and ``note`` (markdown) where a reader looks first."""
        ...

    def close(self, state: State) -> None:
        """Tell how the grid ended, or that it runs on, as it does where another driver is left.

        A trial that still counts as running though nobody holds it was killed.
        """
        ...


class NoTracker:
    """Tracks nothing."""

    def load(self) -> None:
        """Do nothing."""

    def open(self) -> None:
        """Do nothing."""

    def sync_trial(self, trial: TrialLedger) -> None:
        """Do nothing."""

    def watch_machine(self) -> None:
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
