"""The loss of a head on the validation split, for early stopping."""

import numpy as np
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.feature_rows import FeatureRows
from labelbench_ray.trainers.head_layers import HeadLayers
from labelbench_ray.trainers.losses import RowLoss

ROWS_AT_ONCE = 1024


class ValidationLoss:
    """Mean loss of the rows that have a label."""

    def __init__(self, trainer: str, layers: HeadLayers, data: TrainingData, loss: RowLoss) -> None:
        labels_N = validation_labels(trainer, data)
        self._layers, self._loss = layers, loss
        self._rows = FeatureRows(data.features["val"], data.device, layers.centre_D)
        self._ids = np.flatnonzero(labels_N.reshape(len(labels_N), -1)[:, 0] >= 0)
        self._labels = torch.from_numpy(labels_N[self._ids]).to(data.device)

    def mean(self) -> float:
        """With the layers as they are."""
        total = 0.0
        for first in range(0, len(self._ids), ROWS_AT_ONCE):
            ids_B = self._ids[first : first + ROWS_AT_ONCE]
            stored_BD = torch.empty(len(ids_B), self._rows.width, dtype=self._rows.dtype, device=self._labels.device)
            self._rows.into(stored_BD, ids_B)
            rows_BD = self._layers.prepare(stored_BD, torch.empty(stored_BD.shape, device=stored_BD.device))
            logits_CB, _ = self._layers.forward(rows_BD)
            total += float(self._loss.rows(logits_CB.T, self._labels[first : first + len(ids_B)]).sum())
        return total / len(self._ids)


def validation_labels(trainer: str, data: TrainingData) -> np.ndarray:
    """Labels of the validation split. Raises TrainingError where there are none."""
    labels = data.validation_labels
    if labels is None or not (labels >= 0).any():
        raise TrainingError(trainer, "`patience` needs validation examples and there are none", "leave `patience` out")
    return labels
