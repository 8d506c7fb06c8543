"""The training of encoder and head on images, as one worker of a group sees it, whoever started the group."""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelbench_ray.identity import describe, digest
from labelbench_ray.kernels.products import single_threaded
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.device_memory import naming_the_batch
from labelbench_ray.trainers.early_stopping import EarlyStopping
from labelbench_ray.trainers.end_to_end_fields import LAST_LAYER_FILE, MODEL_FOLDER, SUMMARY_FILE, EndToEndFields
from labelbench_ray.trainers.end_to_end_model import EndToEndModel, build_model, data_parallel
from labelbench_ray.trainers.end_to_end_scoring import ValidationLoss, score_splits
from labelbench_ray.trainers.end_to_end_step import Gradients, TrainingBatches
from labelbench_ray.trainers.end_to_end_views import TrainingViews
from labelbench_ray.trainers.layer_decay import make_scaled_optimizer, set_scaled_learning_rate
from labelbench_ray.trainers.optimisers import refuse_divergence
from labelbench_ray.trainers.precision import working_dtype
from labelbench_ray.trainers.ranks import Ranks
from labelbench_ray.trainers.weight_average import WeightAverage
from labelbench_ray.types import TrainableEncoder, TrainContext

CHECKPOINT_FILE = "training.pt"
STEPS_BETWEEN_CHECKS = 50  # a look at the loss makes a GPU wait, so not at every step
FIXED_CONVOLUTIONS = {"enabled": True, "deterministic": True, "benchmark": False, "allow_tf32": False}
"""Settings of cuDNN: the same algorithm at every run, float32 throughout."""


@dataclass(frozen=True, eq=False)
class EndToEndTask:
    """All that a worker is told. It pickles: each worker loads its own encoder and reads its own images."""

    trainer: EndToEndFields
    data: TrainingData

    @property
    def name(self) -> str:
        """Who trains."""
        return self.trainer.name

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
    trainer = _as_trained_here(task.trainer, context.device)
    data = dataclasses.replace(task.data, device=context.device)
    assert data.encoder is not None
    # One thread and fixed algorithms: the bits of a result depend on neither the machine's cores nor its load.
    with single_threaded(), torch.backends.cudnn.flags(**FIXED_CONVOLUTIONS):
        encoder = data.encoder.load(context.device)
        model = build_model(trainer, data, encoder)
        with naming_the_batch(trainer.name, "a training step", trainer.how_to_save_memory):
            summary = EndToEndTraining(context, trainer, data, task.folder, model, encoder).run()
        if context.rank == 0:
            _write_model(trainer, model, task.folder)
            _write_last_layer(model, task.folder)
            (task.folder / SUMMARY_FILE).write_text(json.dumps(summary))
        with naming_the_batch(trainer.name, "scoring", f"lower `score_batch_size: {trainer.score_batch_size}`"):
            score_splits(context, trainer, data, task.folder, model, encoder)


class EndToEndTraining:
    """The epochs of one training, on one rank."""

    def __init__(
        self,
        context: TrainContext,
        trainer: EndToEndFields,
        data: TrainingData,
        folder: Path,
        model: EndToEndModel,
        encoder: TrainableEncoder,
    ) -> None:
        self._context, self._trainer, self._folder = context, trainer, folder
        self._ranks = Ranks(context)
        views = TrainingViews(data, encoder, trainer.image_cache_gib)
        self._batches = TrainingBatches(trainer, data, self._ranks, views)
        self._gradients = Gradients(trainer, data, self._ranks, self._batches)
        self._trained = model.trained()
        self._optimizer = make_scaled_optimizer(
            trainer.optimizer,
            self._trained,
            trainer.learning_rate_scales(model),
            trainer.learning_rate,
            trainer.weight_decay,
        )
        weights = list(self._trained.values())
        self._average = WeightAverage(weights, trainer.ema) if trainer.ema else None
        self._stopping = EarlyStopping(weights, trainer.patience) if trainer.patience else None
        self._validation = ValidationLoss(trainer, data, model, encoder, self._ranks) if trainer.patience else None
        self._fast: torch.nn.Module = torch.compile(model) if trainer.compile else model  # type: ignore[assignment]
        self._frozen: bool | None = None
        self._parallel: torch.nn.Module = self._fast
        self._done, self._stopped = 0, False
        self._history = torch.zeros(self._batches.steps, 2, device=context.device)  # loss, share of rows used

    def run(self) -> dict[str, float]:
        """All epochs that the last checkpoint lacks. Raises TrainingError when the loss leaves the finite numbers."""
        self._restore()
        per_epoch = self._trainer.steps_per_epoch(self._batches.steps)
        while self._done < self._batches.steps and not self._stopped:
            self._freeze(self._done < self._trainer.freeze_epochs * per_epoch)
            self._train(min(self._done + per_epoch, self._batches.steps))
            self._stopped = self._observe()
            ended = self._stopped or self._done == self._batches.steps
            self._report(keep=ended or self._done // per_epoch % self._trainer.checkpoint_every_epochs == 0)
        self._keep_best()
        return self._summary()

    def _train(self, last: int) -> None:
        """Steps up to ``last``."""
        trainer, checked = self._trainer, self._done
        for step in range(self._done, last):
            rate = trainer.learning_rate_at(step, self._batches.steps)
            set_scaled_learning_rate(self._optimizer, rate)
            self._optimizer.zero_grad()
            self._history[step] = self._gradients.backward(step, self._fast, self._parallel)
            if trainer.clip_gradient is not None:
                torch.nn.utils.clip_grad_norm_(self._trained.values(), trainer.clip_gradient)
            self._optimizer.step()
            if self._average is not None:
                self._average.update()
            self._done = step + 1
            if self._done - checked == STEPS_BETWEEN_CHECKS or self._done == last:
                recent = self._ranks.add_up(self._history[checked : self._done])
                refuse_divergence(trainer.name, recent[:, 0], checked, rate)
                checked = self._done

    def _freeze(self, frozen: bool) -> None:
        """Take the encoder out of training, or in. Workers agree on what is trained anew."""
        if frozen == self._frozen:
            return
        for name, parameter in self._trained.items():
            parameter.requires_grad_(not (frozen and name.startswith("encoder.")))
        self._frozen, self._parallel = frozen, data_parallel(self._fast, self._context)

    def _observe(self) -> bool:
        """Show the validation loss to early stopping, where there is any. Returns whether training should end."""
        if self._stopping is None or self._validation is None:
            return False
        with contextlib.nullcontext() if self._average is None else self._average.in_place():
            return self._stopping.observe(self._validation.of(self._gradients.labeled_loss))

    def _keep_best(self) -> None:
        if self._stopping is not None:
            self._stopping.restore()
        elif self._average is not None:
            self._average.keep()

    def _summary(self) -> dict[str, float]:
        last_pass = self._history[max(0, self._done - self._batches.per_pass) : self._done].mean(0).tolist()
        summary = {"steps": float(self._done), "train_loss": last_pass[0]}
        if self._stopping is not None:
            summary["validation_loss"] = self._stopping.best_loss
        return summary | ({"pseudo_labels_used": last_pass[1]} if self._batches.uses_unlabeled else {})

    def _report(self, *, keep: bool) -> None:
        """Tell how far training is; the first rank's checkpoint goes along if asked. All ranks call it."""
        metrics = {"step": float(self._done), "loss": float(self._history[self._done - 1, 0])}
        if self._context.rank != 0 or not keep:
            self._context.report(metrics)
            return
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="checkpoint-") as draft:
            torch.save(self._snapshot(), Path(draft) / CHECKPOINT_FILE)
            self._context.report(metrics, Path(draft))

    def _snapshot(self) -> dict[str, Any]:
        """Streams and schedules are functions of the step, so the step says where they are."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {
            "step": self._done,
            "stopped": self._stopped,
            "weights": {name: weight.detach() for name, weight in self._trained.items()},
            "state": self._gradients.state,
            "history": self._history,
            "parts": parts,
        }

    def _restore(self) -> None:
        """Take up the last checkpoint."""
        folder = self._context.checkpoint()
        if folder is None:
            return
        saved = torch.load(folder / CHECKPOINT_FILE, map_location=self._context.device, weights_only=True)
        with torch.no_grad():
            for name, value in saved["weights"].items():
                self._trained[name].copy_(value)
        for name, part in self._parts().items():
            part.load_state_dict(saved["parts"][name])
        self._gradients.state, self._history = saved["state"], saved["history"]
        self._done, self._stopped = int(saved["step"]), bool(saved["stopped"])

    def _parts(self) -> Mapping[str, Any]:
        """What has a state of its own."""
        parts = {"optimizer": self._optimizer, "average": self._average, "stopping": self._stopping}
        return {name: part for name, part in parts.items() if part is not None}


def _as_trained_here(trainer: EndToEndFields, device: str) -> EndToEndFields:
    """The trainer in float32 where the device has no bfloat16."""
    if working_dtype(trainer.compute_dtype, torch.device(device).type) == torch.float32:
        return dataclasses.replace(trainer, compute_dtype="float32")
    return trainer


def _write_last_layer(model: EndToEndModel, folder: Path) -> None:
    weight, bias = (part.detach().float().cpu().numpy() for part in (model.head.weight, model.head.bias))
    np.savez(folder / LAST_LAYER_FILE, weight=weight, bias=bias)


def _write_model(trainer: EndToEndFields, model: EndToEndModel, folder: Path) -> None:
    """Under a temporary name first: a model folder that is there is complete."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="model-") as draft:
        trainer.save_model(model, Path(draft))
        shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
        shutil.copytree(draft, folder / MODEL_FOLDER)
