"""What a semi-supervised algorithm is: it turns the weak view of a batch into targets for the view that is trained.

An algorithm knows neither model nor data. A training loop gives it the logits of the whole batch of a step, on every
worker the same, and keeps its ``State``, which therefore is the same on every worker. It answers with a target and a
weight for each unlabelled row; the loop multiplies cross entropies by the weights and averages over the whole batch, so
that a masked row counts as zero and an empty mask gives a loss of 0, never NaN. Stored-feature heads and end-to-end
training share it.

The loss on bought labels is not its business (see ``losses.py``).
"""

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from labelbench_ray.errors import SpecError
from labelbench_ray.trainers.checks import check_numbers

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


class Batch(NamedTuple):
    """The whole batch of a step, without gradients, logits in float32."""

    ids_U: "torch.Tensor"
    """Pool ids of the unlabelled rows, distinct."""
    logits_UC: "torch.Tensor"
    """Of their weak views."""
    labeled_logits_BC: "torch.Tensor"
    """Of the labelled rows' weak views; they have no rows where the algorithm does not ask for them."""
    labels_B: "torch.Tensor"
    step: int
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
    asks_labeled: ClassVar[bool]
    """Whether ``targets`` reads the logits of labelled rows."""

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

    def strong_sums(self, logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor | None":
        """Sums over some rows of the trained view that ``batch_loss`` needs, with gradients; None where it has none."""
        ...

    def batch_loss(self, sums: "torch.Tensor", state: State) -> "torch.Tensor":
        """A loss of the batch as a whole, from ``strong_sums`` over all its rows; joins the unlabelled loss."""
        ...


class PseudoLabels:
    """What most algorithms share: a strong view trained, a constant weight, no loss of the batch as a whole."""

    trained_view: ClassVar[Literal["weak", "strong"]] = "strong"
    asks_labeled: ClassVar[bool] = False

    ulb_loss_ratio: float

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """The same at every step."""
        return self.ulb_loss_ratio

    def start(self, num_rows: int, num_unlabeled: int, num_classes: int, device: str) -> State:
        """Nothing to remember."""
        return {}

    def strong_sums(self, logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor | None":
        """None: the batch has no loss as a whole."""
        return None

    def batch_loss(self, sums: "torch.Tensor", state: State) -> "torch.Tensor":
        """Never called."""
        raise NotImplementedError


def loss_of_rows(logits_UC: "torch.Tensor", targets: Targets) -> "torch.Tensor":
    """(U,) cross entropy of each row and its target, times its weight; in float32 whatever the logits are."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits_UC.float(), targets.target_U, reduction="none") * targets.weight_U


def certainty(logits_UC: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """(U,) largest probability of each row and (U,) its class."""
    largest = logits_UC.softmax(1).max(1)
    return largest.values, largest.indices


def check_shared(where: str, algorithm: Algorithm, ulb_loss_ratio: float) -> None:
    """Raise SpecError for a field all algorithms have that is out of range."""
    if algorithm.uratio < 1:
        raise SpecError(where, f"`uratio` must be at least 1, got {algorithm.uratio}")
    check_numbers(where, positive={}, not_negative={"ulb_loss_ratio": ulb_loss_ratio})
    least = 1 if algorithm.trained_view == "strong" else 0
    if algorithm.num_weak_views < 0 or algorithm.num_strong_views < least:
        told = f"got {algorithm.num_weak_views} and {algorithm.num_strong_views}"
        raise SpecError(where, f"`num_weak_views` must be 0 or more and `num_strong_views` {least} or more, {told}")


def check_cutoff(where: str, p_cutoff: float) -> None:
    """Raise SpecError for a threshold that no probability can pass or that all pass."""
    if not 0.0 < p_cutoff <= 1.0:
        raise SpecError(where, f"`p_cutoff` must lie in (0, 1], got {p_cutoff}")
