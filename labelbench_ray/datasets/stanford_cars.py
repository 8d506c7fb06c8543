"""The Stanford cars with ten labels made of their names, as LabelBench's published code does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_multi_label_splits
from labelbench_ray.datasets.image_list import open_image_list
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.datasets.splits import EIGHTY_TEN_TEN, eighty_ten_ten
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import every_file, images_by_size
from labelbench_ray.identity import content_path
from labelbench_ray.types import SPLITS, Labels

_ANNOTATIONS = "cars_annos.mat"
_IMAGES = "car_ims"
_LAYOUT = f"the folder that holds {_ANNOTATIONS} and {_IMAGES}/000001.jpg .. 016185.jpg, as unpacked from car_ims.tgz"
_WORDS = ("Audi", "BMW", "Chevrolet", "Dodge", "Ford", "Convertible", "Coupe", "SUV", "Van")
_LAST_OLD_YEAR = 2009
_CLASS_NAMES = (*_WORDS, f"car of {_LAST_OLD_YEAR} or before")


def _own_files(folder: Path) -> Iterator[Path | str]:
    yield folder / _ANNOTATIONS
    yield from every_file(folder / _IMAGES)


@dataclass(frozen=True, kw_only=True)
class StanfordCars:
    """16,185 photographs of cars with ten labels: five makes, four bodies, and 2009 or before (a multi-label task).

    ``path`` is the folder that holds ``cars_annos.mat`` and ``car_ims``. The authors' page is gone, and with it the
    download: give a copy of their archives.
    """

    name: ClassVar[str] = "stanford_cars"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="stanford_cars",
        title="Stanford cars, ten labels of the name",
        revision=f"car_ims.tgz and {_ANNOTATIONS} of the authors",
        task="multi_label",
        class_names=_CLASS_NAMES,
        num_examples={"train": 12_948, "val": 1_618, "test": 1_619},
        split_rule=EIGHTY_TEN_TEN,
        main_metric="mean_ap",
        licence="non-commercial research only",
        citation="Krause et al., 2013, 3D Object Representations for Fine-Grained Categorization",
        approximate_size="1.8 GiB",
    )
    path: Path = content_path(files=_own_files, told_by=images_by_size)
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def open(self) -> OpenedSplits:
        """Read the annotations. Raises DataError naming what is missing or not as published."""
        folder = Path(self.path).expanduser().resolve()
        for needed in (_ANNOTATIONS, _IMAGES):
            if not (folder / needed).exists():
                raise DataError(
                    self.name, f"no {needed} in {folder}; `path` must be {_LAYOUT}; it cannot be downloaded"
                )
        names, labels_NC = read_cars(folder / _ANNOTATIONS)
        rows = eighty_ten_ten(len(names))
        labels = checked_multi_label_splits(
            self.name, {split: labels_NC[rows[split]] for split in SPLITS}, _CLASS_NAMES
        )
        files = {split: [f"{_IMAGES}/{names[row]}" for row in rows[split]] for split in SPLITS}
        return open_image_list(self.card, folder, _own_files, files, labels)


def read_cars(file: Path) -> tuple[list[str], Labels]:
    """File names and (N, C) zeros and ones. Raises DataError where the file is not the authors'."""
    from scipy.io import loadmat

    try:
        told = loadmat(file, simplify_cells=True)
        cars = [str(name) for name in told["class_names"]]
        names = [Path(str(one["relative_im_path"])).name for one in told["annotations"]]
        numbers = [int(one["class"]) for one in told["annotations"]]
        labels_of = [labels_of_name(car) for car in cars]
    except Exception as error:  # a damaged .mat can raise nearly anything
        reason = f"no entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(StanfordCars.name, f"{file} is not the cars' annotations ({reason}); fetch it again") from None
    for row, number in enumerate(numbers):
        if not 1 <= number <= len(cars):
            raise DataError(
                StanfordCars.name, f"class {number} of {names[row]} is out of range 1..{len(cars)}; fetch it again"
            )
    return names, np.array([labels_of[number - 1] for number in numbers])


def labels_of_name(car: str) -> list[int]:
    """(C,) of a name like ``Audi S5 Coupe 2012``, which ends with its year."""
    return [int(word in car) for word in _WORDS] + [int(int(car.split()[-1]) <= _LAST_OLD_YEAR)]
