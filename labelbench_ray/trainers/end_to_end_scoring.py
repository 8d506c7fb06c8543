"""Scores under a model trained end to end: each rank takes tiles of every split, or batches of the validation split."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.cached_images import CachedSquares
from labelbench_ray.trainers.end_to_end_model import EndToEndModel
from labelbench_ray.trainers.losses import RowLoss
from labelbench_ray.trainers.precision import autocast
from labelbench_ray.trainers.ranks import Ranks
from labelbench_ray.trainers.scores import has_tile, write_tile
from labelbench_ray.types import SPLITS, Floats, Ids, Images, TrainableEncoder, TrainContext

if TYPE_CHECKING:
    from labelbench_ray.trainers.end_to_end_fields import EndToEndFields


def score_splits(
    context: TrainContext,
    trainer: "EndToEndFields",
    data: TrainingData,
    folder: Path,
    model: EndToEndModel,
    encoder: TrainableEncoder,
) -> None:
    """Write every tile of this rank that is not there yet, under ``folder/<split>``."""
    forward = _Forward(trainer, data, model, encoder)
    for split in [split for split in SPLITS if split in data.images]:
        images, skipped = data.images[split], data.excluded_ids if split == "train" else data.excluded_ids[:0]
        (folder / split).mkdir(parents=True, exist_ok=True)
        for tile in range(context.rank, -(-len(images) // data.tile_rows), context.world_size):
            if not has_tile(folder / split, tile):
                first, last = tile * data.tile_rows, min((tile + 1) * data.tile_rows, len(images))
                ids = np.setdiff1d(np.arange(first, last, dtype=np.int64), skipped)
                probs, embeddings = forward.scores(images, ids)
                shape = (data.tile_rows, first)
                write_tile(folder / split, tile, _placed(probs, ids, *shape), _placed(embeddings, ids, *shape))


class ValidationLoss:
    """Mean of the loss on bought labels over the validation split, of which each rank takes every so many batches."""

    def __init__(
        self,
        trainer: "EndToEndFields",
        data: TrainingData,
        model: EndToEndModel,
        encoder: TrainableEncoder,
        ranks: Ranks,
    ) -> None:
        if data.validation_labels is None or "val" not in data.images:
            raise TrainingError(trainer.name, "`patience` needs a validation split", "leave `patience` out")
        self._forward, self._ranks, self._labels_N = (
            _Forward(trainer, data, model, encoder),
            ranks,
            data.validation_labels,
        )
        self._squares = CachedSquares(data.images["val"], encoder, data.device, trainer.image_cache_gib)
        labels_N1 = self._labels_N.reshape(len(self._labels_N), -1)
        ids = np.flatnonzero(labels_N1.min(1) >= 0).astype(np.int64)
        self._mine = cut(ids, trainer.score_batch_size)[ranks.rank :: ranks.size]

    def of(self, loss: RowLoss) -> float:
        """The mean now. Every rank must ask."""
        total = torch.zeros(2, dtype=torch.float64)  # of the losses, and of the rows
        for ids in self._mine:
            logits_BC = self._forward.batch(self._squares.read(ids)).logits_BC
            labels_B = torch.from_numpy(self._labels_N[ids]).to(logits_BC.device)
            total += torch.tensor([float(loss.rows(logits_BC, labels_B).double().sum()), len(ids)])
        losses, rows = self._ranks.add_up(total.to(self._forward.device))
        return float(losses / rows)


class _Batch(NamedTuple):
    logits_BC: torch.Tensor
    embeddings_BD: torch.Tensor


class _Forward:
    """What the model says of images, in batches of one shape whoever asks."""

    def __init__(
        self, trainer: "EndToEndFields", data: TrainingData, model: EndToEndModel, encoder: TrainableEncoder
    ) -> None:
        self._trainer, self._model, self._encoder, self.device = trainer, model, encoder, data.device
        self._multi_label = data.task == "multi_label"

    def scores(self, images: Images, ids: Ids) -> tuple[Floats, Floats]:
        """(n, C) probabilities and (n, D) embeddings."""
        if not len(ids):
            return np.empty((0, self._model.head.out_features)), np.empty((0, self._model.head.in_features))
        parts = cut(ids, self._trainer.score_batch_size)
        batches = [self.batch(self._encoder.squares(images.read(part))) for part in parts]
        logits = torch.cat([batch.logits_BC for batch in batches])
        probs = logits.sigmoid() if self._multi_label else logits.softmax(1)
        return probs.cpu().numpy(), torch.cat([batch.embeddings_BD for batch in batches]).cpu().numpy()

    @torch.no_grad()
    def batch(self, squares: torch.Tensor) -> _Batch:
        """Logits and embeddings of at most ``score_batch_size`` images, in float32 on the device."""
        filled = squares.new_zeros(self._trainer.score_batch_size, *squares.shape[1:])
        filled[: len(squares)] = squares
        images = self._encoder.normalize(filled.to(self.device))
        with autocast(self.device, self._trainer.compute_dtype):
            embeddings_BD = self._model.embed(images)
            logits_BC = self._model.head(embeddings_BD)
        return _Batch(logits_BC[: len(squares)].float(), embeddings_BD[: len(squares)].float())


def cut(ids: Ids, size: int) -> list[Ids]:
    """Parts of at most ``size`` ids, in order."""
    return [ids[first : first + size] for first in range(0, len(ids), size)]


def _placed(rows: Floats, ids: Ids, tile_rows: int, first: int) -> Floats:
    placed = np.zeros((tile_rows, rows.shape[1]), np.float32)
    placed[ids - first] = rows
    return placed
