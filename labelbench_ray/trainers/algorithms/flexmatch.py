"""FlexMatch (Zhang et al., 2021): a confidence threshold for each class that follows how well the class is learnt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.trainers.algorithms.base import Batch, State, StrongViews, Targets, certainty, check_cutoff

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class FlexMatch(StrongViews):
    """Pseudo labels of a weak view train a strong one, with a threshold per class that follows how well it is learnt.

    A row with weak-view probabilities q and pseudo label c counts where ``max q >= tau_c`` (equations 6 to 11):
    ``tau_c = p_cutoff * beta_c / (2 - beta_c)`` and ``beta_c = sigma_c / max(max sigma, never used)``, where sigma_c
    counts the unlabelled examples whose last confident (``max q >= p_cutoff``) pseudo label is c and "never used" those
    that never had one. The latter is the warm-up: without it sigma of a few examples would set the thresholds.

    Thresholds are those before the batch is counted, as in USB and LabelBench (the paper leaves the order open). Both
    recount the whole pool at every step; here the rows of the batch move from one class's count to another's. USB keeps
    its last thresholds while every example of the pool counts for one class; here they go on following the counts.
    """

    name: ClassVar[str] = "flexmatch"

    p_cutoff: float = 0.95
    """Certainty from which an example counts for its class, and the threshold of the class learnt best."""
    threshold_warmup: bool = True
    """Whether examples that were never confident hold the thresholds down."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_cutoff(where, self.p_cutoff)

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """``last_label_N`` (-1: never confident) and ``counts``: how many never were, then sigma of each class."""
        import torch

        counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=device)
        counts[0] = num_unlabeled
        return {"last_label_N": torch.full((num_rows,), -1, dtype=torch.int64, device=device), "counts": counts}

    def targets(self, batch: Batch, state: State) -> Targets:
        """Pseudo labels that pass their class's threshold as it was before this batch; then the batch is counted."""
        thresholds_C = flexmatch_thresholds(state["counts"], self.p_cutoff, self.threshold_warmup)
        certainty_U, labels_U = certainty(batch.logits_UC)
        used_U = certainty_U >= thresholds_C[labels_U]
        count_labels(state, batch.ids_U, labels_U, certainty_U >= self.p_cutoff)
        return Targets(labels_U, used_U.float())


def count_labels(state: State, ids_U: "torch.Tensor", labels_U: "torch.Tensor", confident_U: "torch.Tensor") -> None:
    """Move each confident example from its last class (or "never") to its new one. O(U)."""
    import torch

    old_U = state["last_label_N"][ids_U]
    new_U = torch.where(confident_U, labels_U, old_U)
    one_U = torch.ones_like(old_U)
    state["counts"].index_add_(0, old_U + 1, one_U, alpha=-1)
    state["counts"].index_add_(0, new_U + 1, one_U)
    state["last_label_N"][ids_U] = new_U


def flexmatch_thresholds(counts: "torch.Tensor", p_cutoff: float, warmup: bool) -> "torch.Tensor":
    """(C,) thresholds tau_c from (C + 1,) counts, of which the first is how many examples were never confident."""
    sigma_C = counts[1:]
    beta_C = sigma_C / (counts if warmup else sigma_C).amax().clamp(min=1)
    return p_cutoff * beta_C / (2.0 - beta_C)
