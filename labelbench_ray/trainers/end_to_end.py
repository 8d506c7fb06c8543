"""The training of encoder and head on images, as one worker of a group sees it, whoever started the group.

Every rank knows the whole batch of a step (a function of the step alone) and works on its slice. Losses are summed over
the slice and divided by the whole batch, so gradients add up to those of one worker. Augmentation is keyed by step and
example id, never by rank.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from labelbench_ray.identity import describe, digest
from labelbench_ray.kernels.augment import View, augment_images
from labelbench_ray.kernels.products import single_threaded
from labelbench_ray.trainers.algorithms.base import Batch, State, Targets, loss_of_rows
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.batches import Batches, num_steps
from labelbench_ray.trainers.cached_images import CachedImages
from labelbench_ray.trainers.end_to_end_model import EndToEndModel, build_model, save_weights
from labelbench_ray.trainers.end_to_end_scoring import score_splits
from labelbench_ray.trainers.finetune import SUMMARY_FILE, WEIGHTS_FILE, FineTune
from labelbench_ray.trainers.head_training import autocast, unlabeled_ids
from labelbench_ray.trainers.losses import LabeledLoss
from labelbench_ray.trainers.optimisers import (
    learning_rate_factor,
    make_optimizer,
    refuse_divergence,
    set_learning_rate,
)
from labelbench_ray.types import Ids, TrainableEncoder, TrainContext

CHECKPOINT_FILE = "training.pt"
FIXED_CONVOLUTIONS = {"enabled": True, "deterministic": True, "benchmark": False, "allow_tf32": False}
"""Settings of cuDNN: the same algorithm at every run, float32 throughout."""


@dataclass(frozen=True, eq=False)
class EndToEndTask:
    """All that a worker is told. It pickles: each worker loads its own encoder and reads its own images."""

    trainer: FineTune
    data: TrainingData

    @property
    def device(self) -> str:
        """Kind of device, ``cpu`` or ``cuda``."""
        return self.data.device

    @property
    def folder(self) -> Path:
        """Where this training leaves its files: another task in the same round folder cannot take them for its own."""
        data = self.data
        told = [describe(self.trainer), describe(data.encoder), data.seed, data.round_index, data.class_names]
        bought = [data.ids_L.tolist(), data.labels_L.tolist(), data.num_rows, data.tile_rows]
        return data.work_dir / f"{self.trainer.name}-{digest([*told, *bought])}"


def train_end_to_end(context: TrainContext, task: EndToEndTask) -> None:
    """Train, going on from the last checkpoint if there is one; then write weights, summary and scores to files."""
    assert task.data.encoder is not None
    # One thread and fixed algorithms: the bits of a result depend on neither the machine's cores nor its load.
    with single_threaded(), torch.backends.cudnn.flags(**FIXED_CONVOLUTIONS):
        encoder = task.data.encoder.load(context.device)
        model = build_model(task.trainer, task.data, encoder).to(context.device)
        training = EndToEndTraining(context, task, model, encoder)
        summary = training.run()
        if context.rank == 0:
            save_weights(model, task.folder / WEIGHTS_FILE)
            (task.folder / SUMMARY_FILE).write_text(json.dumps(summary))
        score_splits(context, task.trainer, task.data, task.folder, model, encoder)


class EndToEndTraining:
    """The steps of one training, on one rank."""

    def __init__(
        self, context: TrainContext, task: EndToEndTask, model: EndToEndModel, encoder: TrainableEncoder
    ) -> None:
        self._context, self._trainer, self._data = context, task.trainer, task.data
        self._folder, self._model, self._encoder = task.folder, model, encoder
        self._parallel = _data_parallel(model, context)
        self._images = CachedImages(self._data.images["train"], self._trainer.image_cache_gib)
        self._labels_N = np.full(self._data.num_rows, -1, np.int64)
        self._labels_N[self._data.ids_L] = self._data.labels_L
        trainer, data = self._trainer, self._data
        unlabeled = unlabeled_ids(data)
        wanted = trainer.train_batch_size * trainer.algorithm.uratio
        self._labeled = Batches(data.ids_L, trainer.train_batch_size, lambda i: data.stream("labeled", i))
        self._unlabeled = Batches(
            unlabeled if wanted else unlabeled[:0], max(1, wanted), lambda i: data.stream("unlabeled", i)
        )
        self._steps = num_steps(self._labeled.per_pass, trainer.epochs, trainer.min_steps)
        self._optimizer = make_optimizer(
            trainer.optimizer, model.parameters(), trainer.learning_rate, trainer.weight_decay
        )
        self._labeled_loss = LabeledLoss(label_smoothing=trainer.label_smoothing)
        self._state: State = trainer.algorithm.start(data.num_rows, len(unlabeled), data.num_classes, context.device)
        self._history = torch.zeros(self._steps, 2, device=context.device)  # loss, share of pseudo labels used

    def run(self) -> dict[str, float]:
        """All steps that the last checkpoint lacks. Raises TrainingError when the loss leaves the finite numbers."""
        trainer, first = self._trainer, self._restore()
        for step in range(first, self._steps):
            factor = learning_rate_factor(
                trainer.schedule, step, self._steps, trainer.warmup_steps, trainer.restart_steps
            )
            set_learning_rate(self._optimizer, trainer.learning_rate * factor)
            self._optimizer.zero_grad()
            self._loss(step).backward()  # type: ignore[no-untyped-call]
            if trainer.clip_gradient is not None:
                torch.nn.utils.clip_grad_norm_(self._model.parameters(), trainer.clip_gradient)
            self._optimizer.step()
            if (step + 1) % trainer.checkpoint_every_steps == 0 or step + 1 == self._steps:
                self._report(first, step + 1)
                first = step + 1
        last_pass = self._history[max(0, self._steps - max(1, self._labeled.per_pass)) :].mean(0).tolist()
        summary = {"steps": float(self._steps), "train_loss": last_pass[0]}
        return summary | ({"pseudo_labels_used": last_pass[1]} if self._unlabeled.size else {})

    def _loss(self, step: int) -> torch.Tensor:
        """This rank's part of the loss of a step, times the number of ranks, over which gradients are averaged."""
        ids_B, ids_U = self._labeled.at(step), self._unlabeled.at(step)
        mine_B, weight = self._slice(ids_B)
        images_B = self._view(mine_B, "weak", step)
        labels_B = torch.from_numpy(self._labels_N[ids_B]).to(self._context.device)
        if self._unlabeled.size:
            logits_BC, unlabeled = self._unlabeled_part(images_B, ids_U, labels_B, step)
        else:
            logits_BC, unlabeled = self._logits(images_B), torch.zeros((), device=self._context.device)
        own_B = self._own(labels_B)
        labeled = self._labeled_loss.rows(logits_BC, own_B).sum() * (weight / len(ids_B))
        loss = labeled + unlabeled
        self._history[step, 0] = loss.detach()
        scaled: torch.Tensor = self._context.world_size * loss
        return scaled

    def _unlabeled_part(
        self, images_B: torch.Tensor, ids_U: Ids, labels_B: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the labelled images, from one pass with the trained view, and the weighted unlabelled loss."""
        algorithm = self._trainer.algorithm
        mine_U, weight = self._slice(ids_U)
        weak = self._view(mine_U, "weak", step)
        weak_is_trained = algorithm.trained_view == "weak"
        both = self._logits(torch.cat([images_B, weak if weak_is_trained else self._view(mine_U, "strong", step)]))
        logits_BC, trained_UC = both[: len(images_B)], both[len(images_B) :]
        weak_UC = trained_UC if weak_is_trained else self._logits_without_gradient(weak)
        targets = self._targets(ids_U, weak_UC, labels_B, logits_BC, step)
        own = Targets(self._own(targets.target_U), self._own(targets.weight_U))
        share = weight / len(ids_U)
        loss = loss_of_rows(trained_UC, own).sum() * share
        sums = algorithm.strong_sums(trained_UC, own)
        if sums is not None:
            loss = loss + algorithm.batch_loss(self._summed(sums * weight), self._state) / self._context.world_size
        self._history[step, 1] = (own.weight_U > 0).sum() * share
        return logits_BC, algorithm.unlabeled_weight(step, self._steps) * loss

    def _targets(
        self, ids_U: Ids, weak_UC: torch.Tensor, labels_B: torch.Tensor, logits_BC: torch.Tensor, step: int
    ) -> Targets:
        """Targets of the whole batch, the same on every rank, and so is the state that they leave."""
        asked = self._trainer.algorithm.asks_labeled
        batch = Batch(
            torch.from_numpy(ids_U).to(self._context.device),
            self._whole(weak_UC, len(ids_U)),
            self._whole(logits_BC, len(labels_B)) if asked else logits_BC.detach()[:0].float(),
            labels_B,
            step,
            self._steps,
        )
        targets: Targets = self._trainer.algorithm.targets(batch, self._state)
        return targets

    def _whole(self, mine: torch.Tensor, count: int) -> torch.Tensor:
        """Rows of all ranks, without gradients: each is zero but on one rank, so their sum is exact."""
        first, last = _borders(count, self._context)
        rows = torch.zeros((count, *mine.shape[1:]), device=mine.device)
        rows[first:last] = mine.detach()[: last - first].float()
        _sum_over_ranks(rows, self._context)
        return rows

    def _own(self, rows: torch.Tensor) -> torch.Tensor:
        """What ``_slice`` takes, of something that has a row for each of the whole batch."""
        first, last = _borders(len(rows), self._context)
        return rows[first:last] if last > first else rows[:1]

    def _summed(self, sums: torch.Tensor) -> torch.Tensor:
        """The sum over ranks, with the gradient of this rank's part."""
        total = sums.detach().clone()
        _sum_over_ranks(total, self._context)
        return total + sums - sums.detach()

    def _slice(self, ids_B: Ids) -> tuple[Ids, float]:
        """This rank's part of a batch, and 1; or one row that counts 0, where there are fewer rows than ranks."""
        first, last = _borders(len(ids_B), self._context)
        return (ids_B[first:last], 1.0) if last > first else (ids_B[:1], 0.0)

    def _view(self, ids_B: Ids, kind: Literal["weak", "strong"], step: int) -> torch.Tensor:
        seed = int(self._data.stream("augment", step).integers(2**31))
        view = View(kind=kind, seed=seed)
        images = augment_images(self._images.read(ids_B), ids_B, view, self._data.can_flip)
        return self._encoder.prepare(images).to(self._context.device)

    @torch.no_grad()
    def _logits_without_gradient(self, images_B: torch.Tensor) -> torch.Tensor:
        with autocast(self._context.device, self._trainer.compute_dtype):
            logits: torch.Tensor = self._model(images_B)
        return logits

    def _logits(self, images_B: torch.Tensor) -> torch.Tensor:
        with autocast(self._context.device, self._trainer.compute_dtype):
            logits: torch.Tensor = self._parallel(images_B)
        return logits

    def _restore(self) -> int:
        """Take up the last checkpoint. Returns the step to go on with."""
        folder = self._context.checkpoint()
        if folder is None:
            return 0
        saved = torch.load(folder / CHECKPOINT_FILE, map_location=self._context.device, weights_only=True)
        self._model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._state, self._history = saved["state"], saved["history"]
        return int(saved["step"])

    def _report(self, first: int, done: int) -> None:
        """Check the losses since ``first``, tell them, keep a checkpoint after ``done`` steps. All ranks call it."""
        recent = self._history[first:done]
        _sum_over_ranks(recent, self._context)
        refuse_divergence(self._trainer.name, recent[:, 0], first, self._trainer.learning_rate)
        metrics = {"step": float(done), "loss": float(recent[-1, 0])}
        if self._context.rank != 0:
            self._context.report(metrics)
            return
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="checkpoint-") as draft:
            torch.save(self._snapshot(done), Path(draft) / CHECKPOINT_FILE)
            self._context.report(metrics, Path(draft))

    def _snapshot(self, done: int) -> dict[str, Any]:
        return {
            "step": done,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "state": self._state,
            "history": self._history,
        }


def _borders(count: int, context: TrainContext) -> tuple[int, int]:
    return count * context.rank // context.world_size, count * (context.rank + 1) // context.world_size


def _data_parallel(model: EndToEndModel, context: TrainContext) -> torch.nn.Module:
    if context.world_size == 1:
        return model
    device = torch.device(context.device)
    # A static graph may hold parameters without a gradient, such as those of a layer the embedding skips.
    return torch.nn.parallel.DistributedDataParallel(
        model, device_ids=None if device.type == "cpu" else [device], broadcast_buffers=False, static_graph=True
    )


def _sum_over_ranks(values: torch.Tensor, context: TrainContext) -> None:
    if context.world_size > 1:
        torch.distributed.all_reduce(values)
