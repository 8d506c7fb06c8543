"""Orders of the pool's rows by class, made when first asked for, as many kept as memory allows."""

import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from labelbench_ray.kernels.class_order import ClassOrder, CompactOrder, RoomyOrder, Sorter
from labelbench_ray.kernels.products import over_tiles, single_threaded
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import PoolShape, SelectionRequest
from labelbench_ray.types import Floats

GROUP = 32  # classes whose columns lie together: fewer and longer copies, and pages of memory as large as they come
FEW_CLASSES = 64
Kind = type[RoomyOrder] | type[CompactOrder]


class ClassOrders:
    """The order of every class: rows by descending margin, ties by ascending id; labelled rows in, excluded rows out.

    The margin of class k is p_k - max_j p_j + 1e-8 max_j p_j, so that rows predicted as k come first, by confidence.
    With two classes, and where the task is multi_label, it is p_k itself: each label is a question of its own, and how
    likely the others are says nothing about it.

    A pass over the probabilities reads the columns of as many classes as there is memory for; a few of them at a time
    give way to their orders, when one of these is asked for. Orders that do not fit are forgotten, the longest unused
    first, and made again.
    """

    def __init__(
        self,
        request: SelectionRequest,
        *,
        expected: Sequence[int] | None = None,
        memory_bytes: int | None = None,
        by_probability: bool | None = None,
    ) -> None:
        """``expected`` are the classes that will be asked for, soonest first (all of them if nothing is known).

        ``memory_bytes`` is what orders and columns may take, ``by_probability`` overrules when the margin is p_k.
        """
        self._workers = request.spread(ColumnWorker)
        self._num_rows = request.num_rows
        self._excluded = request.excluded_ids
        self._expected = range(request.num_classes) if expected is None else expected
        if by_probability is None:
            by_probability = request.num_classes == 2 or request.task == "multi_label"
        self._largest_N: Floats | None = None
        self._needs_largest = not by_probability
        allowed = request.memory_bytes if memory_bytes is None else memory_bytes
        self._allowed = allowed - _bytes_to_sort(request.num_rows)
        fits = (len(self._expected) + GROUP) * RoomyOrder.num_bytes(request.num_rows) <= self._allowed
        self._kind: Kind = RoomyOrder if fits else _smallest(request.num_rows)
        self._per_order = self._kind.num_bytes(request.num_rows)
        self._per_column = 0  # not known yet
        self._sorter = Sorter(request.num_rows)
        self._columns: dict[int, ColumnGroup] = {}
        self._orders: OrderedDict[int, ClassOrder] = OrderedDict()

    @staticmethod
    def least_memory(shape: PoolShape) -> int:
        """Bytes of one column, its order and what it takes to sort it."""
        per_order = _smallest(shape.num_rows).num_bytes(shape.num_rows)
        return _bytes_to_sort(shape.num_rows) + 8 * shape.num_rows + per_order

    def of(self, class_index: int) -> ClassOrder:
        """The order of a class."""
        if class_index not in self._orders:
            if class_index not in self._columns:
                self._read(class_index)
            self._order_group(self._columns[class_index])
        self._orders.move_to_end(class_index)
        return self._orders[class_index]

    def _left(self) -> int:
        """Bytes that are not taken."""
        return self._allowed - len(self._columns) * self._per_column - len(self._orders) * self._per_order

    def _read(self, class_index: int) -> None:
        """Read the probabilities of a class, and in the same pass those of classes expected next that fit."""
        while self._columns:
            self._order_group(next(iter(self._columns.values())))
        if not self._per_column:
            self._per_column = self._num_rows * max(self._workers.each("itemsize"))
        while self._orders and self._left() < self._per_column + self._per_order:
            self._orders.popitem(last=False)
        others = [other for other in self._expected if other not in self._orders and other != class_index]
        room = self._left() - min(GROUP, 1 + len(others)) * self._per_order  # for the first group's orders
        classes = sorted([class_index, *others[: max(0, room // self._per_column - 1)]])
        groups = [classes[first : first + GROUP] for first in range(0, len(classes), GROUP)]
        parts: list[Columns] = self._workers.each("columns", groups, self._needs_largest and self._largest_N is None)
        largest = [part.largest_N for part in parts if part.largest_N is not None]
        if largest:
            self._largest_N = _joined(largest)
        for place, group in enumerate(groups):
            self._columns |= dict.fromkeys(group, ColumnGroup(group, [part.probs[place] for part in parts]))

    def _order_group(self, group: "ColumnGroup") -> None:
        """Make the orders of a group from its columns, which are given up."""
        for place, class_index in enumerate(group.classes):
            while self._orders and self._left() < self._per_order:
                self._orders.popitem(last=False)
            with single_threaded():
                ids = self._sorter.descending(_joined([probs_GN[place] for probs_GN in group.probs]), self._largest_N)
            if len(self._excluded):
                usable_N = np.ones(self._num_rows, bool)
                usable_N[self._excluded] = False
                ids = ids[usable_N[ids]]
            self._orders[class_index] = self._kind(ids, self._num_rows)
        for class_index in group.classes:
            del self._columns[class_index]


class ColumnGroup(NamedTuple):
    """Probabilities of a few classes, given up together."""

    classes: list[int]
    probs: list[Floats]
    """(G, rows of the shard) from each shard."""


class Columns(NamedTuple):
    """Probabilities of a shard's rows, class by class."""

    probs: list[Floats]
    """(G, rows of the shard) of each group of classes."""
    largest_N: Floats | None
    """(rows of the shard,) the largest probability of each row, if it was asked for."""


class ColumnWorker:
    """Reads probabilities class by class, labelled rows included: they mark places in the order."""

    def __init__(self, rows: ShardRows) -> None:
        self._rows = rows

    @functools.cached_property
    def _dtype(self) -> np.dtype[np.floating[Any]]:
        return self._rows.probs(self._rows.tiles().start).dtype

    def itemsize(self) -> int:
        """Bytes of one probability."""
        return self._dtype.itemsize

    def columns(self, groups: list[list[int]], with_largest: bool) -> Columns:
        """The columns of some classes, in one pass over the tiles."""
        tiles = self._rows.tiles()
        first_id = self._rows.first_id(tiles.start)
        num_rows = min(self._rows.num_rows, self._rows.first_id(tiles.stop)) - first_id
        columns = [np.empty((len(group), num_rows), self._dtype) for group in groups]
        picked = [np.array(group) for group in groups]
        largest_N = np.empty(num_rows if with_largest else 0, self._dtype)

        def read(tile: int) -> None:
            first = self._rows.first_id(tile) - first_id
            for block_RC in self._rows.probs_in_blocks(tile):
                part = slice(first, first + len(block_RC))
                probs_CR = block_RC[: max(0, num_rows - first)].T  # without what pads the last tile
                for columns_GN, classes in zip(columns, picked, strict=True):
                    columns_GN[:, part] = probs_CR[classes]
                if with_largest:
                    largest_N[part] = _largest(probs_CR)
                first = part.stop

        over_tiles(self._rows, read)
        return Columns(columns, largest_N if with_largest else None)


def _largest(probs_CR: Floats) -> Floats:
    """(R,) the largest of each row, whose probabilities stand in a column."""
    if len(probs_CR) > FEW_CLASSES:
        largest_R: Floats = probs_CR.max(axis=0)
    else:  # short rows go several times as fast once they are copied on their side
        largest_R = np.ascontiguousarray(probs_CR).max(axis=0)
    return largest_R


def _smallest(num_rows: int) -> Kind:
    """The kind of order that takes fewest bytes."""
    kinds: tuple[Kind, Kind] = (RoomyOrder, CompactOrder)
    return min(kinds, key=lambda kind: kind.num_bytes(num_rows))


def _joined(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _bytes_to_sort(num_rows: int) -> int:
    """What the sort of one column takes at its worst, all codes alike, and the largest probability of each row."""
    return 100 * num_rows
