"""The loss on bought labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class LabeledLoss:
    """Cross entropy of logits and bought labels, one number per row, so that workers can share a batch."""

    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes (Szegedy et al., 2016)."""

    def rows(self, logits_BC: "torch.Tensor", target_B: "torch.Tensor") -> "torch.Tensor":
        """(B,) loss of each row, in float32 whatever the logits are. Targets are classes, or (B, C) distributions."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits_BC.float(), target_B, reduction="none", label_smoothing=self.label_smoothing)
