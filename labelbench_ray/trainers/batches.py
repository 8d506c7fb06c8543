"""Which rows are in the batch of a step: a function of the step alone, so that a restart goes on where it stopped."""

from collections.abc import Callable

import numpy as np

from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.types import Ids


class Batches:
    """Passes over ``ids`` in a fresh order each, cut into full batches; fewer ids than a batch are one batch of all.

    The last ``len(ids) % batch_size`` rows of a pass wait for another pass, whose order differs, so a batch never
    repeats an id. ``order_of(i)`` is the generator of pass i.
    """

    def __init__(self, ids: Ids, batch_size: int, order_of: Callable[[int], np.random.Generator]) -> None:
        self._ids = ids
        self._order_of = order_of
        self._pass = -1
        self._order = ids
        self.size = min(batch_size, len(ids))
        """Rows of every batch."""
        self.per_pass = len(ids) // self.size if self.size else 0
        """Batches of one pass."""

    def at(self, step: int) -> Ids:
        """(B,) ids of a step."""
        if self.size == 0:
            return self._ids
        number, place = divmod(step, self.per_pass)
        if number != self._pass:
            self._order = self._ids[self._order_of(number).permutation(len(self._ids))]
            self._pass = number
        return self._order[place * self.size : (place + 1) * self.size]


def num_steps(per_pass: int, epochs: int, min_steps: int) -> int:
    """Steps of a training: ``epochs`` passes, but ``min_steps`` at least, and one in any case."""
    return max(epochs * per_pass, min_steps, 1)


def unlabeled_ids(data: TrainingData) -> Ids:
    """Rows used without a label: neither bought nor excluded, ascending."""
    mask = np.ones(data.num_rows, bool)
    mask[data.ids_L] = False
    mask[data.excluded_ids] = False
    return np.flatnonzero(mask).astype(np.int64)
