"""What a row's label tells of the labels of other rows, when the model is one of S draws (Bickford Smith et al., 2023).

Under draw s a row has label c with probability p_s(c), and a target row label d with q_s(d), independently. Without
knowing s both have the joint distribution (1/S) sum_s p_s(c) q_s(d), and the information of one on the other is
H(y) + H(y*) - H(y, y*). The joint tables of many rows and targets are one product over the draws.
"""

from collections.abc import Iterator

import torch

from labelbench_ray.kernels.posterior import Draws, entropy, opinions
from labelbench_ray.types import Floats

BLOCK_BYTES = 8 << 20
"""Of the joint tables that are made at a time."""


def predictive_information(probs_TC: Floats, embeddings_TD: Floats, draws: Draws, targets_SMC: Floats) -> Floats:
    """(T,) mean over M targets of I(y; y*), in nats. ``targets_SMC``: probabilities of the targets by each draw."""
    said_TSC = torch.cat(list(opinions(probs_TC, embeddings_TD, draws, "multi_class")), dim=1)
    targets = torch.from_numpy(targets_SMC)
    alone_T = entropy(said_TSC.mean(dim=1), "multi_class")
    joint_T = torch.zeros_like(alone_T)
    tables = max(1, BLOCK_BYTES // (8 * targets.shape[2] ** 2))
    for first in range(0, targets.shape[1], tables):
        part_SMC = targets[:, first : first + tables]
        for rows, part_TSC in _blocks(said_TSC, max(1, tables // part_SMC.shape[1])):
            joint_T[rows] += _joint_entropies(part_TSC, part_SMC).sum(dim=1)
    target = entropy(targets.mean(dim=0), "multi_class").mean()
    told: Floats = (alone_T + target - joint_T / targets.shape[1]).clamp_min_(0).numpy()
    return told


def _joint_entropies(said_TSC: torch.Tensor, targets_SMC: torch.Tensor) -> torch.Tensor:
    """(T, M) entropies of a row's and a target's label together."""
    num_rows, num_draws, num_classes = said_TSC.shape
    left = said_TSC.transpose(1, 2).reshape(-1, num_draws) / num_draws
    joint = (left @ targets_SMC.flatten(1)).view(num_rows, num_classes, -1, num_classes)
    return entropy(joint, "multi_class").sum(dim=1)


def _blocks(said_TSC: torch.Tensor, at_once: int) -> Iterator[tuple[slice, torch.Tensor]]:
    for first in range(0, len(said_TSC), at_once):
        yield slice(first, first + at_once), said_TSC[first : first + at_once]
