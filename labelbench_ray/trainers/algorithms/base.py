"""What a semi-supervised algorithm is: it turns the weak view of a batch into targets for the view that is trained.

An algorithm knows neither model nor data. A training loop gives it the logits of the whole batch of a step, on every
worker the same, and keeps its ``State``, which therefore is the same on every worker. It answers with a target and a
weight for each unlabelled row; the loop multiplies cross entropies by the weights and averages over the whole batch, so
that a masked row counts as zero and an empty mask gives a loss of 0, never NaN. Stored-feature heads and end-to-end
training share it.

Nothing in ``targets``, ``strong_sums`` and ``batch_loss`` looks at a tensor's values from Python: on a GPU a step never
waits. Branches on the step are free, as it is a Python number.

The loss on bought labels is not its business (see ``losses.py``).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from labelbench_ray.errors import SpecError
from labelbench_ray.trainers.checks import check_numbers

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]
"""Tensors by name. A step changes their values in place: the tensors themselves stay, and are what a checkpoint has."""


class Batch(NamedTuple):
    """The whole batch of a step, without gradients, logits in float32."""

    ids_U: "torch.Tensor"
    """Pool ids of the unlabelled rows, distinct."""
    logits_UC: "torch.Tensor"
    """Of their weak views."""
    labeled_logits_BC: "torch.Tensor"
    """Of the labelled rows' weak views; they may have no rows where the algorithm does not ask for them."""
    labels_B: "torch.Tensor"
    """(B,) bought classes, or (B, C) distributions where labelled rows are mixed with one another."""
    step: int
    """0, 1, ..., ``steps - 1``; what a state starts from is set at 0."""
    steps: int
    """How many there will be."""


class Targets(NamedTuple):
    """What the trained view of each unlabelled row is to say, and how much the row counts."""

    target_U: "torch.Tensor"
    """(U,) classes in int64, or (U, C) distributions in float32."""
    weight_U: "torch.Tensor"
    """(U,) float32, not negative; 0 where the row is masked."""


class Algorithm(Protocol):
    """A frozen dataclass whose fields are the loss's parameters."""

    name: ClassVar[str]
    trained_view: ClassVar[Literal["weak", "strong"]]
    """Whose logits the unlabelled loss is taken of."""

    @property
    def asks_labeled(self) -> bool:
        """Whether ``targets`` reads the logits of labelled rows."""
        ...

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
        """How many stored strong views it draws from; 0 where ``trained_view`` is weak."""
        ...

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """Weight of the unlabelled loss at a step 0, 1, ..., ``steps - 1``."""
        ...

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """The state before the first step, for a pool of ``num_rows`` with ``num_unlabeled`` rows used unlabelled."""
        ...

    def targets(self, batch: Batch, state: State) -> Targets:
        """Targets of a batch. Changes the state in place, in O(rows of the batch x classes), never O(pool)."""
        ...

    @property
    def has_batch_loss(self) -> bool:
        """Whether the batch has a loss as a whole; without one ``strong_sums`` and ``batch_loss`` are not called."""
        ...

    def strong_sums(self, logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor":
        """Sums over some rows of the trained view that ``batch_loss`` needs, with gradients."""
        ...

    def batch_loss(self, sums: "torch.Tensor", state: State) -> "torch.Tensor":
        """A loss of the batch as a whole, from ``strong_sums`` over all its rows; joins the unlabelled loss."""
        ...


class Defaults:
    """What most algorithms share: they train a strong view, remember nothing and have no loss of the whole batch."""

    trained_view: ClassVar[Literal["weak", "strong"]] = "strong"
    asks_labeled: ClassVar[bool] = False
    has_batch_loss: ClassVar[bool] = False

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """Nothing to remember."""
        return {}

    def strong_sums(self, logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor":
        """Nothing."""
        return logits_UC.new_zeros(0)

    def batch_loss(self, sums: "torch.Tensor", state: State) -> "torch.Tensor":
        """Nothing."""
        return sums.new_zeros(())


@dataclass(frozen=True, kw_only=True)
class SemiSupervised(Defaults):
    """Fields of every algorithm that uses unlabelled rows."""

    name: ClassVar[str]

    uratio: int = 5
    """Unlabelled rows for each labelled one in a batch."""
    ulb_loss_ratio: float = 1.0
    """Weight of the unlabelled loss."""
    num_weak_views: int = 0
    """Stored weak views to draw from; 0 is the clean one."""

    def __post_init__(self) -> None:
        self.check(f"algorithm {self.name}")

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        if self.uratio < 1:
            raise SpecError(where, f"`uratio` must be at least 1, got {self.uratio}")
        counts = {"ulb_loss_ratio": self.ulb_loss_ratio, "num_weak_views": self.num_weak_views}
        check_numbers(where, positive={}, not_negative=counts)

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """The same at every step."""
        return self.ulb_loss_ratio


@dataclass(frozen=True, kw_only=True)
class StrongViews(SemiSupervised):
    """Fields of every algorithm that trains a strong view on what the weak one says."""

    num_strong_views: int = 2
    """Stored strong views to draw from."""

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        if self.num_strong_views < 1:
            raise SpecError(where, f"`num_strong_views` must be at least 1, got {self.num_strong_views}")


def loss_of_rows(logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor":
    """(U,) cross entropy of each row and its target, times its weight; in float32 whatever the logits are."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits_UC.float(), targets.target_U, reduction="none") * targets.weight_U


def certainty(logits_UC: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """(U,) largest probability of each row and (U,) its class."""
    return probabilities(logits_UC).max(1)


def probabilities(logits_UC: "torch.Tensor") -> "torch.Tensor":
    """(U, C) softmax of each row, class by class in memory: on a processor ten times as fast for a few classes."""
    return logits_UC.mT.softmax(-2).mT


def follow(average: "torch.Tensor", value: "torch.Tensor", decay: float, *, first: bool = False) -> None:
    """Move an exponential moving average in place; what has none yet starts from its ``first`` value."""
    kept = 0.0 if first else decay
    average.mul_(kept).add_(value, alpha=1.0 - kept)


def check_cutoff(where: str, p_cutoff: float) -> None:
    """Raise SpecError for a threshold that no probability can pass or that all pass."""
    if not 0.0 < p_cutoff <= 1.0:
        raise SpecError(where, f"`p_cutoff` must lie in (0, 1], got {p_cutoff}")
