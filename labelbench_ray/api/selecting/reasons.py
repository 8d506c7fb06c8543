"""Why each row was chosen, in a few words: its score where the strategy has one, else what is known of the row."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from labelbench_ray.shards import Scores
from labelbench_ray.strategies.base import Strategy
from labelbench_ray.strategies.coreset import CoreSet
from labelbench_ray.strategies.uncertainty import largest_probability, negative_entropy, top_two_gap
from labelbench_ray.types import Floats, Ids

SCORES: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
    "margin": ("margin", top_two_gap),
    "confidence": ("probability", largest_probability),
    "entropy": ("entropy", lambda probs_BC: -negative_entropy(probs_BC)),
}
"""Strategies that rank rows by a number of their probabilities, and what it is called. CoreSet's is a distance."""

MOST_COMPARED = 1 << 31
"""Products that telling distances may cost: seconds. Where there would be more, they are not told."""


class Reason(NamedTuple):
    """What is told of a row."""

    score: float | None
    words: str
    predicted: str | None = None
    probability: float | None = None
    """Of ``predicted``."""


def reasons(
    strategy: Strategy, scores: Scores, class_names: Sequence[str], known_ids: Ids, chosen_B: Ids
) -> list[Reason]:
    """A reason for each row, in the order chosen. ``class_names`` is empty where no model was trained."""
    told = _of_coverage(strategy, scores, known_ids, chosen_B)
    if not class_names:
        return told
    probs_BC = rows_of(chosen_B, scores.tile_rows, scores.probs)
    if strategy.name in SCORES:
        called, score = SCORES[strategy.name]
        told = [Reason(float(value), f"{called} {value:.3g}") for value in score(probs_BC)]
    return [_with_classes(reason, probs_C, class_names) for reason, probs_C in zip(told, probs_BC, strict=True)]


def _of_coverage(strategy: Strategy, scores: Scores, known_ids: Ids, chosen_B: Ids) -> list[Reason]:
    """Distances, where the strategy reads embeddings."""
    if not strategy.needs.embeddings:
        return [Reason(None, "" if strategy.needs.probabilities else "chosen without a model")] * len(chosen_B)
    distances = _distances(scores, known_ids, chosen_B)
    ranks = strategy.name == CoreSet.name
    return [Reason(distance if ranks else None, _nearest(distance)) for distance in distances]


def _nearest(distance: float | None) -> str:
    return "covers the pool" if distance is None else f"{distance:.3g} from the nearest row labelled or chosen before"


def _with_classes(reason: Reason, probs_C: Floats, class_names: Sequence[str]) -> Reason:
    """With the two classes that are most likely."""
    first, second = np.argsort(-probs_C, kind="stable")[:2]
    pair = f"{class_names[first]} {probs_C[first]:.2f} or {class_names[second]} {probs_C[second]:.2f}"
    words = f"{reason.words}; {pair}" if reason.words else pair
    return Reason(reason.score, words, class_names[first], float(probs_C[first]))


def rows_of(ids_B: Ids, tile_rows: int, read: Callable[[int], Floats]) -> Floats:
    """What ``read`` says of these rows, in this order, a tile at a time."""
    tiles_B = ids_B // tile_rows
    parts = {int(tile): read(int(tile))[ids_B[tiles_B == tile] % tile_rows] for tile in np.unique(tiles_B)}
    rows = np.empty((len(ids_B), *next(iter(parts.values())).shape[1:]), np.float32)
    for tile, part in parts.items():
        rows[tiles_B == tile] = part
    return rows


def _distances(scores: Scores, known_ids: Ids, chosen_B: Ids) -> list[float | None]:
    """Of each chosen row to the nearest one known or chosen before it.

    None where there is no such row, or where telling them costs too much.
    """
    num_known = len(known_ids)
    if (num_known + len(chosen_B)) * len(chosen_B) * scores.width > MOST_COMPARED:
        return [None] * len(chosen_B)
    rows = rows_of(np.concatenate([known_ids, chosen_B]), scores.tile_rows, scores.embeddings)
    squares = (np.square(rows[:place] - rows[place]).sum(axis=1) for place in range(num_known, len(rows)))
    return [float(np.sqrt(part.min())) if len(part) else None for part in squares]
