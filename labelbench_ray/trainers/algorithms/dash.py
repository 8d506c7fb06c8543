"""Dash (Xu et al., 2021): rows count whose loss is below a threshold that falls as training goes on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.errors import SpecError
from labelbench_ray.trainers.algorithms.base import Batch, State, StrongViews, Targets, follow, probabilities
from labelbench_ray.trainers.checks import check_numbers, check_share

if TYPE_CHECKING:
    import torch

RECENT_BATCHES = 10  # of the warm-up, which the starting threshold is an average over
LEAST_LOGARITHM = -100.0  # a probability below e^-100 is zero in float32, and 0 log 0 is 0


@dataclass(frozen=True, kw_only=True)
class Dash(StrongViews):
    """The strong view is trained where the weak view's own loss is at most ``rho = c * rho_0 * gamma^-t``.

    After a warm-up on labels alone, rho_0 is the labelled rows' loss; t counts the ``num_decays`` equal parts of what
    is left of the training, and rho stops at ``rho_min``. While it falls, targets are q sharpened by ``temperature``
    and a row's loss is the cross entropy of q and its target. Once it has stopped they are classes, and a row counts
    where ``-log max q <= rho_min``: at 0.05, from a certainty of 0.951 on.

    Departures from USB: the warm-up is the first part of the training, not 2,048 steps before it, so that all
    algorithms take the same steps. rho_0 is the labelled batches' loss in the last steps of the warm-up; USB evaluates
    its evaluation split, whose labels are not for training. USB lowers rho every 10 of about a thousand epochs, and so
    about a hundred times.
    """

    name: ClassVar[str] = "dash"
    asks_labeled: ClassVar[bool] = True

    temperature: float = 0.5
    gamma: float = 1.27
    """What the threshold is divided by at each of its steps."""
    c: float = 1.0001
    rho_min: float = 0.05
    num_decays: int = 100
    warm_up_share: float = 0.1
    """Part of the training that uses labels alone; one step at least."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        positive = {"temperature": self.temperature, "c": self.c, "rho_min": self.rho_min}
        check_numbers(where, positive=positive | {"num_decays": self.num_decays}, not_negative={})
        if not 1.0 < self.gamma < float("inf"):
            raise SpecError(where, f"`gamma` must be above 1, got {self.gamma}")
        check_share(where, "warm_up_share", self.warm_up_share)

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """0 in the warm-up, then ``ulb_loss_ratio``."""
        return 0.0 if step < self.warm_up_steps(steps) else self.ulb_loss_ratio

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """``labeled_loss`` (rho_0)."""
        import torch

        return {"labeled_loss": torch.zeros((), device=device)}

    def targets(self, batch: Batch, state: State) -> Targets:
        """Sharpened distributions, or classes once the threshold has stopped falling, where the loss is below it."""
        import torch
        from torch.nn.functional import cross_entropy

        if batch.step < self.warm_up_steps(batch.steps):
            seen = min(batch.step, RECENT_BATCHES - 1)
            follow(state["labeled_loss"], cross_entropy(batch.labeled_logits_BC, batch.labels_B), seen / (seen + 1))
        threshold = self.threshold(batch.step, batch.steps, state["labeled_loss"])
        log_probs_UC = batch.logits_UC.log_softmax(1).clamp(min=LEAST_LOGARITHM)
        sharpened_UC = probabilities(batch.logits_UC / self.temperature)
        classes_UC = torch.zeros_like(sharpened_UC).scatter(1, batch.logits_UC.argmax(1, keepdim=True), 1.0)
        target_UC = torch.where(threshold > self.rho_min, sharpened_UC, classes_UC)
        loss_U = -(target_UC * log_probs_UC).sum(1)
        return Targets(target_UC, (loss_U <= threshold).float())

    def warm_up_steps(self, steps: int) -> int:
        """How many of the first steps use labels alone."""
        return max(1, round(self.warm_up_share * steps))

    def threshold(self, step: int, steps: int, labeled_loss: "torch.Tensor") -> "torch.Tensor":
        """Rho at a step."""
        first = self.warm_up_steps(steps)
        decays = max(0, step - first) * self.num_decays // max(1, steps - first)
        return (self.c * self.gamma**-decays * labeled_loss).clamp(min=self.rho_min)
