"""Labels bought at random: what every other strategy has to beat."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from labelbench_ray.strategies.base import Needs, PoolShape, SelectionRequest
from labelbench_ray.types import Ids


@dataclass(frozen=True, kw_only=True)
class RandomSampling:
    """Buy uniformly at random without replacement. Reads nothing of the model."""

    name: ClassVar[str] = "random"
    needs: ClassVar[Needs] = Needs()

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Distinct ids for sale, in random order."""
        return rng.choice(request.candidate_ids(), request.labels_to_buy, replace=False)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: the ids for sale, a copy of them and their order."""
        return 24 * shape.num_rows
