"""The images of a step as the model takes them: read, augmented and normalised, the same whichever worker asks."""

from typing import Literal

import torch

from labelbench_ray.kernels.augment import View, augment_batch
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.cached_images import CachedSquares
from labelbench_ray.types import Ids, TrainableEncoder


class TrainingViews:
    """Views of the pool, keyed by step and example id, made on the training device."""

    def __init__(self, data: TrainingData, encoder: TrainableEncoder, cache_gib: float) -> None:
        self._data, self._encoder = data, encoder
        self._squares = CachedSquares(data.images["train"], encoder, data.device, cache_gib)

    def of(self, ids_B: Ids, kind: Literal["weak", "strong"], step: int) -> torch.Tensor:
        """(B, 3, H, W) on the device."""
        view = View(kind=kind, seed=int(self._data.stream("augment", step).integers(2**31)))
        seen = augment_batch(self._squares.read(ids_B), ids_B, view, self._data.can_flip)
        return self._encoder.normalize(seen)
