"""A data set in memory whose images can be spoilt, and keys and tasks over it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.encoders.pixels import Pixels
from labelbench_ray.errors import UndecodableImageError
from labelbench_ray.features.embedding import EmbedTask
from labelbench_ray.features.key import FeatureKey
from labelbench_ray.seeding import stream


@dataclass(frozen=True)
class PaintedSplit:
    name: str
    num_rows: int
    spoilt: tuple[int, ...]

    def __len__(self):
        return self.num_rows

    def read(self, ids):
        return [self._one(int(example_id)) for example_id in ids]

    def _one(self, example_id):
        if example_id in self.spoilt:
            raise UndecodableImageError(self.name, "train", example_id, f"{example_id}.jpg", "cut short")
        return stream(example_id, "paint").integers(0, 256, (12, 9, 3), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class Painted:
    name: ClassVar[str] = "painted"
    num_rows: int = 100
    spoilt: tuple[int, ...] = ()
    on_undecodable: str = "refuse"

    def open(self):
        return self

    @property
    def card(self):
        return DatasetCard(
            name=self.name, title="", revision="1", class_names=("a",), num_examples={"train": self.num_rows},
            split_rule="", licence="", citation="", approximate_size="",
        )  # fmt: skip

    def images(self, split):
        return PaintedSplit(self.name, self.num_rows, self.spoilt)


class VectorsInMemory:
    def __init__(self, rows):
        self.rows = rows
        self.shape = rows.shape

    def slice(self, first, last):
        return self.rows[first:last]

    def take(self, ids):
        return self.rows[ids]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    name: ClassVar[str] = "drawn"
    num_rows: int = 100

    def open(self):
        return self

    @property
    def card(self):
        return replace(Painted(num_rows=self.num_rows).card, name=self.name, modality="vector")

    def vectors(self, split):
        rows = stream(0, "drawn").standard_normal((self.num_rows, 5)) * np.arange(1, 6) + 3
        return VectorsInMemory(rows.astype(np.float16))


def a_key(**changes):
    asked = {"dataset": Painted(), "encoder": Pixels(size=4), "split": "train", "shard_rows": 32}
    return FeatureKey(**{**asked, "encode_batch_size": 10, **changes})


def a_task(root: Path, *keys, **changes):
    keys = keys or (a_key(),)
    return EmbedTask(keys=keys, num_rows=keys[0].dataset.num_rows, store_root=root, **changes)
