"""Greedy k-center among rows whose distances to the centres so far are known exactly.

What every shard proposes are its farthest rows; rows that were not proposed are represented by a bound. The farthest of
all is picked while it surely is, so a batch of picks equals the greedy loop over the whole pool.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.distance_bounds import RoughRows, lowest, squared_distance
from labelbench_ray.types import Floats, Ids

PICKS_AT_ONCE = 128
"""Rows that are likely picked next: their distances to all others are bounded in one product."""


class Outsider(NamedTuple):
    """The best row that was not proposed: largest bound, lowest id. ``(-inf, -1)`` where every row was."""

    bound: float
    id: int


class Proposal(NamedTuple):
    """Rows of a shard with their squared distance to the nearest centre, and the best of the others."""

    ids_M: Ids
    distances_M: Floats
    vectors_MD: Floats
    outsider: Outsider


class Picked(NamedTuple):
    """What a batch of greedy picks found."""

    ids: Ids
    """In the order they were picked."""
    vectors_BD: Floats
    ids_M: Ids
    """Of all proposed rows, ascending."""
    distances_M: Floats
    """Squared distances of the proposed rows after the picks; -inf where picked."""

    @classmethod
    def nothing_but(cls, ids: Ids, vectors_BD: Floats) -> "Picked":
        """Centres to start from; their vectors may lie in another order."""
        return cls(ids, vectors_BD, np.empty(0, np.int64), np.empty(0))


def pick_greedily(proposals: Sequence[Proposal], count: int) -> Picked:
    """Pick farthest rows while they surely are the farthest of all, at most ``count``. Call it ``single_threaded``."""
    ids_M = np.concatenate([part.ids_M for part in proposals])
    order = np.argsort(ids_M)  # so that the first of the largest is the one of lowest id
    ids_M = ids_M[order]
    distances_M = np.concatenate([part.distances_M for part in proposals])[order]
    vectors_MD = np.concatenate([part.vectors_MD for part in proposals])[order]
    outsider = min((part.outsider for part in proposals), key=lambda best: (-best.bound, best.id))
    between = _Between(vectors_MD, distances_M)
    picks: list[int] = []
    while len(picks) < min(count, len(ids_M)):
        best = int(distances_M.argmax())
        if (-distances_M[best], ids_M[best]) > (-outsider.bound, outsider.id):
            break
        picks.append(best)
        distances_M[best] = -np.inf
        near = between.may_be_nearer(best, distances_M)
        if len(near):
            nearer = squared_distance(vectors_MD[near], vectors_MD[best])
            distances_M[near] = np.minimum(distances_M[near], nearer)
    return Picked(ids_M[picks], vectors_MD[picks], ids_M, distances_M)


class _Between:
    """Bounds on the distances between proposed rows, made for the likeliest picks together."""

    def __init__(self, vectors_MD: Floats, distances_M: Floats) -> None:
        self._rough = RoughRows.of(vectors_MD, vectors_MD.mean(axis=0), "cpu")
        self._low = self._rough.low_N.tolist()
        self._likeliest = np.argsort(-distances_M, kind="stable")
        self._rank = np.argsort(self._likeliest).tolist()
        self._made: dict[int, Floats] = {}

    def may_be_nearer(self, pick: int, distances_M: Floats) -> NDArray[np.int64]:
        """Places of rows that may be nearer to the pick than ``distances_M``."""
        group, row = divmod(self._rank[pick], PICKS_AT_ONCE)
        if group not in self._made:
            self._made[group] = self._lowest(group)
        # NaN, where float32 overflowed, exceeds nothing.
        return np.flatnonzero(~(self._made[group][row] > distances_M - self._low[pick]))

    def _lowest(self, group: int) -> Floats:
        likeliest = self._likeliest[group * PICKS_AT_ONCE : (group + 1) * PICKS_AT_ONCE]
        lowest_PM: Floats = lowest(self._rough.rows(likeliest), self._rough).cpu().numpy()
        return lowest_PM
