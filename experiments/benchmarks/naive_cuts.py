"""Plain loops of the two strategies that search along each class's margin: GALAXY and DIRECT."""

import math
from typing import Any

import numpy as np
from cases import OPTIONS
from numpy.typing import NDArray
from selection_pools import PoolArrays

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]
Positions = NDArray[np.int64]


class Orders:
    """Rows by descending margin of a class, ties by ascending id; sorted when a class is first asked for."""

    def __init__(self, probs_NC: Floats) -> None:
        self._probs_NC = probs_NC
        self._largest_N = probs_NC.max(axis=1).astype(np.float64)
        self._made: dict[int, Ids] = {}

    def of(self, class_index: int) -> Ids:
        """(N,) ids."""
        if class_index not in self._made:
            margins_N = self._probs_NC[:, class_index].astype(np.float64)
            if self._probs_NC.shape[1] > 2:
                margins_N = margins_N - self._largest_N + 1e-8 * self._largest_N
            self._made[class_index] = np.argsort(-margins_N, kind="stable")
        return self._made[class_index]


def galaxy(pool: PoolArrays, budget: int, rng: np.random.Generator) -> Ids:
    """One query at a time: the middle of the shortest run between two labels that disagree; see ``_beside_cut``."""
    num_classes = pool.probs_NC.shape[1]
    orders = Orders(pool.probs_NC)
    labelled_N = np.zeros(len(pool.truth_N), bool)
    labelled_N[pool.ids_L] = True
    chosen: list[int] = []
    for _ in range(budget):
        class_index = 0 if num_classes == 2 else int(rng.integers(num_classes))
        order = orders.of(class_index)
        taken = np.flatnonzero(labelled_N[order])
        sides = pool.truth_N[order[taken]] == class_index
        place = _middle_of_shortest(taken, sides)
        if place is None:
            free = np.flatnonzero(~labelled_N[order])
            place = _beside_cut(taken, sides, free)
            place = int(free[rng.integers(len(free))]) if place is None else place
        chosen.append(int(order[place]))
        labelled_N[chosen[-1]] = True
    return np.array(chosen, np.int64)


def _middle_of_shortest(taken: Positions, sides: NDArray[np.bool_]) -> int | None:
    gaps = np.diff(taken)
    candidates = np.flatnonzero((sides[1:] != sides[:-1]) & (gaps > 1))
    if not candidates.size:
        return None
    left = candidates[gaps[candidates].argmin()]
    return int(taken[left] + taken[left + 1]) // 2


def _beside_cut(taken: Positions, sides: NDArray[np.bool_], free: Positions) -> int | None:
    """The free position nearest to two adjacent labels that disagree; the right one only if strictly nearer."""
    pairs = np.flatnonzero((sides[1:] != sides[:-1]) & (np.diff(taken) == 1))
    after = np.searchsorted(free, taken[pairs])
    # A sentinel at either end, farther than any row.
    fenced = np.concatenate([[-len(taken) - len(free) - 1], free, [2 * (len(taken) + len(free)) + 1]])
    left, right = fenced[after], fenced[after + 1]
    to_left, to_right = taken[pairs] - left, right - taken[pairs] - 1
    if not pairs.size or min(to_left.min(), to_right.min()) > len(taken) + len(free):
        return None
    if to_right.min() < to_left.min():
        return int(right[to_right.argmin()])
    return int(left[to_left == to_left.min()].max())


def direct(pool: PoolArrays, budget: int, rng: np.random.Generator) -> Ids:
    """Half the budget narrows each class's threshold, rarest first; half is bought around the best thresholds."""
    options = OPTIONS["direct"]
    num_classes = pool.probs_NC.shape[1]
    orders = Orders(pool.probs_NC)
    labelled_N = np.zeros(len(pool.truth_N), bool)
    labelled_N[pool.ids_L] = True
    counts_C = np.bincount(pool.truth_N[pool.ids_L], minlength=num_classes)
    rarest_first = np.argsort(counts_C, kind="stable")
    half = budget // 2
    per_class = max(half // num_classes, min(half, options["min_budget_per_class"]))
    searched = rarest_first[: half // max(1, per_class)]
    chosen: list[int] = []
    for class_index in searched:
        order = orders.of(int(class_index))
        truth = pool.truth_N[order] == class_index
        chosen += order[_narrow(labelled_N[order], truth, per_class, options["parallel_labels"], rng)].tolist()
        labelled_N[chosen] = True
    share, more = divmod(budget - len(chosen), num_classes)
    for rank, class_index in enumerate(rarest_first):
        order = orders.of(int(class_index))
        labelled = labelled_N[order]
        threshold = int(_accuracy(labelled, pool.truth_N[order] == class_index).argmax())
        free = np.flatnonzero(~labelled)
        nearest = free[np.argsort(np.abs(free + 0.5 - threshold), kind="stable")[: share + (rank < more)]]
        chosen += order[nearest].tolist()
        labelled_N[chosen] = True
    return np.array(chosen, np.int64)


def _narrow(
    labelled: NDArray[np.bool_], truth: NDArray[np.bool_], budget: int, at_once: int, rng: np.random.Generator
) -> Positions:
    """Positions bought while the interval that may hold the threshold shrinks, ``at_once`` labels a round."""
    labelled = labelled.copy()
    taken = np.flatnonzero(labelled)
    low, high = _uncertain(taken, truth[taken], len(labelled))
    bought: list[int] = []
    while len(bought) < budget:
        free = low + np.flatnonzero(~labelled[low : high + 1])
        if not free.size:
            break
        rounds_left = max(1, (budget - len(bought)) // at_once)
        asked = rng.choice(free, min(at_once, budget - len(bought), len(free)), replace=False)
        bought += asked.tolist()
        labelled[asked] = True
        low, high = _shrink(low, high, labelled, _accuracy(labelled, truth), rounds_left, rng)
    return np.array(bought, np.int64)


def _uncertain(taken: Positions, sides: NDArray[np.bool_], num_rows: int) -> tuple[int, int]:
    """From the last label of the class that has none of another before it, to the first that has none of it behind."""
    others, own = taken[~sides], taken[sides]
    certain = own[own < others[0]] if others.size else own
    hopeless = others[others > own[-1]] if own.size else others
    low = int(certain[-1]) if certain.size else 0
    high = int(hopeless[0]) if hopeless.size else num_rows - 1
    return low, high


def _accuracy(labelled: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N + 1,) labels that a threshold before each position gets right, less those it gets wrong."""
    weights = np.where(labelled, np.where(truth, 1, -1), 0)
    before: NDArray[np.int64] = np.concatenate([[0], np.cumsum(weights)])
    return 2 * before - int(before[-1])


def _shrink(
    low: int,
    high: int,
    labelled: NDArray[np.bool_],
    accuracy: NDArray[np.int64],
    rounds_left: int,
    rng: np.random.Generator,
) -> tuple[int, int]:
    diameter = int((~labelled[low : high + 1]).sum())
    target = diameter if rounds_left == 1 else math.ceil(diameter ** (1 - 1 / rounds_left))
    while diameter > target:
        from_left = accuracy[low] < accuracy[high] or (accuracy[low] == accuracy[high] and rng.random() < 0.5)
        diameter -= not labelled[low if from_left else high]
        low, high = (low + 1, high) if from_left else (low, high - 1)
    return low, high
