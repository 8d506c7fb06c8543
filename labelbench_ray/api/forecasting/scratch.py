"""What end-to-end training keeps on disk while it runs: a file of scores for each tile, and a checkpoint."""

import statistics
from collections.abc import Sequence
from typing import Any

from labelbench_ray.api.forecasting.stage import Bytes
from labelbench_ray.benchmark.history import MeasuredRound
from labelbench_ray.features.measured import MeasuredSet, width_of
from labelbench_ray.identity import describe
from labelbench_ray.trainers.blend import trainers_of

BYTES_PER_SCORE = 4
"""Probabilities and embeddings are float32."""

WEIGHTS_PER_CHECKPOINT = 3
"""The weights and the two moments of Adam."""


def scratch_of(
    dataset: Any, encoder: Any, trainer: Any, sets: Sequence[MeasuredSet], seen: Sequence[MeasuredRound]
) -> Bytes:
    """Of one trial while it runs. Heads on stored features keep none."""
    if not any(one.needs.images for one in trainers_of(trainer)):
        return Bytes()
    return _scores(dataset, encoder, sets) + _checkpoint(seen)


def _scores(dataset: Any, encoder: Any, sets: Sequence[MeasuredSet]) -> Bytes:
    """(N, C) probabilities and (N, D) embeddings of every split."""
    card, width = dataset.open().card, width_of(sets, describe(encoder))
    if width is None:
        return Bytes(0, (f"scores: the width of encoder {encoder.name}",))
    return Bytes(sum(card.num_examples.values()) * (card.num_classes + width) * BYTES_PER_SCORE)


def _checkpoint(seen: Sequence[MeasuredRound]) -> Bytes:
    """From models of this trainer that evaluations kept."""
    sizes = [one.model_bytes for one in seen if one.model_bytes]
    return Bytes(WEIGHTS_PER_CHECKPOINT * int(statistics.median(sizes))) if sizes else Bytes(0, ("checkpoints",))
