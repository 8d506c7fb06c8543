"""How far an embedding must be moved before a linear layer predicts another class."""

import numpy as np
import torch

from labelbench_ray.kernels.products import operand, product
from labelbench_ray.types import Floats, Labels, LastLayer


def logits(embeddings_TD: torch.Tensor, layer: LastLayer) -> torch.Tensor:
    """(T, C) float32, of an operand."""
    return product(embeddings_TD, operand(layer.weight_CD)).add_(operand(layer.bias_C))


def distance_to_flip(embeddings_TD: torch.Tensor, layer: LastLayer) -> torch.Tensor:
    """(T,) float64 distances along the gradient of the loss of the predicted class; infinite where it never flips.

    The gradient is W^T (p - onehot). Along a line logits are linear, so class c overtakes the predicted one after
    (their gap) / (difference of their slopes), if that is positive; the first class to do so decides.
    """
    logits_TC = logits(embeddings_TD, layer)
    predicted_T1 = logits_TC.argmax(dim=1, keepdim=True)
    gradients_TD = product(_residuals(logits_TC, predicted_T1), operand(layer.weight_CD.T))
    slopes_TC = product(gradients_TD, operand(layer.weight_CD)).double()
    slopes_TC /= gradients_TD.double().norm(dim=1, keepdim=True)  # 0 / 0 of a saturated row is no slope
    gaps_TC = logits_TC.double()
    gaps_TC = gaps_TC.gather(1, predicted_T1) - gaps_TC
    gains_TC = slopes_TC - slopes_TC.gather(1, predicted_T1)
    return torch.where(gains_TC > 0, gaps_TC / gains_TC, torch.inf).amin(dim=1)


def _residuals(logits_TC: torch.Tensor, predicted_T1: torch.Tensor) -> torch.Tensor:
    """(T, C) p - onehot, scaled: what the other classes have adds up to 1, however sure the prediction is."""
    others_TC = logits_TC.double().softmax(dim=1).scatter_(1, predicted_T1, 0)
    others_TC /= others_TC.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return others_TC.scatter_(1, predicted_T1, -others_TC.sum(dim=1, keepdim=True)).float()


def farthest(embeddings_TD: torch.Tensor, anchors_AD: Floats) -> torch.Tensor:
    """(T,) float64 distance to the farthest of some points."""
    anchors = operand(anchors_AD)
    squares_TA = -2 * product(embeddings_TD, anchors).double()
    squares_TA += embeddings_TD.double().square().sum(dim=1, keepdim=True) + anchors.double().square().sum(dim=1)
    return squares_TA.amax(dim=1).clamp_min(0).sqrt()


def class_means(vectors_LD: Floats, labels_L: Labels) -> Floats:
    """(A, D) mean of each class that has rows."""
    classes = np.unique(labels_L)
    return np.array([vectors_LD[labels_L == one].mean(axis=0, dtype=np.float64) for one in classes])
