"""One clean live view of a grid: trials, rounds, the current metric and the time left; plain lines off a terminal."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_INTERVAL_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a trial."""

    trial: str
    name: str
    """How the trial is called in tables."""
    what: Literal["round", "done", "failed", "retry"]
    round: int = 0
    num_labeled: int = 0
    test_accuracy: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    """Of a round: seconds of its stages, by name, and what else it cost."""
    error: str = ""
    note: str = ""
    """What to show of it where a budget and a test accuracy do not tell it."""


class Watch(Protocol):
    """Told of every event, in the driver's process."""

    def __call__(self, event: Event) -> None:
        """Take note of it."""
        ...


@dataclass
class Terminal:
    """Shows a stage's progress on stderr. Use as a context manager around the stage."""

    title: str
    trials: int
    rounds: int
    """Rounds still to do in all trials."""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic

    def __enter__(self) -> "Terminal":
        self._done_rounds = self._done_trials = self._failed = 0
        self._started = self._last_line = self.clock()
        self._first_round: float | None = None
        self._live: Progress | None = None
        if self.stream.isatty():
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("rounds  {task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(file=self.stream),
            )
            self._task = self._live.add_task(self.title, total=self.rounds, note="starting")
            self._live.start()
        else:
            print(f"{self.title}: {self.trials} trials, {self.rounds} rounds", file=self.stream, flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
        else:
            self._line()

    def __call__(self, event: Event) -> None:
        """Count an event and show it."""
        if event.what == "round":
            self._first_round = self._first_round or self.clock()
            self._done_rounds += 1
        else:
            self._done_trials += event.what == "done"
            self._failed += event.what == "failed"
        if event.what in {"failed", "retry"}:
            self._say(f"{event.name}: {event.what}: {event.error}")
        if self._live:
            self._live.update(self._task, completed=self._done_rounds, note=self._note(event))
        elif self.clock() - self._last_line > PLAIN_INTERVAL_S:
            self._line()

    def _note(self, event: Event) -> str:
        trials = f"{self._done_trials}/{self.trials} trials"
        failed = f", {self._failed} failed" if self._failed else ""
        metric = (
            f"  {event.name} @{event.num_labeled}: {event.test_accuracy:.1%}" if event.test_accuracy is not None else ""
        )
        return f"{trials}{failed}{metric}" + (f"  {event.note}" if event.note else "")

    def _line(self) -> None:
        self._last_line = self.clock()
        elapsed = self.clock() - self._started
        left = self._seconds_left()
        told = "" if not left else f", about {left:.0f} s left"
        failed = f", {self._failed} failed" if self._failed else ""
        counts = f"{self._done_trials}/{self.trials} trials, {self._done_rounds}/{self.rounds} rounds"
        print(f"{self.title}: {counts}{failed}, {elapsed:.0f} s{told}", file=self.stream, flush=True)

    def _seconds_left(self) -> float | None:
        """From the rate since the first round: processes start slowly, rounds do not."""
        if self._first_round is None or self._done_rounds < 2:
            return None
        pace = (self.clock() - self._first_round) / (self._done_rounds - 1)
        return pace * (self.rounds - self._done_rounds)

    def _say(self, text: str) -> None:
        if self._live:
            self._live.console.print(text, markup=False)
        else:
            print(text, file=self.stream, flush=True)
