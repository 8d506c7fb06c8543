"""Rows of stored features for the batches of a training: straight from where they lie, into memory used again."""

import itertools
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from labelbench_ray.types import Floats, Ids, Rows

RESIDENT_BYTES = 8 << 30  # larger views stay where they are, and only their batches travel to the GPU


@runtime_checkable
class InBlocks(Protocol):
    """Rows that lie in several arrays one after another, as those of a feature store do."""

    def blocks(self) -> Sequence[Floats]:
        """The arrays, in order, without a copy."""
        ...


class FeatureRows:
    """A view's rows, gathered batch by batch as they are stored.

    On a processor rows are copied from the stored arrays, which may be memory-mapped, into the caller's buffer: fresh
    memory for a converted copy of the pool would cost more than a short training. A GPU holds the whole view where it
    fits.
    """

    def __init__(self, rows: Rows, device: str) -> None:
        self.width = int(rows.shape[1])
        self._blocks = list(rows.blocks()) if isinstance(rows, InBlocks) else [rows.slice(0, rows.shape[0])]
        self._firsts = np.cumsum([0, *map(len, self._blocks)])
        self.dtype = torch.from_numpy(np.empty(0, self._blocks[0].dtype)).dtype
        """As stored."""
        fits = rows.shape[0] * self.width * self.dtype.itemsize <= RESIDENT_BYTES
        self._resident = self._on(device) if device != "cpu" and fits else None

    def into(self, buffer_BD: torch.Tensor, ids_B: Ids) -> None:
        """Fill the buffer, of ``dtype`` and on the device, with the rows of these ids, which ascend."""
        if self._resident is not None:
            torch.index_select(self._resident, 0, torch.from_numpy(ids_B).to(buffer_BD.device), out=buffer_BD)
        elif buffer_BD.device.type == "cpu":
            self._gather(buffer_BD.numpy(), ids_B)
        else:
            gathered = torch.empty(buffer_BD.shape, dtype=self.dtype, pin_memory=True)
            self._gather(gathered.numpy(), ids_B)
            buffer_BD.copy_(gathered, non_blocking=True)

    def _gather(self, buffer_BD: Floats, ids_B: Ids) -> None:
        borders = np.searchsorted(ids_B, self._firsts).tolist()
        for index, (first, last) in enumerate(itertools.pairwise(borders)):
            if last > first:
                places = ids_B[first:last] - self._firsts[index]
                # "clip" writes into the buffer at once; "raise" would gather elsewhere first. The ids are in range.
                self._blocks[index].take(places, axis=0, out=buffer_BD[first:last], mode="clip")

    def _on(self, device: str) -> torch.Tensor:
        return torch.cat([torch.from_numpy(block.copy()).to(device) for block in self._blocks])
