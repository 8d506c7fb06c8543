"""Checks that every trainer makes: of its own fields, and of the data it is given."""

from collections.abc import Mapping

from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.trainers.base import TrainingData


def check_training_data(trainer: str, data: TrainingData) -> None:
    """Raise TrainingError for data no trainer here can use."""
    if data.task != "multi_class":
        raise TrainingError(trainer, f"task {data.task} is not supported", "use a data set of task multi_class")
    if len(data.ids_L) == 0:
        raise TrainingError(trainer, "no label was bought", "set `initial` to at least 1")
    if int(data.labels_L.min()) < 0 or int(data.labels_L.max()) >= data.num_classes:
        bad = int(data.labels_L[(data.labels_L < 0) | (data.labels_L >= data.num_classes)][0])
        raise TrainingError(
            trainer, f"label {bad} is not one of the classes 0..{data.num_classes - 1}", "check the data set's labels"
        )


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
