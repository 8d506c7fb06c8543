"""Rows in the exact order of one class's margin, without a full sort of float64 margins.

A margin is coded in 31 bits so that a larger margin never has a larger code, rows are radix sorted by code, and the few
rows that share a code with another are then put right by their float64 margins. So codes only decide how long it takes.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.types import Floats, Ids

Positions = NDArray[np.int64]

ROWS_AT_ONCE = 1 << 15  # whose margins, in float64, stay in the second-level cache while they are coded
TWO = np.float64(2).view(np.int64)
# A code is how far the leading bits of a float64 are from those of 2. With so many bits cut off, 31 bits tell apart
# margins + 1 from 2^-31 on, and probabilities from 2^-127 on: all that a float32 holds.
MARGIN_SHIFT, PROBABILITY_SHIFT = 26, 28


def class_margin(probs_N: Floats, largest_N: Floats | None) -> Floats:
    """(N,) p_k - max_j p_j + 1e-8 max_j p_j in float64: about 0 for rows predicted as k, which the last term orders.

    Without the rows' largest probabilities, p_k itself.
    """
    margins_N: Floats
    if largest_N is None:
        return np.asarray(probs_N, np.float64)
    margins_N = np.subtract(probs_N, largest_N, dtype=np.float64)
    margins_N += np.multiply(largest_N, 1e-8, dtype=np.float64)
    return margins_N


class Sorter:
    """Sorts the N rows of a pool by one class after another, in the same memory: fresh pages cost a quarter more."""

    def __init__(self, num_rows: int) -> None:
        self._codes = torch.empty(num_rows, dtype=torch.int32)
        self._sorted_codes = torch.empty(num_rows, dtype=torch.int32)
        self._order = torch.empty(num_rows, dtype=torch.int64)

    def descending(self, probs_N: Floats, largest_N: Floats | None) -> Ids:
        """(N,) rows by descending ``class_margin``, ties by ascending row: its stable argsort, until the next call.

        Call it single-threaded.
        """
        _code(probs_N, largest_N, self._codes.numpy())
        torch.sort(self._codes, stable=True, out=(self._sorted_codes, self._order))
        order_N: Ids = self._order.numpy()
        _settle_equal_codes(order_N, self._sorted_codes.numpy(), probs_N, largest_N)
        return order_N


def _code(probs_N: Floats, largest_N: Floats | None, codes_N: NDArray[np.int32]) -> None:
    """Write (N,) codes that never rise with the margin.

    Rows predicted as k have margins in (0, 1e-8], which are stretched, and the rows that some other class has for sure
    have margins near -1, where a float64 keeps its finest bits once 1 is added.
    """
    shift = PROBABILITY_SHIFT if largest_N is None else MARGIN_SHIFT
    limits = np.array([TWO - (1 << shift + 31) + 1, TWO - 1]).view(np.float64)
    for first in range(0, len(probs_N), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        if largest_N is None:
            coded = class_margin(probs_N[part], None).copy()
        else:
            margins = class_margin(probs_N[part], largest_N[part])
            predicted = np.flatnonzero(margins > 0)
            coded = margins + 1
            coded[predicted] += 2.0**26 * margins[predicted]
        np.clip(coded, *limits, out=coded)
        bits = coded.view(np.int64)
        np.subtract(TWO, bits, out=bits)
        bits >>= shift
        codes_N[part] = bits


def _settle_equal_codes(order_N: Ids, codes_N: NDArray[np.int32], probs_N: Floats, largest_N: Floats | None) -> None:
    """Sort runs of equal codes by their margins, in place. Ids ascend within a run, and stay so where margins tie."""
    same = codes_N[1:] == codes_N[:-1]
    if not same.any():
        return
    shared = np.zeros(len(codes_N), bool)
    shared[1:] = same
    shared[:-1] |= same
    places = np.flatnonzero(shared)
    ids, runs = order_N[places], codes_N[places]
    margins = class_margin(probs_N[ids], None if largest_N is None else largest_N[ids])
    if ((margins[1:] > margins[:-1]) & (runs[1:] == runs[:-1])).any():
        order_N[places] = ids[np.lexsort((-margins, runs))]


class ClassOrder:
    """The rows of a pool in the order of one class; position 0 has the largest margin. Excluded rows are not in it.

    4 bytes a row, in memory that is handed to it. Cell i holds the position of row i, and in the bits which that leaves
    over, in which stretch of the pool the row at position i lies: to find it is to search a stretch.
    """

    def __init__(self, order: Ids, cells_N: NDArray[np.uint32]) -> None:
        """``cells_N`` is memory to write to, a cell for each row of the pool."""
        self.num_rows, self._cells = len(order), cells_N
        position_bits = max(1, (len(cells_N) - 1).bit_length())
        self._position_bits, self._mask = np.uint32(position_bits), np.uint32((1 << position_bits) - 1)
        self._stretch_bits = max(0, 2 * position_bits - 32)  # a stretch has 2 to the power of this many rows
        if len(order) < len(cells_N):
            cells_N.fill(self._mask)
        cells_N[order] = np.arange(len(order), dtype=np.uint32)
        stretches = order.astype(np.uint32)
        stretches >>= np.uint32(self._stretch_bits)
        stretches <<= self._position_bits
        cells_N[: len(order)] |= stretches

    def positions_of(self, ids: Ids) -> Positions:
        """Where rows that are in the order stand."""
        return (self._cells[ids] & self._mask).astype(np.int64)

    def ids_at(self, positions: Positions) -> Ids:
        """Which rows stand there."""
        positions_N = self._cells & self._mask
        ids = np.flatnonzero(positions_N < self.num_rows)
        ids_N = np.empty(self.num_rows, np.int64)
        ids_N[positions_N[ids]] = ids
        return ids_N[positions]

    def id_at(self, position: int) -> int:
        """Which row stands there."""
        first = int(self._cells[position] >> self._position_bits) << self._stretch_bits
        stretch = self._cells[first : first + (1 << self._stretch_bits)] & self._mask
        return first + int((stretch == position).argmax())
