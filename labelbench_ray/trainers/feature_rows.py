"""Rows of stored features for the batches of a training: straight from where they lie, into memory used again."""

import itertools
from collections.abc import Sequence
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from labelbench_ray.types import Floats, Ids, Rows

RESIDENT_BYTES = 8 << 30  # larger views stay where they are, and only their batches travel to the GPU
CENTRED_BYTES = 1 << 30  # larger views are centred batch by batch: every trial of a machine would hold its own copy
ROWS_AT_ONCE = 256


@runtime_checkable
class InBlocks(Protocol):
    """Rows that lie in several arrays one after another, as those of a feature store do."""

    def blocks(self) -> Sequence[Floats]:
        """The arrays, in order, without a copy."""
        ...


class FeatureRows:
    """A view's rows, gathered batch by batch.

    On a processor rows are copied as they are stored, from arrays which may be memory-mapped, into the caller's buffer:
    fresh memory for a converted copy of the pool would cost more than a short training. A GPU holds the whole view
    where it fits. With ``centre_D`` rows have that taken off and are in bfloat16: half of a step would go into that
    otherwise, so the view is made once for all trainings of this process on it, where it is small enough.
    """

    def __init__(self, rows: Rows, device: str, centre_D: torch.Tensor | None = None) -> None:
        self.width = int(rows.shape[1])
        self._blocks = _blocks(rows)
        self._firsts = np.cumsum([0, *map(len, self._blocks)])
        self.dtype = torch.from_numpy(np.empty(0, self._blocks[0].dtype)).dtype
        """Of gathered rows: as stored, or bfloat16 where they are centred."""
        self._resident: torch.Tensor | None = None
        size = rows.shape[0] * self.width
        if centre_D is not None and size * torch.bfloat16.itemsize <= CENTRED_BYTES:
            self._resident, self.dtype = _centred(rows, centre_D), torch.bfloat16
        elif device != "cpu" and size * self.dtype.itemsize <= RESIDENT_BYTES:
            self._resident = torch.cat([torch.from_numpy(block.copy()).to(device) for block in self._blocks])

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


_KNOWN: "WeakKeyDictionary[Rows, tuple[torch.Tensor, torch.Tensor]]" = WeakKeyDictionary()


def _centred(rows: Rows, centre_D: torch.Tensor) -> torch.Tensor:
    """(N, D) rows less the centre, in bfloat16 on its device. Rounds of a trial share ``rows`` and the pool's mean."""
    known = _KNOWN.get(rows)
    if known is None or known[0].device != centre_D.device or not torch.equal(known[0], centre_D):
        # numpy asks for large pages, which are there at once; torch's own memory would take longer than the rest.
        host = torch.from_numpy(np.empty(rows.shape, np.uint16)).view(torch.bfloat16)
        made = host if centre_D.device.type == "cpu" else torch.empty_like(host, device=centre_D.device)
        part_BD, first = torch.empty(ROWS_AT_ONCE, rows.shape[1], device=centre_D.device), 0
        for block in _blocks(rows):
            for start in range(0, len(block), ROWS_AT_ONCE):
                count = min(ROWS_AT_ONCE, len(block) - start)
                part_BD[:count].copy_(from_dlpack(block[start : start + count]))
                made[first : first + count] = part_BD[:count].sub_(centre_D)
                first += count
        known = _KNOWN[rows] = centre_D, made
    return known[1]


def _blocks(rows: Rows) -> list[Floats]:
    return list(rows.blocks()) if isinstance(rows, InBlocks) else [rows.slice(0, rows.shape[0])]
