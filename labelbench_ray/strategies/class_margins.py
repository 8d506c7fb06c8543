"""Margins of one class after another, as many classes at a time as fit in memory."""

from collections.abc import Iterable

import numpy as np

from labelbench_ray.strategies.base import SelectionRequest
from labelbench_ray.strategies.class_orders import Columns, ColumnWorker
from labelbench_ray.types import Floats


class ClassMargins:
    """The margins of every row, class by class in an order told beforehand.

    The margin of class k is p_k - max_j p_j + 1e-8 max_j p_j, so that rows predicted as k come first, by confidence.
    ``by_first_class`` has p_0 in the last term, as LabelBench's code does where there are two classes.

    A pass over the probabilities reads the columns of as many classes as fit in ``memory_bytes``.
    """

    def __init__(self, request: SelectionRequest, memory_bytes: int, *, by_first_class: bool = False) -> None:
        self._workers = request.spread(ColumnWorker)
        self._num_rows, self._memory_bytes = request.num_rows, memory_bytes
        self._by_first_class = by_first_class
        self._expected: list[int] = []
        self._read: list[int] = []
        self._parts: list[Columns] = []
        """One of each shard, of the classes in ``_read``."""
        self._terms: tuple[Floats, Floats] | None = None
        """(N,) max_j p_j and the last term of the margins, once read."""

    def expect(self, classes: Iterable[int]) -> None:
        """The order in which classes will be asked for."""
        self._expected = [int(class_index) for class_index in classes]

    def of(self, class_index: int) -> Floats:
        """(N,) float64 margins of one class."""
        if class_index not in self._read:
            self._read_columns(class_index)
        assert self._terms is not None, "read with the first columns"
        largest_N, last_term_N = self._terms
        margins_N: Floats = np.subtract(self._column(class_index), largest_N, dtype=np.float64)
        margins_N += last_term_N
        return margins_N

    def _column(self, class_index: int) -> Floats:
        """(N,) probabilities of a class that was read."""
        place = self._read.index(class_index)
        return _joined([part.probs[0][place] for part in self._parts])

    def _read_columns(self, class_index: int) -> None:
        """Read the column of a class and of those expected after it, and forget all others."""
        start = self._expected.index(class_index)
        at_once = self._memory_bytes // (self._num_rows * max(self._workers.each("itemsize")))
        self._read, self._parts = self._expected[start : start + max(1, at_once)], []
        self._parts = self._workers.each("columns", [self._read], self._terms is None)
        if self._terms is None:
            self._terms = self._terms_of(self._parts)

    def _terms_of(self, parts: list[Columns]) -> tuple[Floats, Floats]:
        largest_N = _joined([part.largest_N for part in parts if part.largest_N is not None]).astype(np.float64)
        if not self._by_first_class:
            return largest_N, 1e-8 * largest_N
        first_N = _joined([part.probs[0][0] for part in self._workers.each("columns", [[0]], False)])
        return largest_N, 1e-8 * first_N.astype(np.float64)


def _joined(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
