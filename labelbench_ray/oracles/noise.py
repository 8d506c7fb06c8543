"""Annotators that err."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from labelbench_ray.errors import SpecError
from labelbench_ray.types import Labels


@dataclass(frozen=True, kw_only=True)
class UniformNoise:
    """With probability ``rate`` an answer is another class, all others equally likely.

    Drawn once per trial from the trial's seed, for every example: asking twice gives one answer, and seeds differ
    (LabelBench's published noise was the same in every trial).
    """

    name: ClassVar[str] = "uniform_noise"
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise SpecError("oracle uniform_noise", f"`rate` must lie in [0, 1], got {self.rate}")

    def answers(self, truth_N: Labels, num_classes: int, rng: np.random.Generator) -> Labels:
        """(N,) noisy labels."""
        wrong_N = rng.random(len(truth_N)) < self.rate
        shift_N = rng.integers(1, max(num_classes, 2), len(truth_N))
        return np.where(wrong_N, (truth_N + shift_N) % num_classes, truth_N)
