"""Losses on logits with a small explicit state: supervised, and the semi-supervised ones.

An algorithm knows neither model nor data. A training loop gives it logits and keeps its ``State``; stored-feature heads
and end-to-end training share it. Losses come one per row, so that workers with unequal shares of a batch can average
over the whole batch, and a masked row counts as zero: an empty mask gives a loss of 0, never NaN.

The state is a dictionary of tensors, changed in place in O(batch). It depends only on (ids, pseudo labels, confident)
of the whole batch, so workers that gather those three stay equal.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from labelbench_ray.errors import SpecError

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


class UnlabeledLoss(NamedTuple):
    """What the unlabelled part of a batch gives, a row per example."""

    loss_B: "torch.Tensor"
    """Zero where the row is masked; average it over all rows."""
    pseudo_labels_B: "torch.Tensor"
    confident_B: "torch.Tensor"
    """True where the pseudo label is to be remembered."""
    used_B: "torch.Tensor"
    """True where the row counts in the loss."""


class Algorithm(Protocol):
    """A frozen dataclass whose fields are the loss's parameters."""

    name: ClassVar[str]

    @property
    def uratio(self) -> int:
        """Unlabelled examples for each labelled one in a batch; 0 where none are used."""
        ...

    @property
    def num_weak_views(self) -> int:
        """How many stored weak views it draws from; 0 means the clean one."""
        ...

    @property
    def num_strong_views(self) -> int:
        """How many stored strong views it draws from."""
        ...

    def unlabeled_weight(self, step: int) -> float:
        """Weight of the unlabelled loss at a step (0, 1, ...)."""
        ...

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """The state before the first step, for a pool of ``num_rows`` with ``num_unlabeled`` rows used unlabelled."""
        ...

    def labeled_loss(self, logits_BC: "torch.Tensor", labels_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) loss of each labelled row."""
        ...

    def unlabeled_loss(
        self, logits_weak_BC: "torch.Tensor", logits_strong_BC: "torch.Tensor", state: State
    ) -> UnlabeledLoss:
        """Loss of each unlabelled row, from the state before this batch."""
        ...

    def update(
        self, state: State, ids_B: "torch.Tensor", pseudo_labels_B: "torch.Tensor", confident_B: "torch.Tensor"
    ) -> None:
        """Remember a batch of distinct ids. O(B)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Cross entropy on the labels bought, nothing else."""

    name: ClassVar[str] = "supervised"
    uratio: ClassVar[int] = 0
    num_weak_views: ClassVar[int] = 0
    num_strong_views: ClassVar[int] = 0

    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes (Szegedy et al., 2016)."""

    def __post_init__(self) -> None:
        _check_share("label_smoothing", self.label_smoothing)

    def unlabeled_weight(self, step: int) -> float:
        """None."""
        return 0.0

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """Nothing to remember."""
        return {}

    def labeled_loss(self, logits_BC: "torch.Tensor", labels_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) cross entropy."""
        return cross_entropy_of_rows(logits_BC, labels_B, self.label_smoothing)

    def unlabeled_loss(
        self, logits_weak_BC: "torch.Tensor", logits_strong_BC: "torch.Tensor", state: State
    ) -> UnlabeledLoss:
        """Uses no row."""
        import torch

        none_B = torch.zeros(len(logits_weak_BC), dtype=torch.bool, device=logits_weak_BC.device)
        return UnlabeledLoss(logits_strong_BC.sum(1) * 0.0, logits_weak_BC.argmax(1), none_B, none_B)

    def update(
        self, state: State, ids_B: "torch.Tensor", pseudo_labels_B: "torch.Tensor", confident_B: "torch.Tensor"
    ) -> None:
        """Nothing to remember."""


@dataclass(frozen=True, kw_only=True)
class FlexMatch:
    """Pseudo labels of a weak view train a strong one, with a threshold per class that follows how well it is learnt.

    A row with weak-view probabilities q and pseudo label c counts where ``max q >= tau_c`` (FlexMatch, Zhang et al.,
    2021, equations 6 to 11): ``tau_c = p_cutoff * beta_c / (2 - beta_c)`` and
    ``beta_c = sigma_c / max(max sigma, never used)``, where sigma_c counts the unlabelled examples whose last confident
    (``max q >= p_cutoff``) pseudo label is c and "never used" those that never had one. The latter is the warm-up:
    without it sigma of a few examples would set the
    thresholds.
    """

    name: ClassVar[str] = "flexmatch"

    p_cutoff: float = 0.95
    uratio: int = 5
    ulb_loss_ratio: float = 1.0
    label_smoothing: float = 0.0
    threshold_warmup: bool = True
    num_weak_views: int = 0
    num_strong_views: int = 2

    def __post_init__(self) -> None:
        if not 0.0 < self.p_cutoff <= 1.0:
            raise SpecError("algorithm flexmatch", f"`p_cutoff` must lie in (0, 1], got {self.p_cutoff}")
        if self.uratio < 1:
            raise SpecError("algorithm flexmatch", f"`uratio` must be at least 1, got {self.uratio}")
        if not self.ulb_loss_ratio >= 0:
            raise SpecError("algorithm flexmatch", f"`ulb_loss_ratio` must not be negative, got {self.ulb_loss_ratio}")
        if self.num_weak_views < 0 or self.num_strong_views < 1:
            raise SpecError(
                "algorithm flexmatch",
                "`num_weak_views` must be 0 or more and `num_strong_views` 1 or more, "
                f"got {self.num_weak_views} and {self.num_strong_views}",
            )
        _check_share("label_smoothing", self.label_smoothing)

    def unlabeled_weight(self, step: int) -> float:
        """The same at every step."""
        return self.ulb_loss_ratio

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """``last_label_N`` (-1: never confident) and ``counts``: how many never were, then sigma of each class."""
        import torch

        counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=device)
        counts[0] = num_unlabeled
        return {"last_label_N": torch.full((num_rows,), -1, dtype=torch.int64, device=device), "counts": counts}

    def labeled_loss(self, logits_BC: "torch.Tensor", labels_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) cross entropy."""
        return cross_entropy_of_rows(logits_BC, labels_B, self.label_smoothing)

    def unlabeled_loss(
        self, logits_weak_BC: "torch.Tensor", logits_strong_BC: "torch.Tensor", state: State
    ) -> UnlabeledLoss:
        """Cross entropy of the strong view and the weak view's pseudo label, where it passes its class's threshold."""
        thresholds_C = flexmatch_thresholds(state["counts"], self.p_cutoff, self.threshold_warmup)
        certainty_B, pseudo_labels_B = logits_weak_BC.detach().float().softmax(1).max(1)
        used_B = certainty_B >= thresholds_C[pseudo_labels_B]
        loss_B = cross_entropy_of_rows(logits_strong_BC, pseudo_labels_B, 0.0) * used_B
        return UnlabeledLoss(loss_B, pseudo_labels_B, certainty_B >= self.p_cutoff, used_B)

    def update(
        self, state: State, ids_B: "torch.Tensor", pseudo_labels_B: "torch.Tensor", confident_B: "torch.Tensor"
    ) -> None:
        """Move each confident example from its last class (or "never") to its new one."""
        import torch

        old_B = state["last_label_N"][ids_B]
        new_B = torch.where(confident_B, pseudo_labels_B, old_B)
        one_B = torch.ones_like(old_B)
        state["counts"].index_add_(0, old_B + 1, -one_B)
        state["counts"].index_add_(0, new_B + 1, one_B)
        state["last_label_N"][ids_B] = new_B


def cross_entropy_of_rows(
    logits_BC: "torch.Tensor", labels_B: "torch.Tensor", label_smoothing: float
) -> "torch.Tensor":
    """(B,) cross entropy of each row, in float32 whatever the logits are."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits_BC.float(), labels_B, reduction="none", label_smoothing=label_smoothing)


def flexmatch_thresholds(counts: "torch.Tensor", p_cutoff: float, warmup: bool) -> "torch.Tensor":
    """(C,) thresholds tau_c from (C + 1,) counts, of which the first is how many examples were never confident."""
    sigma_C = counts[1:]
    most = (counts if warmup else sigma_C).max().clamp(min=1)
    beta_C = sigma_C.float() / most.float()
    return p_cutoff * beta_C / (2.0 - beta_C)


def _check_share(field: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise SpecError("algorithm", f"`{field}` must lie in [0, 1), got {value}")
