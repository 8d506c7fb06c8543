"""CelebA in the folder that torchvision makes: 40 attributes of a face, each there or not."""

import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_multi_label_splits
from labelbench_ray.datasets.fetching import require_files
from labelbench_ray.datasets.image_list import open_image_list
from labelbench_ray.datasets.opened import OpenedSplits, folder_inside
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import every_file, images_by_size
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS, Labels, Split

_ATTRIBUTES = "list_attr_celeba.txt"
_PARTITION = "list_eval_partition.txt"
_IMAGES = "img_align_celeba"
_LAYOUT = (
    f"the folder that holds celeba/ (or the latter itself) with {_ATTRIBUTES}, {_PARTITION} and "
    f"{_IMAGES}/000001.jpg .. 202599.jpg, as unpacked from {_IMAGES}.zip, md5 00d2c5bc6d35e252742224ab0c1e8fcb"
)
_CLASSES = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry
Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
Wearing_Necktie Young
"""
_CLASS_NAMES = tuple(_CLASSES.split())


def _own_files(folder: Path) -> Iterator[Path | str]:
    yield from (folder / _ATTRIBUTES, folder / _PARTITION)
    yield from every_file(folder / _IMAGES)


@dataclass(frozen=True, kw_only=True)
class CelebA:
    """202,599 faces, aligned and cropped to 178 x 218, with 40 attributes each (a multi-label task).

    ``path`` is the folder that holds ``celeba`` (torchvision's ``root``), or the latter itself.
    """

    name: ClassVar[str] = "celeba"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="celeba",
        title="CelebA, attributes",
        revision=f"{_IMAGES}.zip, md5 00d2c5bc6d35e252742224ab0c1e8fcb",
        task="multi_label",
        class_names=_CLASS_NAMES,
        num_examples={"train": 162_770, "val": 19_867, "test": 19_962},
        split_rule=f"train, val and test as given by {_PARTITION}",
        main_metric="mean_ap",
        licence="non-commercial research only",
        citation="Liu et al., 2015, Deep Learning Face Attributes in the Wild",
        approximate_size="1.4 GiB",
    )
    path: Path = content_path(files=_own_files, told_by=images_by_size)
    download: bool = placement(False)
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", folder_inside(self.path, "celeba"))

    def open(self) -> OpenedSplits:
        """Read both lists. Raises DataError naming the file that is missing or the line that is not as published."""
        folder = self.path.expanduser().resolve()
        needed = (_ATTRIBUTES, _PARTITION, _IMAGES)
        require_files(self.name, folder, needed, _LAYOUT, functools.partial(_fetch, folder) if self.download else None)
        attributes = read_attributes(folder / _ATTRIBUTES)
        members = read_partition(folder / _PARTITION)
        unknown = next((name for split in SPLITS for name in members[split] if name not in attributes), None)
        if unknown:
            raise DataError(self.name, f"{unknown} of {_PARTITION} has no line in {_ATTRIBUTES}; fetch both again")
        raw = {split: np.array([attributes[name] for name in members[split]]) for split in SPLITS}
        labels = checked_multi_label_splits(self.name, raw, _CLASS_NAMES)
        files = {split: [f"{_IMAGES}/{name}" for name in members[split]] for split in SPLITS}
        return open_image_list(self.card, folder, _own_files, files, labels)


def read_attributes(file: Path) -> dict[str, Labels]:
    """(C,) zeros and ones of each image: the file says -1 and 1, after a line of the count and one of the names."""
    lines = [line.split() for line in file.read_text(errors="replace").splitlines() if line.strip()]
    count, names, *rows = lines if len(lines) > 1 else ([], [])
    if tuple(names) != _CLASS_NAMES or count != [str(len(rows))]:
        raise DataError(CelebA.name, f"{file} must begin with its number of rows and the 40 attributes; fetch it again")
    told: dict[str, Labels] = {}
    for number, (name, *values) in enumerate(rows, start=3):
        if len(values) != len(_CLASS_NAMES) or not {"-1", "1"}.issuperset(values):
            told_line = f"line {number} of {file} ({name}) must hold {len(_CLASS_NAMES)} values of -1 or 1"
            raise DataError(CelebA.name, f"{told_line}; fetch it again")
        told[name] = np.array([value == "1" for value in values], np.int64)
    return told


def read_partition(file: Path) -> dict[Split, list[str]]:
    """Images of each split, in the order of the file, whose numbers are 0, 1 and 2."""
    members: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        match line.split():
            case [name, ("0" | "1" | "2") as part]:
                members[SPLITS[int(part)]].append(name)
            case _:
                told = f"line {number} of {file} must be an image and 0, 1 or 2, got {line!r}"
                raise DataError(CelebA.name, f"{told}; fetch it again")
    return members


def _fetch(folder: Path) -> None:
    importlib.import_module("torchvision.datasets").CelebA(folder.parent, download=True)
