"""Plug-ins that cost nothing: a data set and a trainer for grids whose own overhead, or survival, is what is looked at.

What the trainer says of a row depends on the seed, the round and the bought set, so that a round that was lost, done
twice or done from other labels gives other rows.
"""

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.memory import VectorsInMemory
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.identity import placement
from labelbench_ray.trainers.base import TrainerNeeds, TrainingData
from labelbench_ray.types import SPLITS, Floats, Labels, LastLayer, Split

CLASSES = ("a", "b", "c", "d")
HELD_OUT = 40
"""Rows of validation, and of test."""
WIDTH = 8


@dataclass(frozen=True, kw_only=True)
class StubData:
    """Vectors of zeros, with labels by a rule."""

    name: ClassVar[str] = "stub"
    default_encoder: ClassVar[str | None] = "pixels"
    rows: int = 200

    def open(self) -> OpenedSplits:
        """Nothing is read."""
        sizes = sizes_of(self.rows)
        card = DatasetCard(
            name="stub",
            title="Nothing",
            revision="1",
            modality="vector",
            class_names=CLASSES,
            num_examples=sizes,
            split_rule="by count",
            licence="none",
            citation="none",
            approximate_size="0.0 MiB",
        )
        labels: dict[Split, Labels] = {split: np.arange(sizes[split]) % len(CLASSES) for split in SPLITS}
        return OpenedSplits(card, labels, {split: _zeros(sizes[split]) for split in SPLITS})


@dataclass(frozen=True, kw_only=True)
class StubTrainer:
    """Takes its time, then makes its scores up."""

    name: ClassVar[str] = "stub"
    needs: ClassVar[TrainerNeeds] = TrainerNeeds()
    seconds: float = placement(0.0)
    """How long a training takes."""
    busy: bool = placement(False)
    """Compute for that long, in place of waiting as for a GPU."""

    def fit(self, data: TrainingData) -> "StubFitted":
        """Wait, and draw."""
        _pass_time(self.seconds, self.busy)
        drawn = data.stream("stub", zlib.crc32(np.ascontiguousarray(data.ids_L).tobytes()))
        sizes = sizes_of(data.num_rows)
        return StubFitted({split: StubScores.drawn(drawn, sizes[split], data.tile_rows) for split in SPLITS})


@dataclass(frozen=True, eq=False)
class StubScores:
    """Of one split, all in memory. Satisfies ``Scores``."""

    tile_rows: int
    num_rows: int
    probs_NC: Floats
    """Padded with zeros to whole tiles, as the embeddings are."""
    embeddings_ND: Floats

    @classmethod
    def drawn(cls, drawn: np.random.Generator, num_rows: int, tile_rows: int) -> "StubScores":
        """Random ones."""
        padding = ((0, -num_rows % tile_rows), (0, 0))
        weights_NC = drawn.random((num_rows, len(CLASSES)))
        embeddings_ND = drawn.standard_normal((num_rows, WIDTH), np.float32)
        probs_NC = (weights_NC / weights_NC.sum(axis=1, keepdims=True)).astype(np.float32)
        return cls(tile_rows, num_rows, np.pad(probs_NC, padding), np.pad(embeddings_ND, padding))

    @property
    def num_classes(self) -> int:
        """C."""
        return len(CLASSES)

    @property
    def width(self) -> int:
        """D."""
        return WIDTH

    def probs(self, tile: int) -> Floats:
        """(T, C)."""
        return self.probs_NC[tile * self.tile_rows : (tile + 1) * self.tile_rows]

    def embeddings(self, tile: int) -> Floats:
        """(T, D)."""
        return self.embeddings_ND[tile * self.tile_rows : (tile + 1) * self.tile_rows]


@dataclass(frozen=True, eq=False)
class StubFitted:
    """What the stub says. Satisfies ``Fitted``."""

    scores: Mapping[Split, StubScores]
    summary: Mapping[str, float] = field(default_factory=dict)

    @property
    def last_layer(self) -> LastLayer:
        """Of no use: the probabilities do not come from the embeddings."""
        return LastLayer(np.zeros((len(CLASSES), WIDTH), np.float32), np.zeros(len(CLASSES), np.float32))

    def save(self, folder: Path) -> None:
        """There are no weights."""


def sizes_of(rows: int) -> dict[Split, int]:
    """Rows of each split."""
    return {"train": rows, "val": HELD_OUT, "test": HELD_OUT}


def _zeros(rows: int) -> VectorsInMemory:
    def load() -> NDArray[np.float32]:
        return np.zeros((rows, 1), np.float32)

    return VectorsInMemory((rows, 1), load)


def _pass_time(seconds: float, busy: bool) -> None:
    if not busy:
        time.sleep(seconds)
        return
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
