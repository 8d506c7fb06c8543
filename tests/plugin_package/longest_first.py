"""A strategy as a package of its own has it: it imports what labelbench_ray documents, and nothing of its tests."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from labelbench_ray.strategies.base import Needs


@dataclass(frozen=True, kw_only=True)
class LongestFirst:
    """Buy the rows of the longest embeddings. Ties go to the lowest id."""

    name: ClassVar[str] = "longest"
    needs: ClassVar[Needs] = Needs(embeddings=True)

    power: float = 2.0

    def select(self, request, rng):
        """Ids by descending length."""
        parts = request.spread(Lengths, self.power).each("longest", request.labels_to_buy)
        ids = np.concatenate([ids for ids, _ in parts])
        lengths = np.concatenate([lengths for _, lengths in parts])
        return ids[np.lexsort((ids, -lengths))][: request.labels_to_buy]

    def least_memory(self, shape):
        """Bytes: an id and a length a row."""
        return 16 * shape.num_rows


class Lengths:
    """Works where its shard is; it stands at module level, so that it can be sent to an actor."""

    def __init__(self, rows, power):
        self._rows, self._power = rows, power

    def longest(self, count):
        """Ids and lengths of the longest rows of this shard."""
        ids, lengths = [], []
        for tile in self._rows.tiles():
            places = np.flatnonzero(self._rows.candidates(tile))
            ids.append(places + self._rows.first_id(tile))
            lengths.append((np.abs(self._rows.embeddings(tile)[places]) ** self._power).sum(axis=1))
        found, lengths_N = np.concatenate(ids), np.concatenate(lengths)
        order = np.lexsort((found, -lengths_N))[:count]
        return found[order], lengths_N[order]
