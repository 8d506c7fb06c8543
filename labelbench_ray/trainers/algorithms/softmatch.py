"""SoftMatch (Chen et al., 2023): every row counts, the less the further its certainty is below the average."""

from dataclasses import dataclass
from typing import ClassVar

from labelbench_ray.trainers.algorithms.alignment import align
from labelbench_ray.trainers.algorithms.base import Batch, State, StrongViews, Targets, follow, probabilities
from labelbench_ray.trainers.checks import check_numbers, check_share

LEAST_VARIANCE = 1e-12  # of rows that are all equally certain


@dataclass(frozen=True, kw_only=True)
class SoftMatch(StrongViews):
    """Pseudo labels weighted by a Gaussian of their certainty, cut off at its mean (section 3.1).

    The weight is 1 from the mean upwards and ``exp(-n_sigma^2 (max q' - mean)^2 / (2 variance))`` below; mean and
    variance of max q' are moving averages that start at 1 / C and 1 and have seen the batch. q' is q aligned to equal
    shares of the classes (uniform alignment, section 3.2), for the weight alone: the label is what q is most likely of,
    as in USB, while LabelBench takes it from q'. LabelBench calls ``ema_p`` "ema".

    With ``dist_uniform: false`` q is aligned to the labelled rows' mean prediction instead; its average starts with the
    first batch, in USB at equal shares. The Gaussian for each class that USB names is left out: it cannot run there.
    """

    name: ClassVar[str] = "softmatch"

    ema_p: float = 0.999
    """Decay of the moving averages."""
    n_sigma: float = 2.0
    """How many times narrower than the certainties' spread the Gaussian is."""
    dist_uniform: bool = True
    """Align to equal shares of the classes rather than to the labelled rows' mean prediction."""

    @property
    def asks_labeled(self) -> bool:  # type: ignore[override]
        """Where their mean prediction is what is aligned to."""
        return not self.dist_uniform

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_share(where, "ema_p", self.ema_p)
        check_numbers(where, positive={"n_sigma": self.n_sigma}, not_negative={})

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """``mean`` and ``variance`` of the certainties, ``predicted_C`` and ``wanted_C`` shares of the classes."""
        import torch

        share_C = torch.full((num_classes,), 1.0 / num_classes, device=device)
        variance = torch.ones((), device=device)
        return {"mean": share_C[0].clone(), "variance": variance, "predicted_C": share_C, "wanted_C": share_C.clone()}

    def targets(self, batch: Batch, state: State) -> Targets:
        """The averages see the batch, then weights are read off them."""
        probs_UC = probabilities(batch.logits_UC)
        first = batch.step == 0
        follow(state["predicted_C"], probs_UC.mean(0), self.ema_p, first=first)
        if not self.dist_uniform:
            follow(state["wanted_C"], probabilities(batch.labeled_logits_BC).mean(0), self.ema_p, first=first)
        certainty_U = align(probs_UC, state["wanted_C"], state["predicted_C"]).amax(1)
        follow(state["mean"], certainty_U.mean(), self.ema_p)
        # One row has no variance of its own: 0 rather than 0 / 0.
        follow(state["variance"], certainty_U.var(correction=min(1, len(certainty_U) - 1)), self.ema_p)
        below_U = (certainty_U - state["mean"]).clamp(max=0.0)
        exponent_U = (self.n_sigma * below_U) ** 2 / (2.0 * state["variance"].clamp(min=LEAST_VARIANCE))
        return Targets(batch.logits_UC.argmax(1), (-exponent_U).exp())
