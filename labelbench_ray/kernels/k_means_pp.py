"""k-means++ by rejection from stale weights.

A row is to be drawn with probability proportional to its squared distance to the nearest centre (D^2). Rows drawn from
*weights* that are never below that distance, and accepted with probability distance / weight, follow exactly that law
given the centres so far, wherever the weights come from. So they may be cheap bounds:

- |g_i - g_c| <= |g_i| + |g_c|: the centre of smallest gradient bounds every row by its length alone;
- a rejected row's weight becomes its distance, which had to be worked out anyway;
- and where rejections have cost as much as it would, all weights are brought up to date by products.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.falls import Falls
from labelbench_ray.kernels.gradients import TINY, Gradients, residuals, squared_distances
from labelbench_ray.kernels.products import operand, padded_operand, product, rounding
from labelbench_ray.types import Floats, Task

CENTRES_PER_BLOCK = 256
"""Columns of one product over a tile."""

LOOSE = 0.1
"""A bound with more error than this share is replaced by the distance itself."""


def draw_places(weights_T: Floats, uniforms_S: Floats) -> NDArray[np.int64]:
    """(S,) places drawn in proportion to the weights, one for each uniform number in [0, 1); never one of weight 0."""
    heap_T = np.cumsum(weights_T)
    places = np.searchsorted(heap_T, uniforms_S * heap_T[-1], side="right")
    if len(places) and places.max() == len(heap_T):  # u * total can round up to the total itself
        places = np.minimum(places, np.flatnonzero(weights_T)[-1])
    drawn: NDArray[np.int64] = places.astype(np.int64)
    return drawn


class Walk(NamedTuple):
    """What came of a block of candidates, by their places in it."""

    accepted: NDArray[np.int64]
    rejected: NDArray[np.int64]
    distances: Floats
    """Squared distance of each rejected candidate to what it fell to."""


def walk(block: Gradients, falls: Falls, task: Task, *, wanted: int, rejections_allowed: float) -> Walk:
    """Accept, in order, each candidate that falls to no centre and to no accepted one, until ``wanted`` are accepted.

    Ends as well when more than ``rejections_allowed`` were rejected: the rest of the block is as if never drawn.
    """
    stands_S = falls.nearest_S == np.inf
    order = np.argsort(falls.rows_P, kind="stable")
    falling, mates = falls.rows_P[order], falls.mates_P[order]
    rows, firsts = np.unique(falling, return_index=True)
    for row, its_mates in zip(rows.tolist(), np.split(mates, firsts[1:]), strict=False):
        stands_S[row] &= not stands_S[its_mates].any()
    enough = (np.cumsum(stands_S) >= wanted) | (np.cumsum(~stands_S) > rejections_allowed)
    end = int(enough.argmax()) + 1 if enough.any() else len(stands_S)
    walked_S = np.arange(len(stands_S)) < end
    rejected_S = walked_S & ~stands_S
    distances_S = _to_mates(block, falls, stands_S, rejected_S, task)
    rejected = np.flatnonzero(rejected_S)
    return Walk(np.flatnonzero(walked_S & stands_S), rejected, distances_S[rejected])


def _to_mates(
    block: Gradients, falls: Falls, stands_S: NDArray[np.bool_], rejected_S: NDArray[np.bool_], task: Task
) -> Floats:
    """(S,) squared distance of rejected candidates to the nearest of what they fell to."""
    nearest_S = falls.nearest_S.copy()
    asked_P = rejected_S[falls.rows_P] & stands_S[falls.mates_P] & (nearest_S[falls.rows_P] == np.inf)
    rows, mates, low, high = (part[asked_P] for part in falls[1:])
    cut_S = np.full(len(nearest_S), np.inf)
    np.minimum.at(cut_S, rows, high)
    near = low <= cut_S[rows]
    distances = squared_distances(block, rows[near], block, mates[near], task)
    np.minimum.at(nearest_S, rows[near], distances)
    return nearest_S


class TileOperands(NamedTuple):
    """The factors of one tile's gradients."""

    rows: Gradients
    q_TC: torch.Tensor
    v_TD: torch.Tensor

    @classmethod
    def of(cls, rows: Gradients, task: Task, device: str = "cpu") -> "TileOperands":
        """Ready for products."""
        return cls(rows, operand(residuals(rows.probs_NC, task), device), operand(rows.vectors_ND, device))


def lowered_weights(weights_T: Floats, tile: TileOperands, centres: Gradients, task: Task) -> Floats:
    """(T,) bounds of the squared distance to the nearest centre, no higher than before.

    By products where their error hardly matters, else the distance to the centre that seems nearest.
    """
    lowered_T = weights_T.copy()
    for first in range(0, len(centres.ids_N), CENTRES_PER_BLOCK):
        part = centres.take(np.arange(first, min(first + CENTRES_PER_BLOCK, len(centres.ids_N))))
        seems_T, nearest_T, error_T = _seems_nearest(tile, part, task)
        loose = np.flatnonzero((lowered_T > 0) & (seems_T < lowered_T) & (error_T > LOOSE * seems_T))
        bound_T = seems_T + error_T
        bound_T[loose] = squared_distances(tile.rows, loose, part, nearest_T[loose], task)
        lowered_T = np.minimum(lowered_T, bound_T)
    return lowered_T


def _seems_nearest(tile: TileOperands, centres: Gradients, task: Task) -> tuple[Floats, NDArray[np.int64], Floats]:
    """(T,) squared distance to the centre that products say is nearest, which it is, and how far off that may be."""
    width, a_T, a_B = _padded(len(centres.ids_N)), tile.rows.a, centres.a
    device = str(tile.q_TC.device)
    crossed = product(tile.q_TC, padded_operand(residuals(centres.probs_NC, task), width, device))
    crossed *= product(tile.v_TD, padded_operand(centres.vectors_ND, width, device))
    scores = torch.from_numpy(a_B.astype(np.float32)).to(device) - 2 * crossed[:, : len(a_B)]
    least, nearest = scores.min(dim=1)
    nearest_T = nearest.cpu().numpy()
    size_T = a_T + a_B[nearest_T]
    error_T = size_T * _roundings(tile) * rounding(torch.float32) + TINY
    return np.maximum(least.cpu().numpy().astype(np.float64) + a_T, 0), nearest_T, error_T


def _roundings(tile: TileOperands) -> int:
    """Roundings that one entry of the table of distances goes through, amply."""
    return tile.q_TC.shape[1] + tile.v_TD.shape[1] + 16


def _padded(count: int) -> int:
    """Widths of products are powers of two from 8: few shapes, little waste."""
    return max(8, 1 << (count - 1).bit_length())
