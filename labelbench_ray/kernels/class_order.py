"""Rows in the exact order of one class's margin, without a full sort of float64 margins.

A margin is coded in 31 bits so that a larger margin never has a larger code, rows are radix sorted by code, and the few
rows that share a code with another are then put right by their float64 margins. So codes only decide how long it takes.
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.types import Floats, Ids

Positions = NDArray[np.int64]

ROWS_REMEMBERED = 1 << 10  # around a row that was sought, four blocks,
STRETCHES_REMEMBERED = 16  # in each order
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


class ClassOrder(Protocol):
    """The rows of a pool in the order of one class; position 0 has the largest margin. Excluded rows are not in it."""

    @property
    def num_rows(self) -> int:
        """How many rows are in the order."""
        ...

    def positions_of(self, ids: Ids) -> Positions:
        """Where rows that are in the order stand."""
        ...

    def ids_at(self, positions: Positions) -> Ids:
        """Which rows stand there."""
        ...

    def id_at(self, position: int) -> int:
        """Which row stands there."""
        ...


class RoomyOrder:
    """An order kept in both directions: 8 bytes a row."""

    def __init__(self, order: Ids, num_pool_rows: int) -> None:
        self._ids = order.astype(np.int32)
        self._positions = np.full(num_pool_rows, -1, np.int32)
        self._positions[self._ids] = np.arange(len(order), dtype=np.int32)

    @staticmethod
    def num_bytes(num_pool_rows: int) -> int:
        """What an order of so many rows takes."""
        return 8 * num_pool_rows

    @property
    def num_rows(self) -> int:
        """How many rows are in the order."""
        return len(self._ids)

    def positions_of(self, ids: Ids) -> Positions:
        """Where rows stand."""
        return self._positions[ids].astype(np.int64)

    def ids_at(self, positions: Positions) -> Ids:
        """Which rows stand there."""
        return self._ids[positions].astype(np.int64)

    def id_at(self, position: int) -> int:
        """Which row stands there."""
        return int(self._ids[position])


class CompactOrder:
    """An order that keeps each row's position alone, in 3 bytes (5 above 16 million rows); who stands there is sought.

    A position is a block of 256 and a place in it, apart: to find a row is to scan the blocks, and as who asks for one
    row asks for its neighbours next, a stretch of them is remembered.
    """

    def __init__(self, order: Ids, num_pool_rows: int) -> None:
        self.num_rows = len(order)
        positions = np.arange(len(order), dtype=np.int32)
        # Excluded rows get a block that no row of the order has.
        blocks = np.dtype(np.uint16 if _fits_16_bits(num_pool_rows) else np.uint32)
        self._blocks: NDArray[Any] = np.full(num_pool_rows, 256**blocks.itemsize - 1, blocks)
        self._blocks[order] = (positions >> 8).astype(blocks)
        self._places = np.zeros(num_pool_rows, np.uint8)
        self._places[order] = positions.astype(np.uint8)
        self._found: dict[int, NDArray[np.int32]] = {}

    @staticmethod
    def num_bytes(num_pool_rows: int) -> int:
        """What an order of so many rows takes."""
        remembered = 4 * ROWS_REMEMBERED * STRETCHES_REMEMBERED
        return (3 if _fits_16_bits(num_pool_rows) else 5) * num_pool_rows + remembered

    def positions_of(self, ids: Ids) -> Positions:
        """Where rows stand."""
        positions = self._blocks[ids].astype(np.int64)
        positions <<= 8
        positions |= self._places[ids]
        return positions

    def ids_at(self, positions: Positions) -> Ids:
        """Which rows stand there."""
        ids_N = np.empty(self.num_rows, np.int64)
        ids = np.flatnonzero(self._blocks <= (self.num_rows - 1) >> 8)
        ids_N[self.positions_of(ids)] = ids
        return ids_N[positions]

    def id_at(self, position: int) -> int:
        """Which row stands there."""
        stretch = position // ROWS_REMEMBERED
        ids = self._found.get(stretch)
        if ids is None:
            if len(self._found) == STRETCHES_REMEMBERED:
                self._found.clear()
            members = np.flatnonzero(self._blocks // (ROWS_REMEMBERED >> 8) == stretch)
            ids = self._found[stretch] = np.empty(ROWS_REMEMBERED, np.int32)
            ids[self.positions_of(members) % ROWS_REMEMBERED] = members
        return int(ids[position % ROWS_REMEMBERED])


def _fits_16_bits(num_pool_rows: int) -> bool:
    return num_pool_rows <= (2**16 - 1) << 8
