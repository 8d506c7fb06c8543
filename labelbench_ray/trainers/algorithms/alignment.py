"""Distribution alignment (Berthelot et al., 2020): predictions are rescaled to have the classes' wanted shares."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LEAST_SHARE = 1e-6  # added to both shares, in ReMixMatch, AdaMatch and USB alike: a class never predicted stays finite


def align(probs_UC: "torch.Tensor", wanted_C: "torch.Tensor", predicted_C: "torch.Tensor") -> "torch.Tensor":
    """(U, C) probabilities times ``wanted / predicted`` of their class, each row summing to 1 again."""
    scaled_UC = probs_UC * ((wanted_C + LEAST_SHARE) / (predicted_C + LEAST_SHARE))
    return scaled_UC / scaled_UC.sum(1, keepdim=True)
