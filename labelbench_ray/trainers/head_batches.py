"""What each step of a head's training reads: ids, targets, and all rows in one buffer."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.batches import Batches, num_steps, unlabeled_ids
from labelbench_ray.trainers.feature_rows import FeatureRows
from labelbench_ray.trainers.fields import TrainerFields
from labelbench_ray.trainers.head_layers import HeadLayers
from labelbench_ray.trainers.mixing import as_distributions
from labelbench_ray.types import Rows


class HeadBatch(NamedTuple):
    """The rows of a step: U unlabelled ones (weak view), B labelled ones, and the U again (strong view) if trained."""

    ids_U: torch.Tensor
    target_B: torch.Tensor
    """Labels as bought, or distributions where rows are mixed."""
    rows_RD: torch.Tensor


class HeadBatches:
    """A function of the step alone, but for the choice among several views, which is drawn in the order of steps.

    Ids ascend within a batch, whose order means nothing: rows are read in the order they lie in, and the bits of a sum
    over the batch do not depend on the blocks they lie in.
    """

    def __init__(self, trainer: TrainerFields, data: TrainingData, layers: HeadLayers) -> None:
        self._trainer, self._data, self._layers = trainer, data, layers
        algorithm = trainer.algorithm
        weak = data.weak if algorithm.num_weak_views else (data.features["train"],)
        self._weak = [FeatureRows(rows, data.device, layers.centre_D) for rows in weak]
        self._strong = [FeatureRows(rows, data.device, layers.centre_D) for rows in _strong_views(trainer, data)]
        self._labels_N = _labels_by_id(data)
        self.unlabeled_ids = unlabeled_ids(data) if algorithm.uratio else data.ids_L[:0]
        wanted = max(1, trainer.train_batch_size * algorithm.uratio)
        self._labeled = Batches(data.ids_L, trainer.train_batch_size, lambda i: data.stream("labeled", i))
        self._unlabeled = Batches(self.unlabeled_ids, wanted, lambda i: data.stream("unlabeled", i))
        self._views = data.stream("views")
        self.num_labeled, self.num_unlabeled = self._labeled.size, self._unlabeled.size
        self.per_pass = self._labeled.per_pass
        self.steps = num_steps(self.per_pass, trainer.epochs or 0, trainer.min_steps)
        num_rows = self.num_labeled + self.num_unlabeled * (2 if self._strong else 1)
        self.weak_is_trained = bool(self.num_unlabeled) and not self._strong
        self.first_trained = self.num_unlabeled if self._strong else 0
        """Rows before it are read for their predictions alone."""
        after_labeled = slice(self.num_labeled, self.num_labeled + self.num_unlabeled)
        self.unlabeled_of_trained = slice(0, self.num_unlabeled) if self.weak_is_trained else after_labeled
        self.labeled_of_trained = (
            slice(self.num_unlabeled, None) if self.weak_is_trained else slice(0, self.num_labeled)
        )
        self._stored = torch.empty(num_rows, self._weak[0].width, dtype=self._weak[0].dtype, device=data.device)
        self._prepared = torch.empty(self._stored.shape, device=data.device)

    def at(self, step: int) -> HeadBatch:
        """The batch of a step; its rows are overwritten by the next."""
        ids_U, ids_B = np.sort(self._unlabeled.at(step)), np.sort(self._labeled.at(step))
        labeled = slice(self.num_unlabeled, self.num_unlabeled + self.num_labeled)
        weak = self._one_of(self._weak)
        weak.into(self._stored[labeled], ids_B)
        if self.num_unlabeled:
            weak.into(self._stored[: labeled.start], ids_U)
            if self._strong:
                self._one_of(self._strong).into(self._stored[labeled.stop :], ids_U)
        rows_RD = self._layers.prepare(self._stored, self._prepared)
        target_B = torch.from_numpy(self._labels_N[ids_B]).to(self._data.device)
        mixing = self._trainer.mixing(self._data, step, self.num_labeled)
        if mixing is not None:
            rows_RD[labeled] = mixing.of(rows_RD[labeled])
            target_B = mixing.of(as_distributions(target_B, self._data.num_classes))
        return HeadBatch(torch.from_numpy(ids_U).to(self._data.device), target_B, rows_RD)

    def _one_of(self, views: Sequence[FeatureRows]) -> FeatureRows:
        return views[int(self._views.integers(len(views)))] if len(views) > 1 else views[0]


def _labels_by_id(data: TrainingData) -> np.ndarray:
    labels = np.full((data.num_rows, *data.labels_L.shape[1:]), -1, np.int64)
    labels[data.ids_L] = data.labels_L
    return labels


def _strong_views(trainer: TrainerFields, data: TrainingData) -> tuple[Rows, ...]:
    algorithm = trainer.algorithm
    if not algorithm.uratio or algorithm.trained_view == "weak":
        return ()
    if not data.strong:
        raise TrainingError(
            trainer.name,
            f"algorithm {algorithm.name} needs strong views and none are stored",
            "embed them, or use `algorithm: supervised`",
        )
    return data.strong
