"""UDA (Xie et al., 2020): the strong view is to say what the weak one says, sharpened."""

from dataclasses import dataclass
from typing import ClassVar

from labelbench_ray.trainers.algorithms.base import Batch, State, StrongViews, Targets, check_cutoff, probabilities
from labelbench_ray.trainers.algorithms.warm_up import check_warm_up, ramp
from labelbench_ray.trainers.checks import check_numbers


@dataclass(frozen=True, kw_only=True)
class UDA(StrongViews):
    """The strong view is drawn to ``softmax(logits / temperature)`` of the weak one where ``max q >= p_cutoff``.

    The paper's loss is the divergence of the strong view from the sharpened weak one; the cross entropy taken here
    differs from it by the entropy of the targets, which has no gradient. Its training signal annealing of the labelled
    loss is left out, as in LabelBench, whose ramp of the unlabelled weight is here instead. USB names a temperature and
    does not apply it: it trains on q itself (``temperature: 1``). LabelBench averages over the confident rows alone
    (NaN where there are none), here over the whole batch.
    """

    name: ClassVar[str] = "uda"

    p_cutoff: float = 0.8
    temperature: float = 0.4
    """Below 1 sharpens, above 1 flattens."""
    ulb_warm_up: int | None = None
    """Steps in which the weight of the unlabelled loss rises; None: the first 0.4 of the training."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_cutoff(where, self.p_cutoff)
        check_numbers(where, positive={"temperature": self.temperature}, not_negative={})
        check_warm_up(where, self.ulb_warm_up)

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """Rises from 0 to ``ulb_loss_ratio``."""
        return self.ulb_loss_ratio * ramp(step, steps, self.ulb_warm_up)

    def targets(self, batch: Batch, state: State) -> Targets:
        """Sharpened distributions of the rows at or above the threshold, which applies to q as it is."""
        certainty_U = probabilities(batch.logits_UC).amax(1)
        return Targets(probabilities(batch.logits_UC / self.temperature), (certainty_U >= self.p_cutoff).float())
