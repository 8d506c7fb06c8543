"""Rows that were made centres of gradient embeddings, as operands, with room for a block of candidates behind them."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from labelbench_ray.kernels.gradients import ROWS_AT_ONCE, Gradients, Places, residuals
from labelbench_ray.kernels.products import rough_dtype, rough_operand
from labelbench_ray.types import Floats, Task


class Centres:
    """Centres at places ``0 .. count-1``, the candidates last laid at ``count .. end-1``."""

    def __init__(self, capacity: int, task: Task) -> None:
        self.count = 0
        self.end = 0
        self.task: Task = task
        self._capacity = capacity
        self._num_rough = 0

    def _make_room(self, block: Gradients) -> None:
        size, self.num_classes = self._capacity, block.probs_NC.shape[1]
        self.rows = Gradients(*(np.empty((size, *part.shape[1:]), part.dtype) for part in block))
        self.a_N = np.empty(size)
        """|g|^2."""
        self.off_N = np.empty(size)
        """The share of |q| off the predicted class."""
        self.predicted_N = np.empty(size, np.int64)
        self.is_tame_N = np.empty(size, bool)
        """Whether no entry of p or v is negative, and p is that of one class."""
        self.unit = torch.empty((size, self.num_classes + block.vectors_ND.shape[1]))
        """q and v of length one, side by side: (N, C + D)."""
        self._rough = torch.empty(self.unit.shape, dtype=rough_dtype())

    def lay(self, block: Gradients, on_threads: Callable[..., Iterable[None]] = map) -> None:
        """Put candidates behind the centres, in place of those that were not kept.

        ``on_threads`` is like ``map``, and may work on several parts at a time.
        """
        if not self.end:
            self._make_room(block)
        self.end = self.count + len(block.ids_N)
        # Few at a time: what is worked out in float64 stays in the processor's cache.
        parts = [slice(first, first + ROWS_AT_ONCE) for first in range(0, len(block.ids_N), ROWS_AT_ONCE)]
        for _ in on_threads(lambda part: self._lay(part, block), parts):
            pass

    def _lay(self, part: slice, block: Gradients) -> None:
        some = block.take(part)
        places = slice(self.count + part.start, self.count + part.start + len(some.ids_N))
        for held, rows in zip(self.rows, some, strict=True):
            held[places] = rows
        self.a_N[places] = some.a
        q_SC, cut, unit = residuals(some.probs_NC, self.task), self.num_classes, self.unit.numpy()[places]
        np.divide(q_SC, _lengths(some.q_norms_N), out=unit[:, :cut], casting="same_kind")
        np.divide(some.vectors_ND, _lengths(some.v_norms_N), out=unit[:, cut:], casting="same_kind")
        self._describe(places, some, q_SC)

    def _describe(self, places: slice, block: Gradients, q_SC: Floats) -> None:
        """What keeps rows of different classes apart; labels of a multi-label task have no one class."""
        top_S = block.probs_NC.argmax(axis=1)
        self.predicted_N[places] = top_S
        off_S = np.maximum(block.q_norms_N - q_SC[np.arange(len(top_S)), top_S] ** 2, 0)
        self.off_N[places] = np.sqrt(off_S / np.where(block.q_norms_N > 0, block.q_norms_N, 1))
        inside_S = (block.probs_NC.min(axis=1) >= 0) & (block.probs_NC.max(axis=1) <= 1)
        self.is_tame_N[places] = inside_S & (block.vectors_ND.min(axis=1) >= 0) & (self.task == "multi_class")

    def keep(self, accepted: Places) -> None:
        """Make the candidates at these places of the block, ascending, centres."""
        if not self.end:
            return
        arrays = (*self.rows, self.a_N, self.off_N, self.predicted_N, self.is_tame_N, self.unit.numpy())
        # In order and few at a time: rows only move down, and no large copy is made.
        for first in range(0, len(accepted), ROWS_AT_ONCE):
            moved = self.count + accepted[first : first + ROWS_AT_ONCE]
            for held in arrays:
                held[self.count + first : self.count + first + len(moved)] = held[moved]
        self._num_rough = min(self._num_rough, self.count)
        self.count += len(accepted)

    def forget(self) -> None:
        """Drop all centres: whoever needs them has seen them."""
        self.count = self._num_rough = 0

    def operands(self, places: Places) -> torch.Tensor:
        """(P, C + D) float32 unit rows; those that lie together are not copied."""
        if len(places) and places[-1] - places[0] == len(places) - 1:  # places ascend
            return self.unit[places[0] : places[-1] + 1]
        return torch.from_numpy(self.unit.numpy().take(places, axis=0))

    def rough_operands(self) -> torch.Tensor:
        """Unit rows rounded for rough products. What lies past the end is anything."""
        stale = slice(self._num_rough, self.end)  # read once: threads may come together, and then write the same
        self._rough[stale] = rough_operand(self.unit[stale])
        self._num_rough = self.end
        return self._rough


def _lengths(norms_S: Floats) -> Floats:
    """(S, 1) to divide by: a row of zeros stays one."""
    lengths_S: Floats = np.where(norms_S > 0, np.sqrt(norms_S), 1.0)
    return lengths_S[:, None]
