"""The k best of many scores, ties to the lowest id, without sorting them all."""

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np

from labelbench_ray.types import Floats, Ids


class Ranked(NamedTuple):
    """Ids with their scores, smallest score first, equal scores by ascending id."""

    scores_K: Floats
    ids_K: Ids


def k_smallest(scores_N: Floats, ids_N: Ids, k: int) -> Ranked:
    """The k smallest scores (all, if there are fewer), ties to the lowest id. O(N + k log k)."""
    scores_K, ids_K = _keep_smallest(scores_N, ids_N, k)
    order = np.lexsort((ids_K, scores_K))
    return Ranked(scores_K[order], ids_K[order])


def merge_smallest(parts: Sequence[Ranked], k: int) -> Ranked:
    """The k smallest of several rankings."""
    if len(parts) == 1:
        return Ranked(parts[0].scores_K[:k], parts[0].ids_K[:k])
    return k_smallest(*_joined(parts), k)


class KSmallest:
    """The k smallest of scores that arrive in parts, in any order and from any thread.

    ``bar`` falls as they arrive, so that later parts can leave out most of their rows. What remains in the end does not
    depend on the order, only how much of it had to be looked at. Holds O(k) and one part.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._lock = Lock()
        self._parts: list[tuple[Floats, Ids]] = []
        self._held = 0
        self.bar = np.float64(np.inf)
        """A score above it is not among the k smallest; an equal one may be, if its id is low."""

    def offer(self, scores_N: Floats, ids_N: Ids) -> None:
        """Consider these rows too. Rows above ``bar`` may be left out."""
        if not len(ids_N):
            return
        with self._lock:
            self._parts.append((scores_N, ids_N))
            self._held += len(ids_N)
            if 2 * self._held >= 3 * self._k:  # not at every part: to drop many rows costs as much as to drop one
                self._drop_the_rest()

    def ranked(self) -> Ranked:
        """The k smallest of what was offered."""
        if not self._parts:
            return Ranked(np.empty(0), np.empty(0, np.int64))
        return k_smallest(*_joined(self._parts), self._k)

    def _drop_the_rest(self) -> None:
        kept = _keep_smallest(*_joined(self._parts), self._k)
        self._parts, self._held = [kept], self._k
        self.bar = np.float64(kept[0].max())


def _joined(parts: Sequence[tuple[Floats, Ids]]) -> tuple[Floats, Ids]:
    scores_N, ids_N = zip(*parts, strict=True)
    return np.concatenate(scores_N), np.concatenate(ids_N)


def _keep_smallest(scores_N: Floats, ids_N: Ids, k: int) -> tuple[Floats, Ids]:
    """The k smallest, ties to the lowest id, in no order."""
    if k >= len(scores_N):
        return scores_N, ids_N
    bar = np.partition(scores_N, k - 1)[k - 1]
    below = np.flatnonzero(scores_N < bar)
    level = np.flatnonzero(scores_N == bar)
    missing = k - len(below)
    if missing < len(level):
        level = level[np.argpartition(ids_N[level], missing - 1)[:missing]]
    keep = np.concatenate([below, level])
    return scores_N[keep], ids_N[keep]
