"""FreeMatch (Wang et al., 2023): thresholds that rise with the model's certainty, and a loss for fair shares."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.trainers.algorithms.base import Batch, State, StrongViews, Targets, follow, probabilities
from labelbench_ray.trainers.checks import check_numbers, check_share

if TYPE_CHECKING:
    import torch

HIGHEST_THRESHOLD = 0.95  # USB's bound where `clip_thresh` is set
LEAST_PROBABILITY = 1e-12  # under the logarithm, as in USB


@dataclass(frozen=True, kw_only=True)
class FreeMatch(StrongViews):
    """FixMatch with thresholds read off the batches themselves, and a loss on the shares of classes in a batch.

    A row counts where ``max q >= tau * p_c / max p`` for its class c (equations 5 to 8): tau follows the mean
    certainty, p the mean probability of each class, by moving averages that start at 1 / C and have seen the batch.

    ``batch_loss`` is the fairness term ``sum_c a_c log b_c`` (equations 9 to 11): a is p over the moving histogram of
    weak classes, b the mean probability of the strong views that count over the histogram of their classes, both scaled
    to sum 1. The sign is the paper's and USB's, so that it drives b away from a, not towards it (USB issue 182).

    Departures: the fairness term stands within ``ulb_loss_ratio``, in USB beside it (the same at the published 1.0).
    USB's quantile in place of the mean certainty is left out.
    """

    name: ClassVar[str] = "freematch"
    has_batch_loss: ClassVar[bool] = True

    ema_p: float = 0.999
    """Decay of the moving averages."""
    ent_loss_ratio: float = 0.01
    """Weight of the fairness term; LabelBench publishes 0.001."""
    clip_thresh: bool = False
    """Keep tau at 0.95 or below."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_share(where, "ema_p", self.ema_p)
        check_numbers(where, positive={}, not_negative={"ent_loss_ratio": self.ent_loss_ratio})

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """``threshold`` (tau), ``mean_C`` (p) and ``histogram_C`` (h), all at 1 / C."""
        import torch

        share_C = torch.full((num_classes,), 1.0 / num_classes, device=device)
        return {"threshold": share_C[0].clone(), "mean_C": share_C, "histogram_C": share_C.clone()}

    def targets(self, batch: Batch, state: State) -> Targets:
        """The averages see the batch, then thresholds are read off them."""
        probs_UC = probabilities(batch.logits_UC)
        certainty_U, labels_U = probs_UC.max(1)
        follow(state["threshold"], certainty_U.mean(), self.ema_p)
        if self.clip_thresh:
            state["threshold"].clamp_(max=HIGHEST_THRESHOLD)
        follow(state["mean_C"], probs_UC.mean(0), self.ema_p)
        follow(state["histogram_C"], one_hot(labels_U, probs_UC).mean(0), self.ema_p)
        thresholds_C = state["threshold"] * state["mean_C"] / state["mean_C"].max()
        return Targets(labels_U, (certainty_U >= thresholds_C[labels_U]).float())

    def strong_sums(self, logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor":
        """(2, C) probabilities, with gradients, and predicted classes, summed over the strong views that count."""
        import torch

        probs_UC = probabilities(logits_UC.float())
        classes_UC = one_hot(probs_UC.detach().argmax(1), probs_UC)
        return torch.stack([targets.weight_U @ probs_UC, targets.weight_U @ classes_UC])

    def batch_loss(self, sums: "torch.Tensor", state: State) -> "torch.Tensor":
        """The fairness term times its weight; 0 where no row counts."""
        model_C = sum_to_one(over_histogram(state["mean_C"], state["histogram_C"]))
        batch_C = sum_to_one(over_histogram(sums[0], sums[1]))
        loss = (model_C * (batch_C + LEAST_PROBABILITY).log()).sum()
        return self.ent_loss_ratio * loss * (sums[1].sum() > 0)


def one_hot(labels_U: "torch.Tensor", like_UC: "torch.Tensor") -> "torch.Tensor":
    """(U, C) zeros with a one in the column of each row's class."""
    import torch

    return torch.zeros_like(like_UC).scatter(1, labels_U[:, None], 1.0)


def over_histogram(values_C: "torch.Tensor", histogram_C: "torch.Tensor") -> "torch.Tensor":
    """(C,) values divided by the classes' frequency; 0 for a class that does not occur."""
    occurs_C = histogram_C > 0
    return values_C * occurs_C / histogram_C.where(occurs_C, histogram_C.new_ones(()))


def sum_to_one(values_C: "torch.Tensor") -> "torch.Tensor":
    """(C,) values over their sum; zeros stay zeros."""
    return values_C / values_C.sum().clamp(min=LEAST_PROBABILITY)
