"""Optimisers, learning rate schedules as functions of the step, and the check that a loss stays finite."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from labelbench_ray.errors import TrainingError

if TYPE_CHECKING:
    import torch

ScheduleName = Literal["constant", "cosine", "cosine_restarts", "step"]
StepOptimizer = Literal["adam", "adamw", "sgd"]


def make_optimizer(
    kind: str, parameters: Iterable["torch.Tensor"], learning_rate: float, weight_decay: float
) -> "torch.optim.Optimizer":
    """An optimiser that decays matrices but neither biases nor the scales of normalisation layers.

    ``adam`` and ``sgd`` add the decay to the gradient (L2), ``adamw`` takes it off the weights (Loshchilov and Hutter,
    2019). ``sgd`` has momentum 0.9.
    """
    import torch

    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
    if kind == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate at a step, as a share of the highest one. It starts with a linear warm-up."""

    name: ScheduleName
    warmup_steps: int = 0
    restart_steps: int = 500
    decay_steps: int = 500
    decay_factor: float = 0.1

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at step 0, 1, ..., ``steps - 1``.

        After the warm-up ``cosine`` falls from 1 to nearly 0 at the last step; ``cosine_restarts`` falls to 0 in
        ``restart_steps``, starts again and takes twice as long each time (Loshchilov and Hutter, 2017); ``step`` is
        multiplied by ``decay_factor`` every ``decay_steps``. The last two are stepped before the update, as LabelBench
        does, which calls them CosineLR and StepLR; its customized_CosineLR is ``cosine`` with a warm-up.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        step, steps = step - self.warmup_steps, max(1, steps - self.warmup_steps)
        if self.name == "constant":
            return 1.0
        if self.name == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * step / steps))
        if self.name == "step":
            return float(self.decay_factor ** ((step + 1) // self.decay_steps))
        cycle = int(math.log2((step + 1) / self.restart_steps + 1.0))
        begun = self.restart_steps * (2**cycle - 1)
        return 0.5 * (1.0 + math.cos(math.pi * (step + 1 - begun) / (self.restart_steps * 2**cycle)))


def set_learning_rate(optimizer: "torch.optim.Optimizer", learning_rate: float) -> None:
    """The same rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def refuse_divergence(trainer: str, losses: "torch.Tensor", first_step: int, learning_rate: float) -> None:
    """Raise TrainingError at the first loss that is NaN or infinite. ``losses`` are of steps ``first_step ...``."""
    finite = losses.isfinite()
    if not bool(finite.all()):
        step = first_step + int((~finite).nonzero()[0, 0])
        raise TrainingError(
            trainer,
            f"the loss is NaN or infinite at step {step} with learning rate {learning_rate:g}",
            "lower `learning_rate`, or look for extreme values in the features",
        )
