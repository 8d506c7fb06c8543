"""What a row's label tells of the labels of other rows, when the model is one of S draws (Bickford Smith et al., 2023).

Under draw s a row has label y with probability p_s(y), and a target row label y* with q_s(y*), independently. So

    I(y; y*) = H(mean_s p_s) - sum_y* q(y*) H(sum_s u_s p_s),   q = mean_s q_s,   u_s = q_s(y*) / sum_s q_s(y*):

how much surer of a row one is on average once a target's label is known. An outcome is a target with a label it may
have. With many classes outcomes are drawn by their probability; then the cost grows with the classes, not their square.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.joint_information import expected_entropy
from labelbench_ray.kernels.posterior import Draws, entropy, opinions
from labelbench_ray.types import Floats


class Outcomes(NamedTuple):
    """O targets with a label each: how probable that is, and how likely every draw is then."""

    chances_O: NDArray[np.float64]
    likelihoods_OS: NDArray[np.float64]


def outcomes_of(targets_SMC: Floats, most: int, rng: np.random.Generator) -> Outcomes:
    """All outcomes of M targets, told by their probabilities under each draw; ``most`` drawn ones if there are more."""
    num_draws, num_targets, _ = targets_SMC.shape
    chances_MC, said_OS = targets_SMC.mean(axis=0), targets_SMC.reshape(num_draws, -1).T
    chances_O = chances_MC.ravel() / num_targets
    if len(chances_O) > most:
        drawn = rng.choice(len(chances_O), most, p=chances_O / chances_O.sum())
        chances_O, said_OS = np.full(most, 1 / most), said_OS[drawn]
    sums_O1 = said_OS.sum(axis=1, keepdims=True)
    return Outcomes(chances_O, said_OS / np.where(sums_O1 > 0, sums_O1, 1))


def predictive_information(probs_TC: Floats, embeddings_TD: Floats, draws: Draws, outcomes: Outcomes) -> Floats:
    """(T,) mean over targets of I(y; y*), in nats."""
    said_STC = torch.cat(list(opinions(probs_TC, embeddings_TD, draws, "multi_class")), dim=1).transpose(0, 1)
    chances_O, likelihoods_OS = map(torch.tensor, outcomes)  # copies: what came from another process is read-only
    # Draws weigh as the outcomes have it on average, which is alike only if all outcomes are there: never below 0.
    mean_TC = torch.einsum("s,stc->tc", chances_O @ likelihoods_OS, said_STC)
    unsure_T = expected_entropy(said_STC, chances_O, likelihoods_OS)
    told: Floats = (entropy(mean_TC, "multi_class") - unsure_T).clamp_min_(0).numpy()
    return told
