"""Images as an encoder takes them, decoded and resized once, as far as memory goes."""

import numpy as np
import torch

from labelbench_ray.types import Ids, Images, TrainableEncoder


class CachedSquares:
    """Keeps the first images read on the device, resized but not yet augmented or normalised, up to a size."""

    def __init__(self, images: Images, encoder: TrainableEncoder, device: str, gib: float) -> None:
        self._images, self._encoder, self._device = images, encoder, device
        self._bytes = int(gib * 2**30)
        self._kept: torch.Tensor | None = None
        self._num_kept = 0
        self._place_N = np.full(len(images), -1, np.int64)

    def read(self, ids_B: Ids) -> torch.Tensor:
        """(B, 3, H, W) uint8 on the device, in this order."""
        missing = np.unique(ids_B[self._place_N[ids_B] < 0])
        fresh = self._encoder.squares(self._images.read(missing)).to(self._device) if len(missing) else None
        if fresh is not None:
            self._keep(missing, fresh)
        if self._kept is None:
            assert fresh is not None
            return fresh[torch.from_numpy(np.searchsorted(missing, ids_B)).to(self._device)]
        places_B = self._place_N[ids_B]
        squares = self._kept[torch.from_numpy(np.maximum(places_B, 0)).to(self._device)]
        lacking_B = np.flatnonzero(places_B < 0)
        if fresh is not None and len(lacking_B):
            own = torch.from_numpy(np.searchsorted(missing, ids_B[lacking_B])).to(self._device)
            squares[torch.from_numpy(lacking_B).to(self._device)] = fresh[own]
        return squares

    def _keep(self, ids: Ids, fresh: torch.Tensor) -> None:
        if self._kept is None:
            most = min(len(self._place_N), self._bytes // fresh[0].numel())
            self._kept = torch.empty((most, *fresh.shape[1:]), dtype=torch.uint8, device=self._device) if most else None
        if self._kept is not None:
            taken = min(len(ids), len(self._kept) - self._num_kept)
            self._kept[self._num_kept : self._num_kept + taken] = fresh[:taken]
            self._place_N[ids[:taken]] = np.arange(self._num_kept, self._num_kept + taken)
            self._num_kept += taken
