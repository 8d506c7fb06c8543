"""Gradient embeddings without ever forming them.

The gradient of the loss of row i at its predicted class, with respect to the last layer, is the outer product of
q = p - onehot(argmax p) and the embedding v. With a = |q|^2 |v|^2,

    |g_i - g_c|^2 = a_i + a_c - 2 (q_i . q_c)(v_i . v_c),

so two narrow products replace one of width C x D (Ash et al., 2020, appendix G, which omits the squares). That form
cancels where two gradients are close; ``squared_distances`` does not, and is what decides.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.products import rounding
from labelbench_ray.types import Floats, Ids, Task

ROWS_AT_ONCE = 64
"""Rows, or pairs of rows, that are held in float64 at once: their memory is used again, not asked for anew."""

Places = NDArray[np.int64]

SLACK = 1e-9
"""Relative error, amply, of one number computed in float64 from a row or a pair."""

TINY = float(np.finfo(np.float32).tiny)

SMALLEST = 1e-30
"""Sums of float32 squares outside SMALLEST .. 1 / SMALLEST may have lost terms."""

BEARABLE = 1 / 64
"""By how much bounds may be loose: the share of a tile's weight that may be error."""


class Gradients(NamedTuple):
    """Rows of the pool as they are stored, and the squared lengths of q and v in float64."""

    ids_N: Ids
    probs_NC: Floats
    vectors_ND: Floats
    q_norms_N: Floats
    v_norms_N: Floats

    @classmethod
    def of(cls, ids_N: Ids, probs_NC: Floats, vectors_ND: Floats, task: Task) -> "Gradients":
        """Rows with their lengths."""
        return cls(ids_N, probs_NC, vectors_ND, *squared_lengths(probs_NC, vectors_ND, task))

    @classmethod
    def laid_together(cls, parts: Sequence["Gradients"], places: Sequence[Places]) -> "Gradients":
        """One block of several, the rows of each at its places in the block."""
        size = sum(map(len, places))
        block = cls(*(np.empty((size, *column.shape[1:]), column.dtype) for column in parts[0]))
        for part, own in zip(parts, places, strict=True):
            for column, piece in zip(block, part, strict=True):
                column[own] = piece
        return block

    @property
    def a(self) -> Floats:
        """(N,) squared lengths of the gradients."""
        return self.q_norms_N * self.v_norms_N

    def take(self, places: Places | slice) -> "Gradients":
        """The rows at these places."""
        ids_N, probs_NC, vectors_ND, q_norms_N, v_norms_N = self
        lengths = q_norms_N[places], v_norms_N[places]
        return Gradients(ids_N[places], probs_NC[places], vectors_ND[places], *lengths)


def residuals(probs_NC: Floats, task: Task) -> Floats:
    """(N, C) q in float64: probabilities less the predicted class, or less every predicted label."""
    q_NC = np.array(probs_NC, np.float64)
    if task == "multi_label":
        q_NC -= q_NC >= 0.5
    else:
        q_NC[np.arange(len(q_NC)), probs_NC.argmax(axis=1)] -= 1
    return q_NC


def row_sums(rows_NC: Floats) -> Floats:
    """(N,) sums. Along the last axis the order of adding depends on C alone, so a row's sum is the same anywhere."""
    sums_N: Floats = np.ascontiguousarray(rows_NC).sum(axis=-1)
    return sums_N


def squared_lengths(probs_NC: Floats, vectors_ND: Floats, task: Task) -> tuple[Floats, Floats]:
    """(N,) |q|^2 and (N,) |v|^2 in float64, from q itself: expanding |p|^2 - 2 p_max + 1 would cancel."""
    q_norms_N, v_norms_N = np.empty(len(probs_NC)), np.empty(len(probs_NC))
    for first in range(0, len(probs_NC), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        q_norms_N[part] = row_sums(np.square(residuals(probs_NC[part], task)))
        v_norms_N[part] = row_sums(np.square(vectors_ND[part], dtype=np.float64))
    return q_norms_N, v_norms_N


def squared_distances(left: Gradients, lefts_P: Places, right: Gradients, rights_P: Places, task: Task) -> Floats:
    """(P,) squared distance of paired gradients, in float64; copies are at exactly 0.

    With s, t the means of the two q and of the two v, and e, w their differences, the difference of the outer products
    is s (x) w + e (x) t, hence |s|^2 |w|^2 + |e|^2 |t|^2 + 2 (s . e)(w . t): no difference of large numbers.
    """
    distance_P = np.empty(len(lefts_P))
    for first in range(0, len(distance_P), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        one, other = lefts_P[part], rights_P[part]
        q_PC, v_PD = residuals(left.probs_NC[one], task), left.vectors_ND[one].astype(np.float64)
        e_PC, w_PD = q_PC - residuals(right.probs_NC[other], task), v_PD - right.vectors_ND[other]
        s_PC, t_PD = q_PC - e_PC / 2, v_PD - w_PD / 2
        crossed_P = row_sums(s_PC * e_PC) * row_sums(w_PD * t_PD)
        straight_P = row_sums(s_PC**2) * row_sums(w_PD**2) + row_sums(e_PC**2) * row_sums(t_PD**2)
        distance_P[part] = np.maximum(straight_P + 2 * crossed_P, 0)
    return distance_P


def length_bounds(probs_TC: Floats, vectors_TD: Floats, task: Task) -> Floats:
    """(T,) float64 upper bounds of a, at the speed at which a tile is read.

    They exceed a by rounding errors of the sum of p^2, which hide a gradient only where a row is nearly sure. A tile
    whose sure rows could weigh anything gets them in float64.
    """
    probs, vectors = as_tensor(probs_TC), as_tensor(vectors_TD)
    v_norms_T = torch.linalg.vector_norm(vectors, dim=1).numpy().astype(np.float64) ** 2
    q_norms_T, doubt_T = _q_norms(probs, task)
    with np.errstate(over="ignore", invalid="ignore"):
        bounds_T: Floats = (q_norms_T + doubt_T) * v_norms_T * (1 + _relative_error(vectors))
        unknown_T = ~((v_norms_T > SMALLEST) & (v_norms_T < 1 / SMALLEST) & np.isfinite(bounds_T))
        if not doubt_T @ v_norms_T <= BEARABLE * (q_norms_T @ v_norms_T):
            unknown_T |= q_norms_T < doubt_T / BEARABLE
    for places in np.split(np.flatnonzero(unknown_T), range(ROWS_AT_ONCE, int(unknown_T.sum()), ROWS_AT_ONCE)):
        bounds_T[places] = np.prod(squared_lengths(probs_TC[places], vectors_TD[places], task), axis=0) * (1 + SLACK)
    return bounds_T


def _q_norms(probs: torch.Tensor, task: Task) -> tuple[Floats, Floats]:
    """(T,) squared norms of q, and how much they may be too small."""
    if task == "multi_label":
        norms_T = torch.linalg.vector_norm(torch.minimum(probs, 1 - probs), dim=1).numpy().astype(np.float64) ** 2
        return norms_T, norms_T * _relative_error(probs) + probs.shape[1] * TINY
    largest_T = probs.amax(dim=1).numpy().astype(np.float64)
    norms_T = torch.linalg.vector_norm(probs, dim=1).numpy().astype(np.float64) ** 2
    others_T = np.maximum(norms_T - largest_T**2, 0)
    return (1 - largest_T) ** 2 + others_T, norms_T * _relative_error(probs) + probs.shape[1] * TINY


def _relative_error(rows: torch.Tensor) -> float:
    """Of a sum of squares over the columns, in the rows' own dtype."""
    return (rows.shape[1] + 8) * rounding(rows.dtype)


def as_tensor(rows: Floats) -> torch.Tensor:
    """The same memory as a tensor, to be read only. numpy before 2.1 does not lend read-only memory: then a copy."""
    try:
        tensor: torch.Tensor = torch.utils.dlpack.from_dlpack(rows)
    except (BufferError, TypeError, RuntimeError):
        tensor = torch.from_numpy(rows.copy())
    return tensor
