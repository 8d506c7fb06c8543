"""Pseudo-Label (Lee, 2013): the model's own confident classes are taken for labels."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelbench_ray.trainers.algorithms.base import Batch, SemiSupervised, State, Targets, certainty, check_cutoff
from labelbench_ray.trainers.algorithms.warm_up import check_warm_up, ramp


@dataclass(frozen=True, kw_only=True)
class PseudoLabel(SemiSupervised):
    """The class a row's weak view is most likely of is what that view is trained on, where ``max q >= p_cutoff``.

    The weight rises from 0 (equation 16), here in a straight line as in USB. Lee uses every row; the threshold is USB's
    and LabelBench's. LabelBench averages over the confident rows alone (NaN where there are none) and uses only as many
    unlabelled rows as there are labelled ones, the last of the batch whatever ``uratio`` is; here every confident row
    counts, over the size of the batch.
    """

    name: ClassVar[str] = "pseudolabel"
    trained_view: ClassVar[Literal["weak", "strong"]] = "weak"
    num_strong_views: ClassVar[int] = 0

    p_cutoff: float = 0.95
    ulb_warm_up: int | None = None
    """Steps in which the weight of the unlabelled loss rises; None: the first 0.4 of the training (USB)."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_cutoff(where, self.p_cutoff)
        check_warm_up(where, self.ulb_warm_up)

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """Rises from 0 to ``ulb_loss_ratio``."""
        return self.ulb_loss_ratio * ramp(step, steps, self.ulb_warm_up)

    def targets(self, batch: Batch, state: State) -> Targets:
        """Classes of the rows at or above the threshold."""
        certainty_U, labels_U = certainty(batch.logits_UC)
        return Targets(labels_U, (certainty_U >= self.p_cutoff).float())
