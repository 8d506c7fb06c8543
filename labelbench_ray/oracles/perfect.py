"""Annotators that never err."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from labelbench_ray.types import Labels


@dataclass(frozen=True, kw_only=True)
class Perfect:
    """Every answer is the truth."""

    name: ClassVar[str] = "perfect"

    def answers(self, truth_N: Labels, num_classes: int, rng: np.random.Generator) -> Labels:
        """(N,) the truth."""
        return truth_N
