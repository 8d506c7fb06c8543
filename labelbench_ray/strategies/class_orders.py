"""Orders of the pool's rows by class, made when first asked for, as many kept as memory allows."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from labelbench_ray.kernels.class_order import ClassOrder, Sorter
from labelbench_ray.kernels.products import over_tiles, single_threaded
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import PoolShape, SelectionRequest
from labelbench_ray.types import Floats

GROUP = 32  # classes whose columns lie together: fewer and longer copies, and pages of memory as large as they come
FEW_CLASSES = 64
LEAST_GROUPS = 8  # that memory is shared by, as it is given up group by group


class ClassOrders:
    """The order of every class: rows by descending margin, ties by ascending id; labelled rows in, excluded rows out.

    The margin of class k is p_k - max_j p_j + 1e-8 max_j p_j, so that rows predicted as k come first, by confidence.
    With two classes, and where the task is multi_label, it is p_k itself: each label is a question of its own, and how
    likely the others are says nothing about it.

    A pass over the probabilities reads the columns of as many classes as there is memory for. A column gives way to
    its order when that is asked for, in the same memory, since fresh memory costs as much as a fifth of the sort. What
    does not fit is forgotten, the group of classes unused for longest first, and read again.
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
        self._sorter = Sorter(request.num_rows)
        self._groups: list[ColumnGroup] = []
        """The longest unused first."""
        self._group_of: dict[int, ColumnGroup] = {}

    @staticmethod
    def least_memory(shape: PoolShape) -> int:
        """Bytes of one column, which its order takes over, and what it takes to sort it."""
        return _bytes_to_sort(shape.num_rows) + 8 * shape.num_rows

    def of(self, class_index: int) -> ClassOrder:
        """The order of a class."""
        if class_index not in self._group_of:
            self._read(class_index)
        group = self._group_of[class_index]
        self._groups.remove(group)
        self._groups.append(group)
        if class_index not in group.orders:
            group.orders[class_index] = self._sorted(group.column(class_index))
        return group.orders[class_index]

    @functools.cached_property
    def _per_class(self) -> int:
        """Bytes of a class's probabilities, or of its order in their place."""
        return self._num_rows * int(max(self._workers.each("itemsize")))

    def _read(self, class_index: int) -> None:
        """Read the probabilities of a class, and in the same pass those of classes expected next that fit."""
        capacity = self._allowed // self._per_class
        size = max(1, min(GROUP, capacity // LEAST_GROUPS))
        capacity -= size - 1  # to join the shards' columns of a group; what it takes to sort is enough for one column
        while self._groups and capacity - len(self._group_of) < size:
            for forgotten in self._groups.pop(0).classes:
                del self._group_of[forgotten]
        others = [other for other in self._expected if other not in self._group_of and other != class_index]
        classes = sorted([class_index, *others[: max(0, capacity - len(self._group_of) - 1)]])
        groups = [classes[first : first + size] for first in range(0, len(classes), size)]
        parts: list[Columns] = self._workers.each("columns", groups, self._needs_largest and self._largest_N is None)
        largest = [part.largest_N for part in parts if part.largest_N is not None]
        if largest:
            self._largest_N = _joined(largest)
        for group in groups:
            self._groups.append(ColumnGroup(group, _joined([part.probs.pop(0) for part in parts])))
            self._group_of |= dict.fromkeys(group, self._groups[-1])

    def _sorted(self, column_N: Floats) -> ClassOrder:
        """The order of a class in the memory of its column."""
        with single_threaded():
            ids = self._sorter.descending(column_N, self._largest_N)
        if len(self._excluded):
            usable_N = np.ones(self._num_rows, bool)
            usable_N[self._excluded] = False
            ids = ids[usable_N[ids]]
        return ClassOrder(ids, column_N.view(np.uint32)[: self._num_rows])


class ColumnGroup:
    """A few classes whose columns lie together and are given up together."""

    def __init__(self, classes: list[int], columns_GN: Floats) -> None:
        self.classes, self._columns_GN = classes, columns_GN
        self.orders: dict[int, ClassOrder] = {}
        """The orders that have taken over their columns."""

    def column(self, class_index: int) -> Floats:
        """(N,) probabilities of a class whose order was not made yet."""
        column_N: Floats = self._columns_GN[self.classes.index(class_index)]
        return column_N


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
        """At least as wide as a position, which takes its place."""
        return np.promote_types(self._rows.probs(self._rows.tiles().start).dtype, np.float32)

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


def _joined(parts: list[Floats]) -> Floats:
    """The shards' rows in one array that may be written to."""
    return parts[0] if len(parts) == 1 and parts[0].flags.writeable else np.concatenate(parts, axis=-1)


def _bytes_to_sort(num_rows: int) -> int:
    """What the sort of one column takes at its worst, all codes alike, and the largest probability of each row."""
    return 100 * num_rows
