"""The loss of one step and its gradient, as one worker of a group computes them.

Every rank knows the whole batch (a function of the step alone) and works on its slice. Losses are summed over the slice
and divided by the whole batch, so gradients add up to those of one worker. What an algorithm needs of the whole batch
is gathered over ranks first. Augmentation is keyed by step and example id, never by rank.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from labelbench_ray.trainers.algorithms.base import Batch, State, Targets, loss_of_rows
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.batches import Batches, num_steps, unlabeled_ids
from labelbench_ray.trainers.end_to_end_views import TrainingViews
from labelbench_ray.trainers.mixing import as_distributions
from labelbench_ray.trainers.precision import autocast
from labelbench_ray.trainers.ranks import Ranks
from labelbench_ray.types import Ids

if TYPE_CHECKING:
    from labelbench_ray.trainers.end_to_end_fields import EndToEndFields


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a step reads, on this rank."""

    step: int
    targets_B: torch.Tensor
    """Of the whole labelled batch: labels, or distributions where it is mixed."""
    ids_U: Ids
    """Of the whole unlabelled batch."""
    images: torch.Tensor
    """This rank's labelled images, then its unlabelled ones in the view that is trained."""
    num_labeled: int
    weak_U: torch.Tensor | None
    """Weak views of this rank's unlabelled images, where it is not they that are trained."""
    labeled_share: float
    """What the sum of this rank's labelled losses is multiplied by to be its part of their mean."""
    unlabeled_weight: float
    """1, or 0 where this rank has no unlabelled row of its own."""


class TrainingBatches:
    """Which rows a step reads, and their views."""

    def __init__(self, trainer: "EndToEndFields", data: TrainingData, ranks: Ranks, views: TrainingViews) -> None:
        self._trainer, self._data, self._ranks, self._views = trainer, data, ranks, views
        self._position_N = np.full(data.num_rows, -1, np.int64)
        self._position_N[data.ids_L] = np.arange(len(data.ids_L))
        self.pool = unlabeled_ids(data)
        """Ids used without a label."""
        wanted = trainer.train_batch_size * trainer.algorithm.uratio
        self._labeled = Batches(data.ids_L, trainer.train_batch_size, lambda i: data.stream("labeled", i))
        self._unlabeled = Batches(
            self.pool if wanted else self.pool[:0], max(1, wanted), lambda i: data.stream("unlabeled", i)
        )
        self.steps = num_steps(self._labeled.per_pass, trainer.epochs, trainer.min_steps)
        self.per_pass = self._labeled.per_pass

    @property
    def uses_unlabeled(self) -> bool:
        """Whether a step reads unlabelled rows."""
        return self._unlabeled.size > 0

    def at(self, step: int) -> Inputs:
        """What a step reads."""
        ids_B, ids_U = self._labeled.at(step), self._unlabeled.at(step)
        labeled, targets_B, weight = self._labeled_part(ids_B, step)
        mine_U, weight_U = self._ranks.slice(ids_U) if len(ids_U) else (ids_U, 0.0)
        strong = self._trainer.algorithm.trained_view == "strong"
        trained = [self._views.of(mine_U, self._trainer.algorithm.trained_view, step)] if len(ids_U) else []
        return Inputs(
            step=step,
            targets_B=targets_B,
            ids_U=ids_U,
            images=torch.cat([labeled, *trained]),
            num_labeled=len(labeled),
            weak_U=self._views.of(mine_U, "weak", step) if len(ids_U) and strong else None,
            labeled_share=weight / len(ids_B),
            unlabeled_weight=weight_U,
        )

    def _labeled_part(self, ids_B: Ids, step: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        """This rank's labelled images, the targets of all, and 1 or 0 as in ``Ranks.slice``; both mixed if asked."""
        mine_B, weight = self._ranks.slice(ids_B)
        labels_B = torch.from_numpy(self._data.labels_L[self._position_N[ids_B]]).to(self._data.device)
        mixing = self._trainer.mixing(self._data, step, len(ids_B))
        if mixing is None:
            return self._views.of(mine_B, "weak", step), labels_B, weight
        partners_B, _ = self._ranks.slice(ids_B[mixing.partner_B])
        read, places = np.unique(np.concatenate([mine_B, partners_B]), return_inverse=True)
        own, partners = torch.split(self._views.of(read, "weak", step)[torch.from_numpy(places)], len(mine_B))
        targets_BC = mixing.of(as_distributions(labels_B, self._data.num_classes))
        return torch.lerp(partners, own, mixing.share), targets_BC, weight


class Gradients:
    """Losses and gradients of steps. ``model`` runs alone, ``parallel`` averages its gradients over ranks."""

    def __init__(self, trainer: "EndToEndFields", data: TrainingData, ranks: Ranks, batches: TrainingBatches) -> None:
        self._trainer, self._device, self._ranks, self._batches = trainer, data.device, ranks, batches
        self.labeled_loss = trainer.labeled_loss(data)
        self.state: State = trainer.algorithm.start(data.num_rows, len(batches.pool), data.num_classes, data.device)

    def backward(self, step: int, model: torch.nn.Module, parallel: torch.nn.Module) -> torch.Tensor:
        """Add the gradient of a step to the parameters'. Returns this rank's parts of loss and share of rows used.

        Gradients are averaged over ranks, so the loss is multiplied by their number.
        """
        inputs = self._batches.at(step)
        pieces = self._pieces(inputs.images)
        if len(pieces) == 1:
            loss, used = self._loss(inputs, self._logits(parallel, pieces[0]), model)
            (self._ranks.size * loss).backward()  # type: ignore[no-untyped-call]
        else:
            loss, used = self._accumulate(inputs, pieces, model, parallel)
        return torch.stack([loss.detach(), used])

    def _accumulate(
        self, inputs: Inputs, pieces: tuple[torch.Tensor, ...], model: torch.nn.Module, parallel: torch.nn.Module
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """In pieces: logits of all first, the loss's gradient with respect to them, then that gradient's way back.

        So a loss may be any function of the whole batch's logits (gradient cache, Gao et al., 2021).
        """
        logits = torch.cat([self._ahead(model, piece) for piece in pieces]).requires_grad_()
        loss, used = self._loss(inputs, logits, model)
        (self._ranks.size * loss).backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        *early, last = zip(pieces, torch.split(logits.grad, len(pieces[0])), strict=True)
        for piece, gradient in early:
            self._add_gradient(model, piece, gradient)
        # The exchange over ranks comes with the last piece, when gradients hold the sum of all.
        self._logits(parallel, last[0]).backward(last[1])  # type: ignore[no-untyped-call]
        return loss, used

    def _add_gradient(self, model: torch.nn.Module, piece: torch.Tensor, gradient: torch.Tensor) -> None:
        """What ``backward`` does, unseen by ``DistributedDataParallel``, which takes each call for a whole step's."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        found = torch.autograd.grad(self._logits(model, piece), trained, gradient, allow_unused=True)
        for parameter, part in zip(trained, found, strict=True):
            if part is not None:
                parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)

    def _loss(self, inputs: Inputs, logits: torch.Tensor, model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """This rank's part of the loss, from the logits of its images, and of the share of unlabelled rows used."""
        logits_BC, trained_UC = logits[: inputs.num_labeled], logits[inputs.num_labeled :]
        labeled_B = self.labeled_loss.rows(logits_BC, self._ranks.own(inputs.targets_B))
        loss = labeled_B.sum() * inputs.labeled_share
        if not len(inputs.ids_U):
            return loss, torch.zeros_like(loss)
        targets = self._targets(inputs, logits_BC, trained_UC, model)
        unlabeled, used = self._unlabeled_loss(inputs, trained_UC, targets)
        return loss + self._trainer.algorithm.unlabeled_weight(inputs.step, self._batches.steps) * unlabeled, used

    def _unlabeled_loss(
        self, inputs: Inputs, trained_UC: torch.Tensor, targets: Targets
    ) -> tuple[torch.Tensor, torch.Tensor]:
        algorithm, share = self._trainer.algorithm, inputs.unlabeled_weight / len(inputs.ids_U)
        own = Targets(self._ranks.own(targets.target_U), self._ranks.own(targets.weight_U))
        loss = loss_of_rows(trained_UC, own).sum() * share
        if algorithm.has_batch_loss:
            whole = self._ranks.summed(algorithm.strong_sums(trained_UC, own) * inputs.unlabeled_weight)
            loss = loss + algorithm.batch_loss(whole, self.state) / self._ranks.size
        return loss, (own.weight_U > 0).sum() * share

    def _targets(
        self, inputs: Inputs, logits_BC: torch.Tensor, trained_UC: torch.Tensor, model: torch.nn.Module
    ) -> Targets:
        """Targets of the whole batch, the same on every rank, and so is the state that they leave."""
        algorithm, ranks = self._trainer.algorithm, self._ranks
        weak_UC = trained_UC if inputs.weak_U is None else self._ahead_in_pieces(model, inputs.weak_U)
        batch = Batch(
            torch.from_numpy(inputs.ids_U).to(self._device),
            ranks.whole(weak_UC, len(inputs.ids_U)),
            ranks.whole(logits_BC, len(inputs.targets_B)) if algorithm.asks_labeled else logits_BC.detach()[:0].float(),
            inputs.targets_B,
            inputs.step,
            self._batches.steps,
        )
        targets: Targets = algorithm.targets(batch, self.state)
        return targets

    def _ahead_in_pieces(self, model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._ahead(model, piece) for piece in self._pieces(images)])

    def _pieces(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What passes through the model at a time."""
        return torch.split(images, self._trainer.micro_batch_size or len(images))

    @torch.no_grad()
    def _ahead(self, model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Logits without a gradient."""
        return self._logits(model, images)

    def _logits(self, model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        with autocast(self._device, self._trainer.compute_dtype):
            logits: torch.Tensor = model(images)
        return logits
