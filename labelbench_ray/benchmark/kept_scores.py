"""Probabilities of the pool, made once a round: measuring makes them, selecting reads them again."""

from labelbench_ray.shards import Scores
from labelbench_ray.types import Floats

BYTES_PER_PROBABILITY = 4


class KeptProbabilities:
    """Scores that remember the probabilities of the tiles that were read, as many as fit. Satisfies ``shards.Scores``.

    A pickled copy begins with none: workers in other processes make those of their own tiles.
    """

    def __init__(self, scores: Scores, memory_bytes: int) -> None:
        self._scores = scores
        self._memory_bytes = memory_bytes
        self._keep_before = memory_bytes // (BYTES_PER_PROBABILITY * scores.tile_rows * max(1, scores.num_classes))
        self._kept: dict[int, Floats] = {}

    def __reduce__(self) -> tuple[type["KeptProbabilities"], tuple[Scores, int]]:
        return KeptProbabilities, (self._scores, self._memory_bytes)

    @property
    def num_rows(self) -> int:
        """N."""
        return self._scores.num_rows

    @property
    def tile_rows(self) -> int:
        """T."""
        return self._scores.tile_rows

    @property
    def num_classes(self) -> int:
        """C."""
        return self._scores.num_classes

    @property
    def width(self) -> int:
        """D."""
        return self._scores.width

    def probs(self, tile: int) -> Floats:
        """(T, C) probabilities. Not to be written to: the next reader gets the same array."""
        probs_TC = self._kept.get(tile)
        if probs_TC is None:
            probs_TC = self._scores.probs(tile)
            if tile < self._keep_before:
                probs_TC.setflags(write=False)
                self._kept[tile] = probs_TC
        return probs_TC

    def embeddings(self, tile: int) -> Floats:
        """(T, D) input of the last layer."""
        return self._scores.embeddings(tile)
