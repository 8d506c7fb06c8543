"""A line of the training benchmark's table, and what a module that measures some of them is told.

A module ``training_<area>.py`` has one function, ``rows(settings) -> list[Row]``, and imports torch, ray and the
library inside it. It runs in a process of its own, on one thread unless it says otherwise. What cannot be measured on
this machine is a row that says why (``skipped``); an error is the caller's business, not to be caught.

    from training_rows import Row, Settings, by_turns, median_ratio

    def rows(settings: Settings) -> list[Row]:
        times = by_turns({"ours": embed_bf16, "other": embed_float32}, settings.repeats)
        return [Row(key="embed_bf16_ratio", what="embedding, ViT-B/32: bf16 against float32", unit="x",
                    value=median_ratio(times["other"], times["ours"]), wanted=3.3)]
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user asked for, the same for all modules. Picklable."""

    smoke: bool
    """Tiny sizes: does everything run? A module takes ten seconds at most then."""
    repeats: int
    """Turns of each contestant; medians over them are told."""
    folder: Path
    """For files that are made once and kept, such as pools; it is there."""
    seeds: int = 1
    """Paired seeds whose accuracies are compared, where accuracies are: as many turns at least."""
    labelbench: Path | None = None
    """A checkout of LabelBench, commit 9e23393."""
    features: Path | None = None
    """Real vectors: ``train_features``, ``train_labels``, ``test_features``, ``test_labels`` of an ``.npz`` file."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of the table."""

    key: str
    """Its key in the JSON file."""
    what: str
    """What was measured, for a reader of the table."""
    unit: str
    """``x`` (times faster), ``s``, ``ms``, ``share`` (of a rate), or empty (a count)."""
    value: float | None = None
    """None where ``skipped`` or ``failed`` says why."""
    wanted: float | None = None
    """What it should be: at least this, or at most this for ``s``, ``ms`` and counts."""
    details: str = ""
    """What a reader should know: the two times behind a ratio, sizes, what is left out of the clock."""
    skipped: str = ""
    failed: str = ""
    """What the error said that came instead."""
    more: Mapping[str, float] = field(default_factory=dict)
    """Further keys for the JSON file."""

    @property
    def reached(self) -> bool | None:
        """Whether the figure is what is wanted; None where nothing is wanted or measured."""
        if self.value is None or self.wanted is None:
            return None
        return self.value >= self.wanted if self.more_is_better else self.value <= self.wanted

    @property
    def more_is_better(self) -> bool:
        """Whether ``wanted`` is a least value."""
        return self.unit in ("x", "share")


def by_turns(
    works: Mapping[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of every work, taking turns so that a busy machine is busy for all. The first turn is thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            began = clock()
            work()
            if turn:
                taken[name].append(clock() - began)
    return taken


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Ratio of the medians of two lists of seconds."""
    return statistics.median(numerator) / statistics.median(denominator)
