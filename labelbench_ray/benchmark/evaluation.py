"""Measuring a trained model against the truth. The truth lives here and in the oracle, nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labelbench_ray.metrics.classification import ClassificationTally
from labelbench_ray.pool import Pool
from labelbench_ray.shards import Scores
from labelbench_ray.types import Ids, Labels, Split

ANNOTATION_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluator:
    """True labels of every split; ``excluded`` rows are not counted."""

    num_classes: int
    truth: Mapping[Split, Labels]
    excluded: Mapping[Split, Ids]

    def measure(self, scores: Mapping[Split, Scores], pool: Pool) -> dict[str, dict[str, float]]:
        """``{split: {metric: value}}`` for the pool, validation and test.

        The pool is measured in both senses: the model's predictions on every row (LabelBench's published code), and
        ``annotation_*``: bought labels, and the model's predictions for the rest (LabelBench's text, section 2).
        """
        values = {"pool": self._measure_pool(scores["train"], pool)}
        return values | {split: self.measure_split(scores[split], split) for split in ("val", "test")}

    def measure_split(self, scores: Scores, split: Split) -> dict[str, float]:
        """``{metric: value}`` of the model's predictions on one split."""
        tally = ClassificationTally(self.num_classes)
        for tile in range(_num_tiles(scores)):
            probs_BC, truth_B, _ = self._tile(scores, split, tile)
            tally.add(probs_BC, truth_B)
        return tally.values()

    def _measure_pool(self, scores: Scores, pool: Pool) -> dict[str, float]:
        model, annotation = ClassificationTally(self.num_classes), ClassificationTally(self.num_classes)
        bought_N = np.full(pool.num_rows, -1, np.int64)
        bought_N[pool.ids_L] = pool.labels_L
        for tile in range(_num_tiles(scores)):
            probs_BC, truth_B, ids_B = self._tile(scores, "train", tile)
            model.add(probs_BC, truth_B)
            bought_B = bought_N[ids_B]
            annotation.add_predictions(np.where(bought_B >= 0, bought_B, probs_BC.argmax(axis=1)), truth_B)
        annotated = annotation.values()
        return {**model.values(), **{f"annotation_{metric}": annotated[metric] for metric in ANNOTATION_METRICS}}

    def _tile(self, scores: Scores, split: Split, tile: int) -> tuple[np.ndarray, Labels, Ids]:
        first = tile * scores.tile_rows
        ids = np.arange(first, min(first + scores.tile_rows, scores.num_rows))
        kept = ids[~np.isin(ids, self.excluded[split])]
        return scores.probs(tile)[kept - first], self.truth[split][kept], kept


def _num_tiles(scores: Scores) -> int:
    return -(-scores.num_rows // scores.tile_rows)
