"""Pascal VOC 2012 in the folder that torchvision (and the authors' archive) makes: which objects an image shows."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_multi_label_splits
from labelbench_ray.datasets.fetching import Remote, fetch_missing, require_files
from labelbench_ray.datasets.image_list import open_image_list
from labelbench_ray.datasets.opened import OpenedSplits, folder_inside
from labelbench_ray.datasets.splits import torch_permutation
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import images_by_size
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS, Ids, Split

_CLASSES = """
aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa
train tvmonitor
"""
_CLASS_NAMES = tuple(_CLASSES.split())
_LISTS = tuple(f"ImageSets/Main/{name}_trainval.txt" for name in _CLASS_NAMES)
_IMAGES = "JPEGImages"
_URL = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
_MD5 = "6cd6e144f989b92b3379bac3b3de84fd"
_LAYOUT = (
    "the folder that holds VOCdevkit/VOC2012/ (or either itself) with ImageSets/Main/aeroplane_trainval.txt .. "
    f"tvmonitor_trainval.txt and {_IMAGES}/, as unpacked from VOCtrainval_11-May-2012.tar, "
    f"md5 {_MD5}"
)


def _own_files(folder: Path) -> Iterator[Path | str]:
    """The lists and their images: the archive holds others, for segmentation."""
    yield from (folder / file for file in _LISTS)
    if (folder / _LISTS[0]).is_file():
        yield from (folder / _IMAGES / f"{name}.jpg" for name in read_list(folder / _LISTS[0]))


@dataclass(frozen=True, kw_only=True)
class Voc2012:
    """11,540 photographs and which of 20 classes of objects each shows (a multi-label task).

    An object that the annotators call difficult does not count. ``path`` is the folder that holds
    ``VOCdevkit/VOC2012`` (torchvision's ``root``), or either itself.
    """

    name: ClassVar[str] = "voc2012"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="voc2012",
        title="Pascal VOC 2012, classification",
        revision=f"VOCtrainval_11-May-2012.tar, md5 {_MD5}",
        task="multi_label",
        class_names=_CLASS_NAMES,
        num_examples={"train": 10_000, "val": 770, "test": 770},
        split_rule=(
            "torch.randperm(N), seed 42, of the N images of trainval in the order of their lists: the last "
            "770 N // 11,540 are test, as many before them val, the rest train"
        ),
        main_metric="mean_ap",
        licence="images from Flickr, under its terms of use",
        citation="Everingham et al., 2015, The Pascal Visual Object Classes Challenge: A Retrospective",
        approximate_size="1.9 GiB",
    )
    path: Path = content_path(files=_own_files, told_by=images_by_size)
    download: bool = placement(False)
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", folder_inside(self.path, "VOCdevkit", "VOC2012"))

    def open(self) -> OpenedSplits:
        """Read the lists. Raises DataError naming the file that is missing or the line that is not as published."""
        folder = self.path.expanduser().resolve()
        download = functools.partial(_fetch, folder) if self.download else None
        require_files(self.name, folder, (*_LISTS, _IMAGES), _LAYOUT, download)
        lists = [read_list(folder / file) for file in _LISTS]
        names = list(lists[0])
        for file, marks in zip(_LISTS, lists, strict=True):
            if list(marks) != names:
                raise DataError(self.name, f"{file} lists other images than {_LISTS[0]}; unpack the archive again")
        marks_NC = np.array([[marks[name] for marks in lists] for name in names])
        rows = published_rows(len(names))
        labels = checked_multi_label_splits(self.name, {split: marks_NC[rows[split]] for split in SPLITS}, _CLASS_NAMES)
        files = {split: [f"{_IMAGES}/{names[row]}.jpg" for row in rows[split]] for split in SPLITS}
        return open_image_list(self.card, folder, _own_files, files, labels)


def read_list(file: Path) -> dict[str, bool]:
    """Whether each image shows the class of the file: 1 says yes, -1 no, 0 that all its objects are difficult."""
    marks: dict[str, bool] = {}
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        match line.split():
            case [name, ("-1" | "0" | "1") as mark]:
                marks[name] = mark == "1"
            case _:
                told = f"line {number} of {file} must be an image and -1, 0 or 1, got {line!r}"
                raise DataError(Voc2012.name, f"{told}; unpack the archive again")
    return marks


def published_rows(num_images: int) -> dict[Split, Ids]:
    """10,000, 770 and 770 of the 11,540 images (LabelBench, ``voc_dataset.py``), and as many parts of fewer."""
    order, held = torch_permutation(num_images), 770 * num_images // 11_540
    last_train = num_images - 2 * held
    return {
        "train": order[:last_train],
        "val": order[last_train : last_train + held],
        "test": order[last_train + held :],
    }


def _fetch(folder: Path) -> None:
    gives = tuple(f"{folder.parent.name}/{folder.name}/{file}" for file in (*_LISTS, _IMAGES))
    fetch_missing([Remote(url=_URL, md5=_MD5, gives=gives)], folder.parents[1])
