"""AdaMatch (Berthelot et al., 2022): the threshold and the classes' shares are those of the labelled rows."""

from dataclasses import dataclass
from typing import ClassVar

from labelbench_ray.trainers.algorithms.alignment import align
from labelbench_ray.trainers.algorithms.base import (
    Batch,
    State,
    StrongViews,
    Targets,
    check_cutoff,
    follow,
    probabilities,
)
from labelbench_ray.trainers.checks import check_share


@dataclass(frozen=True, kw_only=True)
class AdaMatch(StrongViews):
    """Pseudo labels of predictions aligned to the labelled rows', above a threshold relative to their certainty.

    q' is q times the labelled rows' mean prediction over the unlabelled rows', scaled to sum 1 (distribution
    alignment); both means are moving averages that have seen the batch. A row counts where max q' is at least
    ``p_cutoff`` times the labelled rows' mean certainty in the batch (relative confidence threshold), with the class q'
    is most likely of.

    The averages start with the first batch. They start at equal shares in the authors' code and, for labelled rows, in
    USB; a training of some hundred steps never leaves them there. As in USB, and unlike the paper: logits are not
    interpolated between normalisation with and without unlabelled rows (its statistics are frozen here), labels train
    one view, the weight of the unlabelled loss does not rise, and ``p_cutoff`` is 0.95 where the authors have 0.9.
    """

    name: ClassVar[str] = "adamatch"
    asks_labeled: ClassVar[bool] = True

    p_cutoff: float = 0.95
    """Share of the labelled rows' mean certainty from which a row counts."""
    ema_p: float = 0.999
    """Decay of the moving averages."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_cutoff(where, self.p_cutoff)
        check_share(where, "ema_p", self.ema_p)

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """Mean predictions of unlabelled (``predicted_C``) and labelled rows (``wanted_C``)."""
        import torch

        share_C = torch.full((num_classes,), 1.0 / num_classes, device=device)
        return {"predicted_C": share_C, "wanted_C": share_C.clone()}

    def targets(self, batch: Batch, state: State) -> Targets:
        """The averages see the batch, then its rows are aligned to them."""
        probs_UC, labeled_BC = probabilities(batch.logits_UC), probabilities(batch.labeled_logits_BC)
        first = batch.step == 0
        follow(state["predicted_C"], probs_UC.mean(0), self.ema_p, first=first)
        follow(state["wanted_C"], labeled_BC.mean(0), self.ema_p, first=first)
        certainty_U, labels_U = align(probs_UC, state["wanted_C"], state["predicted_C"]).max(1)
        threshold = self.p_cutoff * labeled_BC.amax(1).mean()
        return Targets(labels_U, (certainty_U >= threshold).float())
