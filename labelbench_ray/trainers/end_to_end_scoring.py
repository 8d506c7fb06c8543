"""Scoring after end-to-end training: each rank writes the probabilities and embeddings of its tiles of every split."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.end_to_end_model import EndToEndModel
from labelbench_ray.trainers.head_training import autocast
from labelbench_ray.trainers.scores import has_tile, write_tile
from labelbench_ray.types import SPLITS, Floats, Ids, Images, TrainableEncoder, TrainContext

if TYPE_CHECKING:
    from labelbench_ray.trainers.finetune import FineTune


def score_splits(
    context: TrainContext,
    trainer: "FineTune",
    data: TrainingData,
    folder: Path,
    model: EndToEndModel,
    encoder: TrainableEncoder,
) -> None:
    """Write every tile of this rank that is not there yet, under ``folder/<split>``."""
    forward = _Forward(trainer, model, encoder, context.device)
    for split in [split for split in SPLITS if split in data.images]:
        images, skipped = data.images[split], data.excluded_ids if split == "train" else data.excluded_ids[:0]
        (folder / split).mkdir(parents=True, exist_ok=True)
        for tile in range(context.rank, -(-len(images) // data.tile_rows), context.world_size):
            if not has_tile(folder / split, tile):
                first, last = tile * data.tile_rows, min((tile + 1) * data.tile_rows, len(images))
                ids = np.setdiff1d(np.arange(first, last, dtype=np.int64), skipped)
                probs, embeddings = forward.of(images, ids)
                shape = (data.tile_rows, first)
                write_tile(folder / split, tile, _placed(probs, ids, *shape), _placed(embeddings, ids, *shape))


class _Forward:
    """Scores of images, in batches of one shape whoever computes them."""

    def __init__(self, trainer: "FineTune", model: EndToEndModel, encoder: TrainableEncoder, device: str) -> None:
        self._trainer, self._model, self._encoder, self._device = trainer, model, encoder, device

    def of(self, images: Images, ids: Ids) -> tuple[Floats, Floats]:
        """(n, C) probabilities and (n, D) embeddings."""
        size = self._trainer.score_batch_size
        parts = [self._batch(images, ids[start : start + size]) for start in range(0, len(ids), size)]
        if not parts:
            return np.empty((0, self._model.head.out_features)), np.empty((0, self._model.head.in_features))
        return np.concatenate([probs for probs, _ in parts]), np.concatenate([emb for _, emb in parts])

    @torch.no_grad()
    def _batch(self, images: Images, ids: Ids) -> tuple[Floats, Floats]:
        prepared = self._encoder.prepare(images.read(ids))
        padded = prepared.new_zeros(self._trainer.score_batch_size, *prepared.shape[1:])
        padded[: len(ids)] = prepared
        with autocast(self._device, self._trainer.compute_dtype):
            embeddings_BD = self._model.embed(padded.to(self._device))
            logits_BC = self._model.head(embeddings_BD)
        probs_BC = logits_BC.float().softmax(1)
        return probs_BC[: len(ids)].cpu().numpy(), embeddings_BD[: len(ids)].float().cpu().numpy()


def _placed(rows: Floats, ids: Ids, tile_rows: int, first: int) -> Floats:
    placed = np.zeros((tile_rows, rows.shape[1]), np.float32)
    placed[ids - first] = rows
    return placed
