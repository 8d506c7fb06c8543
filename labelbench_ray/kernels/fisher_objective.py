"""tr(M^-1 F), what BAIT makes small, and how it changes when rows are exchanged.

M = lambda I + sum of the Fisher matrices of the rows of a set, F the same sum over the pool. Kept are A = M^-1 and
W = A F A (n x n, n = R D, R = C - 1). Taking rows in and out of the set is a change of low rank: with U the columns
x_i (x) S_i of those rows and J a diagonal of +1 (in) and -1 (out), Woodbury's identity gives

    M'^-1 = A - A U K^-1 U^T A,    K = J + U^T A U,    tr(M'^-1 F) = tr(A F) - tr(K^-1 U^T W U).

U^T A U needs no n x n product, because U is made of x and S: (x (x) I)^T A (x (x) I) first, which is R x R.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.fisher import FisherRows, class_factors, whole_matrix
from labelbench_ray.types import Floats

PANEL_WIDTH = 512
"""Columns of a panel. Wider ones multiply faster, narrower ones leave out more of what symmetry gives for free."""

SINGULAR_RIDGE = 1e-12
"""The least ridge where none leaves M singular, as a share of the mean of F's diagonal."""


class _Panel(NamedTuple):
    """Columns of the directions first .. last-1 of A and W, from the diagonal down."""

    first: int
    last: int
    both: torch.Tensor
    """(2, (D - first) R, (last - first) R)."""


class Factored(NamedTuple):
    """Rows as changes of the objective see them: x, and S with P = S S^T."""

    x_BD: Floats
    factors_BRr: Floats

    @classmethod
    def of(cls, rows: FisherRows) -> "Factored":
        """From their probabilities."""
        return cls(rows.x_BD.numpy(), class_factors(rows).numpy())

    def take(self, places: slice | NDArray[np.int64] | list[int]) -> "Factored":
        """Some of the rows."""
        return Factored(self.x_BD[places], self.factors_BRr[places])


class FisherObjective:
    """The value of a set of rows, kept while rows come and go.

    A and W are symmetric: only panels of columns from the diagonal down are held, which halves memory and time.
    """

    def __init__(self, pool_sum: torch.Tensor, set_sum: torch.Tensor, num_free: int, width: int, ridge: float) -> None:
        """Start from sums over pairs as ``fisher_sum`` gives them, over the pool and the set; ``num_free`` is R.

        Where the ridge (lambda) leaves M singular, it is raised until it does not.
        """
        self._num_free, self._width = num_free, width
        fisher = whole_matrix(pool_sum, num_free, width)
        inverse = _ridged_inverse(whole_matrix(set_sum, num_free, width), fisher, num_free, ridge)
        self.value = float((inverse * fisher).sum())
        weights = inverse @ fisher @ inverse
        self._panels = []
        directions_at_once = max(1, PANEL_WIDTH // num_free)
        for first in range(0, width, directions_at_once):
            last = min(first + directions_at_once, width)
            columns, below = self._places(first, last), self._places(first, width)
            self._panels.append(_Panel(first, last, torch.stack([inverse[below, columns], weights[below, columns]])))

    def matrices(self) -> torch.Tensor:
        """(2, n, n) A and W."""
        order = self._num_free * self._width
        whole = self._panels[0].both.new_empty(2, order, order)
        for first, last, both in self._panels:
            columns, below = self._places(first, last), self._places(first, self._width)
            whole[:, columns, below] = both.mT
            whole[:, below, columns] = both
        return whole

    def swap_gains(self, rows: Factored) -> Floats:
        """(B - 1,) by how much the value falls if the first row is taken out and one of the others put in instead.

        NaN or infinite where the first row cannot be missed (M would be singular).
        """
        factors = rows.factors_BRr
        own, crossed = self._around(rows.x_BD)
        turned = factors.swapaxes(1, 2)
        (k_own, v_own), (k_crossed, v_crossed) = turned @ own @ factors, turned[0] @ crossed[:, 1:] @ factors[1:]
        diagonal = np.arange(factors.shape[2])
        k_own[0, diagonal, diagonal] -= 1
        k_own[1:, diagonal, diagonal] += 1
        # K and V = U^T W U have four blocks. The row put in is eliminated first: its block is I and more.
        added = _inverse(k_own[1:])
        pulled = k_crossed @ added
        removed = _inverse(k_own[0] - pulled @ k_crossed.swapaxes(1, 2))
        rest = v_own[0] + (pulled @ v_own[1:] - 2 * v_crossed) @ pulled.swapaxes(1, 2)
        gains: Floats = (added * v_own[1:]).sum(axis=(1, 2)) + (removed * rest).sum(axis=(1, 2))
        return gains

    def change(self, rows: Factored, signs: tuple[int, ...]) -> None:
        """Put rows into the set (sign 1) and take rows out of it (sign -1)."""
        x_BD, factors = rows
        rank = factors.shape[2]
        order = self._num_free * self._width
        carried = (factors.swapaxes(1, 2) @ self._times(x_BD)).reshape(2, -1, order)
        inner, weights = _against(x_BD, factors, carried)
        inner = inner + _signs(signs, rank)
        inverse = np.linalg.inv(inner)
        self.value -= float((inverse * weights).sum())
        # With Y = U^T A, Z = U^T W and V = U^T W U: A falls by Y^T K^-1 Y, and W by Y^T L + L^T Y where
        # L = K^-1 (Z - V K^-1 Y / 2), which is A' F A' multiplied out.
        ya, yw = carried
        solved = inverse @ ya
        lowered = inverse @ (yw - 0.5 * (weights @ solved))
        self._subtract(torch.from_numpy(ya), torch.from_numpy(solved), torch.from_numpy(lowered))

    def _subtract(self, ya: torch.Tensor, solved: torch.Tensor, lowered: torch.Tensor) -> None:
        """Y^T K^-1 Y from A, and Y^T L + L^T Y from W, in place."""
        ya_columns, lowered_columns = ya.T.contiguous(), lowered.T.contiguous()
        for first, last, both in self._panels:
            columns, below = self._places(first, last), self._places(first, self._width)
            both[0].addmm_(ya_columns[below], solved[:, columns], alpha=-1)
            both[1].addmm_(ya_columns[below], lowered[:, columns], alpha=-1)
            both[1].addmm_(lowered_columns[below], ya[:, columns], alpha=-1)

    def _around(self, x_BD: Floats) -> tuple[Floats, Floats]:
        """(2, B, R, R) twice: with x_b on both sides of A and of W, and with the first x on the left, x_b on the right.

        What lies above the diagonal is the transpose of what lies below, the two x exchanged, and the squares on the
        diagonal are half in either.
        """
        own, crossed = np.zeros((2, 2, len(x_BD), self._num_free, self._num_free))
        own_and_first = np.stack([x_BD, np.broadcast_to(x_BD[:1], x_BD.shape)], axis=1)[:, None]
        for first, last, both in self._panels:
            halved = x_BD[:, first:].copy()
            halved[:, : last - first] *= 0.5
            left = self._from_left(halved, both.numpy()).reshape(*own.shape[:3], last - first, self._num_free)
            found = own_and_first[..., first:last] @ left
            own += found[:, :, :, 0]
            crossed += found[:, :, :, 1].swapaxes(2, 3)
            crossed += (x_BD[:, first:last] @ left[:, 0]).swapaxes(1, 2)
        return own + own.swapaxes(2, 3), crossed

    def _times(self, x_BD: Floats) -> Floats:
        """(2, B, R, n) (x_b (x) I)^T A and (x_b (x) I)^T W."""
        result = np.zeros((2, len(x_BD), self._num_free, self._num_free * self._width))
        for first, last, both in self._panels:
            result[..., self._places(first, last)] += self._from_left(x_BD[:, first:], both.numpy())
            if last < self._width:
                below = both.numpy()[:, (last - first) * self._num_free :]
                right = x_BD[:, first:last] @ below.reshape(2, -1, last - first, self._num_free)
                result[..., self._places(last, self._width)] += right.transpose(0, 2, 3, 1)
        return result

    def _from_left(self, x_BD: Floats, both: Floats) -> Floats:
        """(2, B, R, columns) a panel with x_b, as many directions as it has rows for, on the left."""
        product = x_BD @ both.reshape(2, x_BD.shape[1], -1)
        return product.reshape(2, len(x_BD), self._num_free, -1)

    def _places(self, first: int, last: int) -> slice:
        """Where directions first .. last-1 lie among the n."""
        return slice(first * self._num_free, last * self._num_free)


def _against(x_BD: Floats, factors: Floats, carried: Floats) -> Floats:
    """(2, B r, B r) U^T A U and U^T W U from (2, B r, n) U^T A and U^T W."""
    by_x = x_BD @ carried.reshape(2, carried.shape[1], x_BD.shape[1], -1)
    return (by_x.swapaxes(1, 2) @ factors).swapaxes(1, 2).reshape(2, carried.shape[1], -1)


def mean_eigenvalue(pairs: torch.Tensor, num_free: int, width: int) -> float:
    """Of a sum of Fisher matrices given over pairs, on class vectors that sum to 0; it treats all classes alike."""
    blocks = whole_matrix(pairs, num_free, width).view(width, num_free, width, num_free)
    traces = blocks.diagonal(dim1=0, dim2=2).sum(dim=2)
    # The entry of the class that is left out makes its row and column sum to 0.
    return float(traces.trace() + traces.sum()) / (num_free * width)


def _ridged_inverse(matrix: torch.Tensor, fisher: torch.Tensor, num_free: int, ridge: float) -> torch.Tensor:
    """(M + lambda I)^-1, with I the identity on class vectors that sum to 0, as it looks without the last class.

    ``matrix`` is overwritten. Raises FloatingPointError where it has an entry that no ridge can mend.
    """
    identity = torch.eye(num_free, dtype=matrix.dtype) - 1 / (num_free + 1)
    width = len(matrix) // num_free
    blocks = matrix.view(width, num_free, width, num_free).diagonal(dim1=0, dim2=2)
    added = 0.0
    while True:
        blocks.add_(identity[:, :, None], alpha=ridge - added)
        root, failed = torch.linalg.cholesky_ex(matrix)
        if not failed:
            return torch.cholesky_inverse(root)
        if not torch.isfinite(matrix).all():
            raise FloatingPointError("the Fisher information is NaN or infinite")
        added = ridge
        ridge = max(10 * ridge, SINGULAR_RIDGE * float(fisher.diagonal().mean())) or 1.0


def _inverse(matrices: Floats) -> Floats:
    """Of each; NaN or infinite where there is none."""
    found: Floats = torch.linalg.inv_ex(torch.from_numpy(matrices))[0].numpy()
    return found


@functools.cache
def _signs(signs: tuple[int, ...], rank: int) -> Floats:
    """J."""
    return np.diag(np.repeat(np.array(signs, float), rank))
