"""Draw rows without replacement, in proportion to a power of their score, in one pass over a pool in any shards.

The draw is a race: row i arrives after a time E_i / score_i^beta with E_i exponential, and those that arrive first are
drawn (Efraimidis & Spirakis, 2006). It is the Gumbel top-B of beta log score + G_i, with G_i = -log E_i. The number
E_i depends on the race's seed and the row's id alone.
"""

from typing import NamedTuple

import numpy as np

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.keyed_draws import keyed_uniforms
from labelbench_ray.types import Floats, Ids

FLOOR = 1e-12
"""Least score: rows that have none stay in the race, so that a batch can always be filled."""

LAST_DIGITS = 2.0**-32


class Race(NamedTuple):
    """One draw."""

    beta: float
    seed: int

    def log_arrivals(self, scores_B: Floats, ids_B: Ids) -> Floats:
        """(B,) logarithms of the times at which these rows arrive; B is at least 1."""
        first_B, second_B = keyed_uniforms(self.seed, "race", ids_B, 2).T
        uniforms_B = first_B + (second_B + LAST_DIGITS / 2) * LAST_DIGITS  # above 0, fine where times are short
        exponentials_B = -np.log1p(-np.minimum(uniforms_B, 1 - 2.0**-53))
        arrivals_B: Floats = np.log(exponentials_B) - self.beta * np.log(np.maximum(scores_B, FLOOR))
        return arrivals_B


def check_beta(name: str, beta: float) -> None:
    """Raise SpecError for what is no exponent."""
    if not 0 <= beta < np.inf:
        raise SpecError(name, f"`beta` must be 0 (a uniform draw) or above, and finite, got {beta}")
