"""iWildCam, animals before camera traps, as WILDS publishes it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.image_folder import image_files
from labelbench_ray.datasets.opened import OpenedSplits, existing
from labelbench_ray.datasets.wilds import Table, TestSplit, integers, open_wilds, read_table, split_rule
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint, images_by_size
from labelbench_ray.identity import content_path

TABLE = "metadata.csv"
NOT_IN_WILDS = 99_999
"""The number of the competition's classes that WILDS left out."""


def table_and_images(root: Path) -> Iterator[Path | str]:
    """What counts of the folder."""
    yield from (root / TABLE, root / "categories.csv")
    yield from image_files(root / "train")


@dataclass(frozen=True, kw_only=True)
class IWildCam:
    """203,029 photographs of camera traps, 182 classes: "empty" and 181 animals; from very common to a handful.

    ``path`` is the folder iwildcam_v2.0/ of WILDS with metadata.csv, categories.csv and the images in train/. Unless
    asked otherwise, val and test are WILDS's id_val and id_test, from the cameras of the pool on other days.
    ``test_split: test`` takes the 42,791 images of new cameras as test instead: the same pool, another question.
    LabelBench merges all classes from number 13 on into one. Of the images, names and sizes are the identity.
    """

    name: ClassVar[str] = "iwildcam"
    layout: ClassVar[str] = "WILDS's folder iwildcam_v2.0 with metadata.csv, categories.csv and train/<image>.jpg"
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="iwildcam",
        title="iWildCam 2020 (WILDS 2.0)",
        revision="iwildcam_v2.0 of WILDS",
        class_names=(),  # 182, which categories.csv names
        num_examples={"train": 129_809, "val": 7_314, "test": 8_154},
        split_rule=split_rule("id_test"),
        main_metric="macro_f1",
        licence="Community Data License Agreement, Permissive, 1.0",
        citation="Beery et al., 2020, The iWildCam 2020 Competition Dataset; splits of Koh et al., 2021, WILDS",
        approximate_size="11 GiB",
        templates=("a photo of {}.", "{} in the wild."),
    )
    path: Path = content_path(files=table_and_images, told_by=images_by_size)
    test_split: TestSplit = "id_test"
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def open(self) -> OpenedSplits:
        """Read the tables. Raises DataError naming the file, row or class that is wrong."""
        root, layout = existing(self.name, self.path, self.layout), self.layout
        table = read_table(self.name, root / TABLE, ("split", "filename", "y"), layout)
        categories = read_table(self.name, root / "categories.csv", ("y", "name"), layout)
        card = replace(
            self.card,
            revision=content_fingerprint(root, table_and_images, images_by_size),
            class_names=class_names(categories),
            split_rule=split_rule(self.test_split),
        )
        files_N = np.array([f"train/{name}" for name in table["filename"]], object)
        numbers_N = integers(self.name, TABLE, "y", table["y"])
        return open_wilds(card, root / TABLE, table["split"], files_N, numbers_N, self.test_split)


def class_names(categories: Table) -> tuple[str, ...]:
    """C names in the order of their numbers. Raises DataError when a number is without one."""
    numbers = integers(IWildCam.name, "categories.csv", "y", categories["y"]).tolist()
    named = {y: name for y, name in zip(numbers, categories["name"], strict=True) if y != NOT_IN_WILDS}
    for number in range(len(named)):
        if number not in named:
            raise DataError(IWildCam.name, f"categories.csv names no class {number}; get the file again")
    return tuple(named[number] for number in range(len(named)))
