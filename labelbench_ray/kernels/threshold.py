"""One-dimensional thresholds: rows stand in a line, and those before a threshold are said to belong to a class.

Labelled rows carry a sign, +1 inside the class and -1 outside. The accuracy of a threshold is the sum of the signs
before it minus the sum of those behind it. It changes at labelled rows only, so nothing here is as long as the line.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Signs = NDArray[np.signedinteger[Any]]


class VersionSpace(NamedTuple):
    """The labelled rows, counted along the line, between which the best threshold is sought."""

    left: int
    """The last one of the class before the first one outside; -1 if the line begins with one outside."""
    right: int
    """The first one outside behind the last one of the class; L if the line ends with one of the class."""


def version_space(signs_L: Signs) -> VersionSpace:
    """Leave out where no threshold of least error lies: among rows of the class at the head, among others at the tail.

    >>> version_space(np.array([1, 1, -1, 1, -1, -1]))
    VersionSpace(left=1, right=4)
    """
    inside = np.flatnonzero(signs_L > 0)
    outside = np.flatnonzero(signs_L < 0)
    left = int(outside[0]) - 1 if outside.size else len(signs_L) - 1
    right = int(inside[-1]) + 1 if inside.size else 0
    return VersionSpace(left, right)


def best_threshold(signs_L: Signs) -> int:
    """How many labelled rows stand before the most accurate threshold, the fewest on ties.

    >>> best_threshold(np.array([1, -1, 1, 1, -1]))
    4
    """
    return int(np.concatenate([[0], np.cumsum(signs_L)]).argmax())


def num_to_keep(num_free: int, rounds: int) -> int:
    """Unlabelled rows to leave in a version space, so that an equal factor in each of ``rounds`` would leave one."""
    return num_free if rounds <= 1 or num_free == 0 else math.ceil(num_free / math.pow(num_free, 1 / rounds))


class Tosses(Protocol):
    """Fair coins, each moving one of two ends by a row."""

    def __call__(self, most_left: int, most_right: int, most: int) -> tuple[int, int]:
        """Moves of the left and the right end; the last toss is the one that reaches one of the three limits."""
        ...


def fair_tosses(rng: np.random.Generator, most_left: int, most_right: int, most: int) -> tuple[int, int]:
    """``Tosses`` from a stream: as many coins at once as cannot pass a limit, so about log2 of them binomial draws."""
    left = right = 0
    while (coins := min(most_left - left, most_right - right, most - left - right)) > 0:
        heads = int(rng.binomial(coins, 0.5))
        left, right = left + heads, right + coins - heads
    return left, right


def shrink(signs_S: Signs, first: int, last: int, num_keep: int, tosses: Tosses) -> tuple[int, int]:
    """Move the ends ``first`` and ``last`` together until ``num_keep`` >= 1 unlabelled rows lie from one to the other.

    ``signs_S`` is the line, 0 where a row is unlabelled. Of the thresholds just before row ``first`` and just before
    row ``last`` the less accurate one gives way by a row, and a coin decides between equals. The right one is more
    accurate by twice the sum of the signs between them, which stays the same until an end meets a labelled row: so ends
    move in strides from one to the next.
    """
    ends = _Ends(signs_S, first, last)
    while (surplus := ends.num_free - num_keep) > 0:
        ends.move(*ends.stride(surplus, tosses))
    return ends.first, ends.last


def leap(signs_S: Signs, num_keep: int) -> tuple[int, int]:
    """Most of what ``shrink`` does to a whole line, at once: its ends when they meet coins that decide something.

    The less accurate end gives way, so both ends have to reach an accuracy before either goes on from there, and each
    stands, when they have, at the first place of its way that is as accurate. This is that moment for the highest
    accuracy that leaves more than ``num_keep`` unlabelled rows; going on from it with ``shrink`` gives every outcome
    the chance that it had from the start.
    """
    last = len(signs_S) - 1
    between = np.flatnonzero(signs_S[:last])
    nth = np.arange(len(between))
    from_left = _Way(np.cumsum(signs_S[between]), between - nth)
    from_right = _Way(-np.cumsum(signs_S[between[::-1]]), last - between[::-1] - nth - bool(signs_S[last]))
    lead = int(signs_S[between].sum())
    surplus = int((signs_S == 0).sum()) - num_keep
    level = _last_true(
        lambda level: from_left.rows_to(level) + from_right.rows_to(level - lead) < surplus,
        min(0, lead),
        max(from_left.peak, from_right.peak + lead),
    )
    left, right = from_left.labels_to(level), from_right.labels_to(level - lead)
    return int(between[left - 1]) + 1 if left else 0, int(between[-right]) if right else last


class _Way:
    """What one end gains in accuracy as it passes labelled rows, and how many unlabelled rows it has passed then."""

    def __init__(self, gains_L: NDArray[np.int64], rows_L: NDArray[np.int64]) -> None:
        self._peaks = np.maximum.accumulate(np.concatenate([[0], gains_L]))
        self._rows = np.concatenate([[0], rows_L])
        self.peak = int(self._peaks[-1])

    def labels_to(self, gain: int) -> int:
        """Labelled rows to pass until that much is gained first."""
        return int(np.searchsorted(self._peaks, gain))

    def rows_to(self, gain: int) -> float:
        """Unlabelled rows to pass for it; no number of them is enough beyond the peak."""
        return float(self._rows[self.labels_to(gain)]) if gain <= self.peak else math.inf


def _last_true(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last integer for which it holds, if it holds up to some one and then no more; ``low`` if for none."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


class _Ends:
    """The two ends of a version space, and the labelled rows from ``first`` to ``last - 1``."""

    def __init__(self, signs_S: Signs, first: int, last: int) -> None:
        self.first, self.last = first, last
        labelled = first + np.flatnonzero(signs_S[first : last + 1])
        self.num_free = last + 1 - first - len(labelled)
        self._signs = dict(zip(labelled.tolist(), signs_S[labelled].tolist(), strict=True))
        self._between = labelled[labelled < last].tolist()
        self._left, self._right = 0, len(self._between) - 1
        self._lead = int(signs_S[labelled[labelled < last]].sum())

    def stride(self, surplus: int, tosses: Tosses) -> tuple[int, int]:
        """How far the ends move before anything changes: left end, right end."""
        to_left, to_right = max(1, self._to_left), max(1, self._to_right)
        if self._lead > 0:
            return min(to_left, surplus), 0
        if self._lead < 0:
            return 0, min(to_right, surplus + self._ends_labelled)
        plain = self._to_left and self._to_right and not self._ends_labelled
        return tosses(to_left, to_right, surplus if plain else 1)

    def move(self, left: int, right: int) -> None:
        """Let both ends give way by so many rows, none of which but the last may change the accuracy."""
        pass_left, pass_right = left and not self._to_left, right and not self._to_right
        if pass_left:  # the row left behind is labelled
            self._lead -= self._signs[self.first]
            self._left += 1
        if pass_right:  # the row that is the last from now on no longer lies between the thresholds
            self._lead -= self._signs[self.last - 1]
            self._right -= 1
        self.num_free -= 0 if pass_left else left
        self.num_free -= right - self._ends_labelled if right else 0
        self.first, self.last = self.first + left, self.last - right

    @property
    def _to_left(self) -> int:
        """Unlabelled rows that the left end can pass before it stands at a labelled one."""
        return (self._between[self._left] if self._left <= self._right else self.last) - self.first

    @property
    def _to_right(self) -> int:
        """Rows that the right end can pass before it stands just behind a labelled one."""
        return self.last - 1 - (self._between[self._right] if self._left <= self._right else self.first - 1)

    @property
    def _ends_labelled(self) -> bool:
        """The row ``last`` is labelled: passing it costs no unlabelled row."""
        return self.last in self._signs
