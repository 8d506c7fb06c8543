"""Training of a small head on stored features: in minibatches, or on all labels at once by L-BFGS.

Everything runs on one thread, so that the thread count of the process changes no bit.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.kernels.products import operand
from labelbench_ray.trainers.algorithms.base import Algorithm, Batch, State, loss_of_rows
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.batches import Batches, num_steps
from labelbench_ray.trainers.losses import LabeledLoss
from labelbench_ray.trainers.optimisers import (
    Schedule,
    learning_rate_factor,
    make_optimizer,
    refuse_divergence,
    set_learning_rate,
)
from labelbench_ray.types import Floats, Ids, Rows

STEPS_BETWEEN_CHECKS = 50  # a look at the loss makes a GPU wait, so not at every step
RESIDENT_BYTES = 8 << 30  # larger views stay on disk and only their batches travel to the GPU


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How a head is trained, every value given."""

    trainer: str
    algorithm: Algorithm
    loss: LabeledLoss
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    restart_steps: int
    warmup_steps: int
    epochs: int
    min_steps: int
    train_batch_size: int
    compute_dtype: str


@dataclass(frozen=True, eq=False)
class Standardise:
    """Subtracts the pool's mean and divides by its deviation; a constant feature is only centred."""

    mean_D: Floats
    scale_D: Floats


def pool_standardisation(trainer: str, rows: Rows, tile_rows: int, excluded_ids: Ids) -> Standardise:
    """Mean and deviation of the pool's clean view, summed tile by tile in float64. Raises TrainingError on NaN."""
    num_rows, width = rows.shape
    total_D, squares_D = np.zeros(width), np.zeros(width)
    for first in range(0, num_rows, tile_rows):
        last = min(first + tile_rows, num_rows)
        tile_TD = rows.slice(first, last).astype(np.float64)
        inside = excluded_ids[(excluded_ids >= first) & (excluded_ids < last)]
        if inside.size:
            tile_TD = np.delete(tile_TD, inside - first, axis=0)
        total_D += tile_TD.sum(axis=0)
        squares_D += np.einsum("td,td->d", tile_TD, tile_TD)
    count = max(1, num_rows - len(excluded_ids))
    mean_D = total_D / count
    with np.errstate(invalid="ignore"):  # infinity minus infinity: refused below
        variance_D = np.maximum(squares_D / count - mean_D**2, 0.0)
    if not np.isfinite(variance_D).all():
        column = int(np.flatnonzero(~np.isfinite(variance_D))[0])
        raise TrainingError(trainer, f"feature {column} of the pool holds NaN or infinity", "embed the pool again")
    # Below this a deviation is the rounding of the sums, and dividing by it would blow noise up.
    constant_D = variance_D <= 1e-12 * (mean_D**2 + 1e-12)
    deviation_D = np.where(constant_D, 1.0, np.sqrt(variance_D))
    return Standardise(mean_D.astype(np.float32), (1.0 / deviation_D).astype(np.float32))


def batch_reader(rows: Rows, standardise: Standardise, device: str) -> Callable[[Ids], torch.Tensor]:
    """``read(ids)`` gives the standardised rows on the device; a GPU holds the whole view where it fits."""
    mean_D, scale_D = operand(standardise.mean_D).to(device), operand(standardise.scale_D).to(device)
    num_rows, width = rows.shape
    resident = None
    if device != "cpu" and num_rows * width * 2 <= RESIDENT_BYTES:
        resident = torch.from_numpy(np.array(rows.slice(0, num_rows))).to(device)

    def read(ids: Ids) -> torch.Tensor:
        if resident is None:
            taken_BD = operand(rows.take(ids)).to(device)
        else:
            taken_BD = resident[torch.from_numpy(ids).to(device)].float()
        return taken_BD.sub_(mean_D).mul_(scale_D)

    return read


def new_head(widths: Sequence[int], rng: np.random.Generator) -> torch.nn.Sequential:
    """Linear layers of these widths with rectifiers between. Hidden weights are He-uniform, the last layer is zero."""
    layers: list[torch.nn.Module] = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        # Made without values: torch's own initialisation would draw from the global generator.
        layer = torch.nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")
        last = number == len(widths) - 2
        bound = 0.0 if last else float(np.sqrt(6.0 / fan_in))
        with torch.no_grad():
            layer.weight.copy_(operand(rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)))
            layer.bias.zero_()
        layers += [layer] if last else [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers)


def train_full_batch(
    settings: HeadSettings, head: torch.nn.Module, features_LD: torch.Tensor, labels_L: torch.Tensor
) -> dict[str, float]:
    """L-BFGS on all labels: mean loss + ``weight_decay`` / 2 times the squared weights (not the biases).

    For a linear head this is multinomial logistic regression with its unique optimum, whatever the starting point.
    """
    decayed = [parameter for parameter in head.parameters() if parameter.ndim > 1]
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=settings.epochs,
        history_size=10,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
    )
    losses: list[torch.Tensor] = []

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        loss = settings.loss.rows(head(features_LD), labels_L).mean()
        penalty = sum((weight.square().sum() for weight in decayed), torch.zeros((), device=loss.device))
        whole: torch.Tensor = loss + 0.5 * settings.weight_decay * penalty
        whole.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        return whole

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    refuse_divergence(settings.trainer, torch.stack(losses), 0, 1.0)
    return {"steps": float(len(losses)), "train_loss": float(losses[-1])}


class MinibatchTraining:
    """One training in minibatches: which rows each step reads, and what is done with them."""

    def __init__(
        self, settings: HeadSettings, head: torch.nn.Module, data: TrainingData, standardise: Standardise
    ) -> None:
        self._settings, self._head, self._data = settings, head, data
        algorithm = settings.algorithm
        weak = data.weak if algorithm.num_weak_views else (data.features["train"],)
        self._weak = [batch_reader(rows, standardise, data.device) for rows in weak]
        self._strong = [batch_reader(rows, standardise, data.device) for rows in _strong_views(settings, data)]
        self._labels_N = np.full(data.num_rows, -1, np.int64)
        self._labels_N[data.ids_L] = data.labels_L
        unlabeled = unlabeled_ids(data)
        self._labeled = Batches(data.ids_L, settings.train_batch_size, lambda i: data.stream("labeled", i))
        wanted = settings.train_batch_size * algorithm.uratio
        self._unlabeled = Batches(
            unlabeled if wanted else unlabeled[:0], max(1, wanted), lambda i: data.stream("unlabeled", i)
        )
        self._views = data.stream("views")
        self.state: State = algorithm.start(data.num_rows, len(unlabeled), data.num_classes, data.device)
        self.steps = num_steps(self._labeled.per_pass, settings.epochs, settings.min_steps)

    def run(self) -> dict[str, float]:
        """All steps. Raises TrainingError when the loss leaves the finite numbers."""
        settings = self._settings
        optimizer = make_optimizer(
            settings.optimizer, self._head.parameters(), settings.learning_rate, settings.weight_decay
        )
        losses, used = torch.zeros(2, self.steps, device=self._data.device)
        for step in range(self.steps):
            factor = learning_rate_factor(
                settings.schedule, step, self.steps, settings.warmup_steps, settings.restart_steps
            )
            set_learning_rate(optimizer, settings.learning_rate * factor)
            loss, share = self._losses(step)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses[step], used[step] = loss.detach(), share
            if (step + 1) % STEPS_BETWEEN_CHECKS == 0 or step + 1 == self.steps:
                first = step - step % STEPS_BETWEEN_CHECKS
                refuse_divergence(settings.trainer, losses[first : step + 1], first, settings.learning_rate)
        last_pass = slice(max(0, self.steps - max(1, self._labeled.per_pass)), self.steps)
        summary = {"steps": float(self.steps), "train_loss": float(losses[last_pass].mean())}
        return summary | ({"pseudo_labels_used": float(used[last_pass].mean())} if self._unlabeled.size else {})

    def _losses(self, step: int) -> tuple[torch.Tensor, torch.Tensor | float]:
        """The loss of a step and the share of unlabelled rows that counted in it."""
        algorithm, loss = self._settings.algorithm, self._settings.loss
        ids_B = self._labeled.at(step)
        labels_B = torch.from_numpy(self._labels_N[ids_B]).to(self._data.device)
        labeled_BD = self._draw(self._weak)(ids_B)
        if not self._unlabeled.size:
            return loss.rows(self._logits(labeled_BD), labels_B).mean(), 0.0
        ids_U = self._unlabeled.at(step)
        weak_UD = self._draw(self._weak)(ids_U)
        weak_is_trained = algorithm.trained_view == "weak"
        trained_UD = weak_UD if weak_is_trained else self._draw(self._strong)(ids_U)
        both = self._logits(torch.cat([labeled_BD, trained_UD]))
        labeled_BC, trained_UC = both[: len(ids_B)], both[len(ids_B) :]
        with torch.no_grad():
            weak_UC = trained_UC if weak_is_trained else self._logits(weak_UD)
        where = torch.from_numpy(ids_U).to(self._data.device)
        batch = Batch(where, weak_UC.detach().float(), labeled_BC.detach().float(), labels_B, step, self.steps)
        targets = algorithm.targets(batch, self.state)
        unlabeled = loss_of_rows(trained_UC, targets).mean()
        sums = algorithm.strong_sums(trained_UC, targets)
        if sums is not None:
            unlabeled = unlabeled + algorithm.batch_loss(sums, self.state)
        whole = loss.rows(labeled_BC, labels_B).mean() + algorithm.unlabeled_weight(step, self.steps) * unlabeled
        return whole, (targets.weight_U > 0).float().mean()

    def _logits(self, rows_BD: torch.Tensor) -> torch.Tensor:
        with autocast(self._data.device, self._settings.compute_dtype):
            logits: torch.Tensor = self._head(rows_BD)
        return logits

    def _draw(self, views: Sequence[Callable[[Ids], torch.Tensor]]) -> Callable[[Ids], torch.Tensor]:
        return views[int(self._views.integers(len(views)))] if len(views) > 1 else views[0]


def _strong_views(settings: HeadSettings, data: TrainingData) -> tuple[Rows, ...]:
    if not settings.algorithm.uratio or settings.algorithm.trained_view == "weak":
        return ()
    if not data.strong:
        raise TrainingError(
            settings.trainer,
            f"algorithm {settings.algorithm.name} needs strong views and none are stored",
            "embed them, or use `algorithm: supervised`",
        )
    return data.strong


def unlabeled_ids(data: TrainingData) -> Ids:
    """Rows used without a label: neither bought nor excluded, ascending."""
    mask = np.ones(data.num_rows, bool)
    mask[data.ids_L] = False
    mask[data.excluded_ids] = False
    return np.flatnonzero(mask).astype(np.int64)


def autocast(device: str, compute_dtype: str) -> AbstractContextManager[Any]:
    """Products in bfloat16 where asked, float32 otherwise."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=compute_dtype == "bfloat16")


def layers_of(head: torch.nn.Module) -> tuple[tuple[Floats, Floats], ...]:
    """Weights and biases of its linear layers as float32 arrays of their own."""
    copied = copy.deepcopy(head).cpu().float()
    linear = [module for module in copied.modules() if isinstance(module, torch.nn.Linear)]
    return tuple((layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear)
