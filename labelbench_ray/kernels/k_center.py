"""Greedy k-center, exact, with upper bounds that may be stale.

The distance that counts is ``squared_distance``: float64, of differences, so it does not depend on where a row lies,
and copies of a row are at distance exactly 0. Products in float32 only guess which centre is nearest. A row's bound is
the distance that counts to *some* centre, hence never below its distance to the nearest; a row whose bound is largest
after it was brought up to date is the farthest, whatever the bounds of the others are. So the answer is a function of
the data alone: not of tiles, shards, threads or the rounding of a product.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.products import padded_operand, product, squared_norms
from labelbench_ray.types import Floats, Ids

CENTRES_PER_BLOCK = 256
"""Columns of one product: enough to run at full rate, few enough that a tile's result stays in cache."""

ROWS_AT_ONCE = 1024
"""Rows whose float64 differences are held at once."""


def squared_distance(left_ND: Floats, right_ND: Floats) -> Floats:
    """(N,) squared Euclidean distance of paired rows (or of rows to one row), in float64."""
    difference_ND = np.asarray(left_ND, np.float64) - right_ND
    # Not einsum or a product: a sum along the last axis adds in an order that depends on D alone.
    distance_N: Floats = np.square(difference_ND, out=difference_ND).sum(axis=-1)
    return distance_N


class Centres:
    """Centres as operands of fixed shape, with what the expanded distance needs of them."""

    def __init__(self, vectors_BD: Floats) -> None:
        self.vectors_BD = np.asarray(vectors_BD, np.float32)
        firsts = range(0, len(vectors_BD), CENTRES_PER_BLOCK)
        self._blocks = [self.vectors_BD[first : first + CENTRES_PER_BLOCK] for first in firsts]
        self._operands = [padded_operand(block, _padded(len(block))) for block in self._blocks]
        self._norms = [squared_norms(block).astype(np.float32) for block in self._blocks]

    def likely_nearest(self, rows_TD: torch.Tensor) -> tuple[NDArray[np.int64], Floats]:
        """(T,) which centre is probably nearest, and its float32 distance less the row's own squared norm."""
        nearest_T = np.zeros(len(rows_TD), np.int64)
        score_T = np.full(len(rows_TD), np.inf, np.float32)
        for number, (operand, norms) in enumerate(zip(self._operands, self._norms, strict=True)):
            scores_TB = norms - 2 * product(rows_TD, operand).numpy()[:, : len(norms)]
            best_T = scores_TB.argmin(axis=1)
            least_T = scores_TB[np.arange(len(best_T)), best_T]
            closer_T = least_T < score_T
            score_T[closer_T] = least_T[closer_T]
            nearest_T[closer_T] = best_T[closer_T] + number * CENTRES_PER_BLOCK
        return nearest_T, score_T


def _padded(count: int) -> int:
    """Widths of products are powers of two from 8: few shapes, little waste."""
    return max(8, 1 << (count - 1).bit_length())


def lower_bounds(bound_T: Floats, rows_TD: torch.Tensor, norms_T: Floats, centres: Centres) -> Floats:
    """(T,) bounds after these centres were added: the least of each and the distance to its likely nearest."""
    nearest_T, score_T = centres.likely_nearest(rows_TD)
    # A row skipped here because float32 misjudged it keeps a valid, looser bound.
    closer = np.flatnonzero(score_T + norms_T < bound_T)
    lowered_T = bound_T.copy()
    rows = rows_TD.numpy()
    for first in range(0, len(closer), ROWS_AT_ONCE):
        part = closer[first : first + ROWS_AT_ONCE]
        distance = squared_distance(rows[part], centres.vectors_BD[nearest_T[part]])
        lowered_T[part] = np.minimum(lowered_T[part], distance)
    return lowered_T


class Outsider(NamedTuple):
    """The best row that was not proposed: largest bound, lowest id. ``(-inf, -1)`` where every row was."""

    bound: float
    id: int


class Proposal(NamedTuple):
    """The rows of a shard with the largest bounds, and the best of the others."""

    ids_M: Ids
    bounds_M: Floats
    vectors_MD: Floats
    outsider: Outsider


class Picked(NamedTuple):
    """What a batch of greedy picks found."""

    ids: list[int]
    ids_M: Ids
    bounds_M: Floats
    """Bounds of the proposed rows after the picks."""


def pick_greedily(
    proposals: Sequence[Proposal], centres_LD: Floats, known: dict[int, tuple[float, int]], count: int
) -> Picked:
    """Pick farthest rows while they surely are the farthest of all, at most ``count``.

    ``centres_LD`` are all centres so far. ``known`` remembers distances that are exact: id -> (distance to the nearest
    of the first n centres, n), and is added to. Rows that were not proposed are represented by the best of them.
    Nothing picked means that bounds fell: propose again.
    """
    ids_M = np.concatenate([part.ids_M for part in proposals])
    vectors_MD = np.concatenate([part.vectors_MD for part in proposals])
    bounds_M = np.concatenate([part.bounds_M for part in proposals])
    outsider = min((part.outsider for part in proposals), key=lambda best: (-best.bound, best.id))
    for_sale_M = np.ones(len(ids_M), bool)
    exact_M = np.zeros(len(ids_M), bool)
    picked: list[int] = []
    new_BD = np.empty((min(count, len(ids_M)), vectors_MD.shape[1]), np.float32)
    while len(picked) < count and for_sale_M.any():
        best = _farthest(bounds_M, ids_M, for_sale_M)
        if (-bounds_M[best], ids_M[best]) > (-outsider.bound, outsider.id):
            break
        if not exact_M[best]:
            exact = _exact_distance(int(ids_M[best]), vectors_MD[best], centres_LD, known)
            since = squared_distance(new_BD[: len(picked)], vectors_MD[best])
            bounds_M[best], exact_M[best] = since.min(initial=exact), True
            continue
        new_BD[len(picked)] = vectors_MD[best]
        picked.append(int(ids_M[best]))
        for_sale_M[best] = False
        bounds_M = np.minimum(bounds_M, squared_distance(vectors_MD, vectors_MD[best]))
    return Picked(picked, ids_M, bounds_M)


def _farthest(bounds_M: Floats, ids_M: Ids, for_sale_M: NDArray[np.bool_]) -> int:
    level = np.flatnonzero(for_sale_M & (bounds_M == bounds_M[for_sale_M].max()))
    return int(level[np.argmin(ids_M[level])])


def _exact_distance(row: int, vector_D: Floats, centres_LD: Floats, known: dict[int, tuple[float, int]]) -> float:
    """Distance that counts to the nearest centre; only centres added since the last time are looked at."""
    exact, seen = known.get(row, (np.inf, 0))
    for first in range(seen, len(centres_LD), ROWS_AT_ONCE):
        exact = min(exact, float(squared_distance(centres_LD[first : first + ROWS_AT_ONCE], vector_D).min()))
    known[row] = (exact, len(centres_LD))
    return exact
