"""k-means++ on gradient embeddings without ever forming them, by rejection from stale weights.

The gradient of the loss of row i at its predicted class, with respect to the last layer, is the outer product of
q = p - onehot(argmax p) and the embedding v. With a = |q|^2 |v|^2,

    |g_i - g_c|^2 = a_i + a_c - 2 (q_i . q_c)(v_i . v_c),

so two narrow products replace one of width C x D.

A row is to be drawn with probability proportional to its squared distance to the nearest centre (D^2). Rows drawn from
*stale* distances, which may miss the last few centres and so are never too small, and accepted with probability
current / stale, follow exactly that law given the centres so far. A block of candidates then costs two small products,
and the pool is passed over only when rejections have cost as much as a pass does.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.products import operand, padded_operand, product, squared_norms
from labelbench_ray.types import Floats, Ids, Task

CENTRES_PER_BLOCK = 256
"""Columns of one product over a tile."""

RESOLUTION = 2e-6
"""A squared distance below this share of the row's own a is rounding of float32 products, and counts as zero."""


class Gradients(NamedTuple):
    """Factors of gradient embeddings: ``g = outer(q, v)`` and ``a = |g|^2``."""

    ids_N: Ids
    a_N: Floats
    q_NC: Floats
    v_ND: Floats

    def take(self, places: NDArray[np.int64]) -> "Gradients":
        """The rows at these places."""
        return Gradients(self.ids_N[places], self.a_N[places], self.q_NC[places], self.v_ND[places])


def residuals(probs_NC: Floats, task: Task) -> tuple[Floats, Floats]:
    """(N, C) q and (N,) its squared norm, in float64.

    The norm is summed from 1 - p at the predicted class (p at the others): expanding |p|^2 - 2 p_max + 1 cancels.
    """
    q_NC = np.array(probs_NC, np.float64)
    if task == "multi_label":
        q_NC -= q_NC >= 0.5
    else:
        q_NC[np.arange(len(q_NC)), probs_NC.argmax(axis=1)] -= 1
    return q_NC, squared_norms(q_NC)


class TileGradients(NamedTuple):
    """The factors of one tile, as operands."""

    a_T: Floats
    q_TC: torch.Tensor
    v_TD: torch.Tensor

    @classmethod
    def of(cls, probs_TC: Floats, embeddings_TD: Floats, task: Task) -> "TileGradients":
        """From probabilities and embeddings."""
        q_TC, q_norms_T = residuals(probs_TC, task)
        return cls(q_norms_T * squared_norms(embeddings_TD), operand(q_TC), operand(embeddings_TD))


def distances_to(tile: TileGradients, centres: Gradients) -> Floats:
    """(T, B) float32 squared distances; what rounding alone could give is zero."""
    width = _padded(len(centres.a_N))
    crossed_TB = product(tile.q_TC, padded_operand(centres.q_NC, width)).numpy()
    crossed_TB *= product(tile.v_TD, padded_operand(centres.v_ND, width)).numpy()
    crossed_TB = crossed_TB[:, : len(centres.a_N)]
    a_T1 = tile.a_T.astype(np.float32)[:, None]
    crossed_TB *= -2
    crossed_TB += a_T1
    crossed_TB += centres.a_N.astype(np.float32)
    crossed_TB[crossed_TB <= RESOLUTION * a_T1] = 0
    return crossed_TB


def distance_to_nearest(tile: TileGradients, centres: Gradients) -> Floats:
    """(T,) float64 squared distance to the nearest of these centres."""
    nearest_T = np.full(len(tile.a_T), np.inf)
    for first in range(0, len(centres.a_N), CENTRES_PER_BLOCK):
        block = centres.take(np.arange(first, min(first + CENTRES_PER_BLOCK, len(centres.a_N))))
        nearest_T = np.minimum(nearest_T, distances_to(tile, block).min(axis=1))
    return nearest_T


def _padded(count: int) -> int:
    """Widths of products are powers of two from 8: few shapes, little waste."""
    return max(8, 1 << (count - 1).bit_length())


def draw_places(weights_T: Floats, uniforms_S: Floats) -> NDArray[np.int64]:
    """(S,) places drawn in proportion to the weights, one for each uniform number in [0, 1); never one of weight 0."""
    heap_T = np.cumsum(weights_T)
    places = np.searchsorted(heap_T, uniforms_S * heap_T[-1], side="right")
    # u * total can round up to the total itself.
    last = np.flatnonzero(weights_T)[-1]
    drawn: NDArray[np.int64] = np.minimum(places, last).astype(np.int64)
    return drawn


class Candidates(NamedTuple):
    """Rows drawn from stale weights."""

    gradients: Gradients
    stale_S: Floats


class Walk(NamedTuple):
    """What came of a block of candidates."""

    accepted: NDArray[np.int64]
    """Places of the accepted candidates, in order."""
    rejections: int
    stopped: bool
    """The rejections reached the limit before the block was at its end."""


def walk(candidates: Candidates, since: Gradients, uniforms_S: Floats, wanted: int, rejections_allowed: float) -> Walk:
    """Accept each candidate with probability current / stale, in order, until ``wanted`` or too many were rejected.

    ``since`` are the centres that the stale weights miss. Call it inside ``single_threaded``.
    """
    drawn, stale_S = candidates
    block = TileGradients(drawn.a_N, operand(drawn.q_NC), operand(drawn.v_ND))
    current_S = np.minimum(stale_S, distance_to_nearest(block, since))
    current_S[np.isin(drawn.ids_N, since.ids_N)] = 0
    table_SS = distances_to(block, drawn)
    accepted: list[int] = []
    rejections = 0
    for place, (uniform, stale) in enumerate(zip(uniforms_S, stale_S, strict=True)):
        if uniform * stale < current_S[place]:
            accepted.append(place)
            np.minimum(current_S, table_SS[:, place], out=current_S)
            current_S[drawn.ids_N == drawn.ids_N[place]] = 0
        else:
            rejections += 1
        if len(accepted) == wanted or rejections > rejections_allowed:
            break
    return Walk(np.array(accepted, np.int64), rejections, rejections > rejections_allowed)
