"""Checks that every trainer makes: of its own fields, and of the data it is given."""

from collections.abc import Mapping

import numpy as np

from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.trainers.base import TrainingData


def check_training_data(trainer: str, data: TrainingData, *, multi_label: bool = False) -> None:
    """Raise TrainingError for data that cannot be trained on; ``multi_label``: the trainer knows such tasks."""
    if data.task == "multi_label" and not multi_label:
        raise TrainingError(trainer, "task multi_label is not supported", "use a head with algorithm supervised")
    if len(data.ids_L) == 0:
        raise TrainingError(trainer, "no label was bought", "set `initial` to at least 1")
    if data.task == "multi_label":
        _check_multi_label(trainer, data)
    elif int(data.labels_L.min()) < 0 or int(data.labels_L.max()) >= data.num_classes:
        bad = int(data.labels_L[(data.labels_L < 0) | (data.labels_L >= data.num_classes)][0])
        raise TrainingError(
            trainer, f"label {bad} is not one of the classes 0..{data.num_classes - 1}", "check the data set's labels"
        )


def _check_multi_label(trainer: str, data: TrainingData) -> None:
    expected = (len(data.ids_L), data.num_classes)
    if data.labels_L.shape != expected or not np.isin(data.labels_L, (0, 1)).all():
        told = f"labels of task multi_label have shape {data.labels_L.shape}, or other values than 0 and 1"
        raise TrainingError(trainer, told, f"give zeros and ones of shape {expected}")


def check_numbers(where: str, *, positive: Mapping[str, float], not_negative: Mapping[str, float]) -> None:
    """Raise SpecError for a field that is out of range or not finite."""
    for field, value in positive.items():
        if not 0 < value < float("inf"):
            raise SpecError(where, f"`{field}` must be positive, got {value}")
    for field, value in not_negative.items():
        if not 0 <= value < float("inf"):
            raise SpecError(where, f"`{field}` must not be negative, got {value}")


def check_share(where: str, field: str, value: float) -> None:
    """Raise SpecError for a share that is not in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise SpecError(where, f"`{field}` must lie in [0, 1), got {value}")
