"""What is known of a stage of a run: its trials one by one, and what they hold, store and take together."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from labelbench_ray.api.forecasting.figures import NOT_KNOWN, Figure, total
from labelbench_ray.execution.preflight import Unit


class Work(NamedTuple):
    """One trial, training or shard: how long, and what it occupies."""

    figure: Figure
    unit: Unit


@dataclass(frozen=True)
class Bytes:
    """What will be stored. ``unknown`` names what is not in the sum because nobody knows its size."""

    known: int = 0
    unknown: tuple[str, ...] = ()

    def __add__(self, other: "Bytes") -> "Bytes":
        return Bytes(self.known + other.known, tuple(dict.fromkeys(self.unknown + other.unknown)))

    def times(self, count: int) -> "Bytes":
        """So many of it."""
        return Bytes(self.known * count, self.unknown if count else ())


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run."""

    name: str
    of: str
    """What is counted."""
    num_to_do: int
    num_done: int
    num_rounds: int
    """Trainings in what is to do; 0 of embedding."""
    work: tuple[Work, ...]
    at_a_time: int
    """How many run side by side on the nodes there will be; 0 where not even one fits."""
    wall_s: float | None
    """From its start to its end; None where nothing fits. What is unknown counts as nothing."""
    memory_gib: float | None
    """Largest peak that a process of such a trial was seen to reach; None where none was seen."""
    disk: Bytes
    """What it leaves."""
    scratch: Bytes
    """What the trials that run side by side keep while they run."""

    @property
    def figure(self) -> Figure:
        """All of it, one after another."""
        return total(one.figure for one in self.work)

    @property
    def one(self) -> Figure:
        """Mean of those of which anything is known; unknown where nothing is."""
        known = [one.figure for one in self.work if one.figure.known]
        whole = total(known or [NOT_KNOWN])
        return Figure(whole.seconds / max(1, len(known)), whole.origins)

    @cached_property
    def seconds_by_unit(self) -> list[tuple[Unit, list[float]]]:
        """Of each trial in order, by what it occupies."""
        found: list[tuple[Unit, list[float]]] = []
        for one in self.work:
            alike = next((seconds for unit, seconds in found if unit == one.unit), None)
            if alike is None:
                found.append((one.unit, alike := []))
            alike.append(one.figure.seconds)
        return found

    def hours(self, resource: str) -> float:
        """Hours of this resource that are held."""
        return sum(sum(seconds) * amount_held(unit, resource) for unit, seconds in self.seconds_by_unit) / 3600


def amount_held(unit: Unit, resource: str) -> float:
    """What one trial holds of a resource, in all its processes."""
    return sum(bundle.get(resource, 0.0) for bundle in unit.bundles)


def makespan(seconds: Sequence[float], at_a_time: int) -> float | None:
    """When the last one ends if each starts, in order, as soon as one of the places is free."""
    if not seconds:
        return 0.0
    if at_a_time < 1:
        return None
    ends = [0.0] * at_a_time
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)
