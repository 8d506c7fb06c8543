"""Mixup: a batch is mixed with itself in another order, inputs and targets alike (Zhang et al., 2018)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelbench_ray.types import Ids

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Mixing:
    """How one batch is mixed; every worker draws the same."""

    share: float
    """Of a row itself; the rest is its partner's."""
    partner_B: Ids
    """Positions in the batch."""

    def of(self, rows_B: "torch.Tensor") -> "torch.Tensor":
        """Rows of the whole batch (inputs, or targets as distributions), mixed."""
        import torch

        return torch.lerp(rows_B[torch.from_numpy(self.partner_B).to(rows_B.device)], rows_B, self.share)


def draw_mixing(alpha: float, num_rows: int, rng: np.random.Generator) -> Mixing:
    """One share for the batch from Beta(alpha, alpha), and the order its partners come in."""
    return Mixing(float(rng.beta(alpha, alpha)), rng.permutation(num_rows))


def as_distributions(labels_B: "torch.Tensor", num_classes: int) -> "torch.Tensor":
    """(B, C) float32 targets of classes, or of zeros and ones as they are."""
    from torch.nn.functional import one_hot

    return (one_hot(labels_B, num_classes) if labels_B.ndim == 1 else labels_B).float()
