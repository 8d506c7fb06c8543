"""The loss on bought labels: one number per row, so that workers can share a batch.

Both losses are linear in the target, so a target mixed of two (see ``mixing.py``) gives the two losses mixed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from labelbench_ray.types import Floats, Labels

if TYPE_CHECKING:
    import torch

ClassWeights = Literal["none", "balanced"] | tuple[float, ...]
"""``balanced`` follows the labels bought; a list has a weight for each class."""
Costs = tuple[tuple[float, ...], ...]
"""C rows of C: what it costs to say class j (column) where class i (row) is true."""


class RowLoss(Protocol):
    """What a training loop asks of the loss on bought labels."""

    @property
    def is_cross_entropy(self) -> bool:
        """Whether it is plain cross entropy, as that of unlabelled rows is."""
        ...

    def rows(self, logits_BC: "torch.Tensor", target_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) loss of each row in float32; targets are labels as they were bought, or distributions (B, C)."""
        ...

    def rows_with_gradient(
        self, logits_BC: "torch.Tensor", target_B: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """The same and (B, C) the gradient of each row's loss by its logits; keeps no graph."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class LabeledLoss:
    """Cross entropy, for one class per row.

    A row of class y gives ``weights[y]`` times its cross entropy, plus its expected cost ``sum_j costs[y, j] p_j``
    (the regulariser of Galdran et al., 2020, whose factor is in the costs).
    """

    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes (Szegedy et al., 2016)."""
    weights_C: "torch.Tensor | None" = None
    costs_CC: "torch.Tensor | None" = None

    @property
    def is_cross_entropy(self) -> bool:
        """Whether no option changes it."""
        return not self.label_smoothing and self.weights_C is None and self.costs_CC is None

    def rows(self, logits_BC: "torch.Tensor", target_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) loss of each row, in float32 whatever the logits are. Targets are classes, or (B, C) distributions."""
        logits_BC = logits_BC.float()
        loss_B = self._cross_entropy(logits_BC, target_B)
        if self.costs_CC is None:
            return loss_B
        costs_BC = self.costs_CC[target_B] if target_B.ndim == 1 else target_B @ self.costs_CC
        return loss_B + (costs_BC * logits_BC.softmax(1)).sum(1)

    def rows_with_gradient(
        self, logits_BC: "torch.Tensor", target_B: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """The same and (B, C) the gradient of each row's loss by its logits; keeps no graph."""
        if self.is_cross_entropy:
            return cross_entropy_with_gradient(logits_BC, target_B)
        return by_autograd(self.rows, logits_BC, target_B)

    def _cross_entropy(self, logits_BC: "torch.Tensor", target_B: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import cross_entropy

        if target_B.ndim == 1:
            loss_B = cross_entropy(logits_BC, target_B, reduction="none", label_smoothing=self.label_smoothing)
            return loss_B if self.weights_C is None else loss_B * self.weights_C[target_B]
        weighted_BC = target_B if self.weights_C is None else target_B * self.weights_C
        even_B1 = weighted_BC.mean(1, keepdim=True)
        smooth_BC = weighted_BC + self.label_smoothing * (even_B1 - weighted_BC)
        return -(smooth_BC * logits_BC.log_softmax(1)).sum(1)


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiLabelLoss:
    """Binary cross entropy of every label of a row, averaged over the labels; probabilities are sigmoids.

    A label that is there counts ``weights[label]`` times, one that is not counts once. ``label_smoothing`` moves
    targets 0 and 1 by half of it towards each other.
    """

    is_cross_entropy: ClassVar[bool] = False

    label_smoothing: float = 0.0
    weights_C: "torch.Tensor | None" = None

    def rows(self, logits_BC: "torch.Tensor", target_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) loss of each row, in float32 whatever the logits are. Targets are (B, C) in [0, 1]."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        target_BC = target_B.float() * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        loss_BC = binary_cross_entropy_with_logits(
            logits_BC.float(), target_BC, reduction="none", pos_weight=self.weights_C
        )
        return loss_BC.mean(1)

    def rows_with_gradient(
        self, logits_BC: "torch.Tensor", target_B: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """The same and (B, C) the gradient of each row's loss by its logits; keeps no graph."""
        return by_autograd(self.rows, logits_BC, target_B)


def cross_entropy_with_gradient(
    logits_BC: "torch.Tensor", target_B: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(B,) cross entropies and (B, C) their gradients by the logits, ``softmax - target``, in closed form.

    Several times as fast as autograd on a few classes. It works class by class in memory, whatever the logits do: a
    softmax over a few numbers that lie beside each other takes ten times as long.
    """
    log_probs_CB = logits_BC.T.log_softmax(0)
    gradient_CB = log_probs_CB.exp()
    if target_B.ndim == 2:
        target_CB = target_B.T
        gradient_CB *= target_CB.sum(0)
        return -(target_CB * log_probs_CB).sum(0), gradient_CB.sub_(target_CB).T
    of_target_1B = target_B[None]
    gradient_CB.scatter_add_(0, of_target_1B, gradient_CB.new_full((1, 1), -1.0).expand_as(of_target_1B))
    return log_probs_CB.gather(0, of_target_1B)[0].neg_(), gradient_CB.T


def by_autograd(
    loss_of_rows: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]",
    logits_BC: "torch.Tensor",
    target_B: "torch.Tensor",
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(B,) losses and (B, C) their gradients by the logits, for any loss that takes each row by itself."""
    import torch

    leaf_BC = logits_BC.detach().requires_grad_()
    with torch.enable_grad():
        loss_B = loss_of_rows(leaf_BC, target_B)
        (gradient_BC,) = torch.autograd.grad(loss_B.sum(), leaf_BC)
    return loss_B.detach(), gradient_BC


def class_weights_of(asked: ClassWeights, labels_L: Labels, num_classes: int) -> Floats | None:
    """(C,) weights, or None where all count alike.

    ``balanced``: every class bought has the same total weight and the mean over the labels is 1 (King and Zeng, 2001);
    for (L, C) zeros and ones: the negatives of a label for each positive one. What was never bought has weight 1.
    """
    if asked == "none":
        return None
    if asked != "balanced":
        return np.array(asked, np.float32)
    if labels_L.ndim == 2:
        counts_C, others_C = labels_L.sum(0), (1 - labels_L).sum(0)
    else:
        counts_C = np.bincount(labels_L, minlength=num_classes)
        others_C = np.full(num_classes, len(labels_L) / np.count_nonzero(counts_C))
    return np.where(counts_C > 0, others_C / np.maximum(counts_C, 1), 1.0).astype(np.float32)


def cost_problem(costs: Sequence[Sequence[float]]) -> str | None:
    """What is wrong with a cost matrix, in words; None if nothing is."""
    matrix = [list(row) for row in costs]
    if not matrix or any(len(row) != len(matrix) for row in matrix):
        return f"needs as many columns as rows, got rows of {[len(row) for row in matrix]}"
    if any(not 0.0 <= cost < float("inf") for row in matrix for cost in row):
        return "holds a cost that is negative or not finite"
    if any(row[number] != 0.0 for number, row in enumerate(matrix)):
        return "has a cost on the diagonal, where the prediction is right"
    return None
