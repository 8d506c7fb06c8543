"""COCO 2014 in the folders that the authors' archives make: which objects an image shows."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_multi_label_splits
from labelbench_ray.datasets.fetching import Remote, fetch_missing, require_files
from labelbench_ray.datasets.image_list import open_image_list
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.datasets.splits import torch_permutation
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import every_file, images_by_size
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS, Labels

_URL = "http://images.cocodataset.org/"
# The authors publish no md5; these are what several public repositories check (and the annotations' ETag).
_ARCHIVES = {
    "annotations/annotations_trainval2014.zip": "0a379cfc70b0e71301e0f377548639bd",
    "zips/train2014.zip": "0da8c0bd3d6becc4dcb32757491aca88",
    "zips/val2014.zip": "a3d79f5ed8d289b7a7554ce06a5782b3",
}
_NEEDED = ("annotations/instances_train2014.json", "annotations/instances_val2014.json", "train2014", "val2014")
_LAYOUT = (
    f"the folder that holds {_NEEDED[0]}, {_NEEDED[1]}, train2014/ and val2014/, "
    f"as unpacked from {', '.join(archive.split('/')[1] for archive in _ARCHIVES)} of {_URL}"
)
_CLASSES = """
airplane,apple,backpack,banana,baseball bat,baseball glove,bear,bed,bench,bicycle,bird,boat,book,bottle,bowl,broccoli,
bus,cake,car,carrot,cat,cell phone,chair,clock,couch,cow,cup,dining table,dog,donut,elephant,fire hydrant,fork,frisbee,
giraffe,hair drier,handbag,horse,hot dog,keyboard,kite,knife,laptop,microwave,motorcycle,mouse,orange,oven,
parking meter,person,pizza,potted plant,refrigerator,remote,sandwich,scissors,sheep,sink,skateboard,skis,snowboard,
spoon,sports ball,stop sign,suitcase,surfboard,teddy bear,tennis racket,tie,toaster,toilet,toothbrush,traffic light,
train,truck,tv,umbrella,vase,wine glass,zebra
"""
_CLASS_NAMES = tuple(_CLASSES.replace("\n", "").split(","))


def _own_files(folder: Path) -> Iterator[Path | str]:
    yield from (folder / file for file in _NEEDED[:2])
    for images in _NEEDED[2:]:
        yield from every_file(folder / images)


class Annotated(NamedTuple):
    """The images of a part that show any object, in the order of its file."""

    files: list[str]
    labels_NC: Labels


@dataclass(frozen=True, kw_only=True)
class Coco2014:
    """122,218 photographs and which of 80 classes of objects each shows (a multi-label task).

    Images without any annotated object are left out, as published. ``path`` is the folder that holds ``annotations``,
    ``train2014`` and ``val2014``.
    """

    name: ClassVar[str] = "coco2014"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="coco2014",
        title="COCO 2014, which objects are shown",
        revision="train2014.zip, md5 0da8c0bd3d6becc4dcb32757491aca88",
        task="multi_label",
        class_names=_CLASS_NAMES,
        # As papers on multi-label COCO count images with an object, 82,081 and 40,137; not counted here.
        num_examples={"train": 82_081, "val": 10_034, "test": 30_103},
        split_rule=(
            "train2014 without images that show nothing; of val2014's, the first quarter of torch.randperm(N), "
            "seed 42, is val, the rest test"
        ),
        main_metric="mean_ap",
        licence="annotations CC BY 4.0; images from Flickr, under its terms of use",
        citation="Lin et al., 2014, Microsoft COCO: Common Objects in Context, arXiv:1405.0312",
        approximate_size="19 GiB",
    )
    path: Path = content_path(files=_own_files, told_by=images_by_size)
    download: bool = placement(False)
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def open(self) -> OpenedSplits:
        """Read the annotations. Raises DataError naming the file that is missing or is not as published."""
        folder = Path(self.path).expanduser().resolve()
        require_files(self.name, folder, _NEEDED, _LAYOUT, functools.partial(_fetch, folder) if self.download else None)
        train, held = read_annotations(folder / _NEEDED[0]), read_annotations(folder / _NEEDED[1])
        order = torch_permutation(len(held.files))
        quarter = len(held.files) // 4
        rows = {"val": order[:quarter], "test": order[quarter:]}
        raw = {"train": train.labels_NC, **{split: held.labels_NC[rows[split]] for split in rows}}
        labels = checked_multi_label_splits(self.name, {split: raw[split] for split in SPLITS}, _CLASS_NAMES)
        files = {"train": train.files, **{split: [held.files[row] for row in rows[split]] for split in rows}}
        return open_image_list(self.card, folder, _own_files, {split: files[split] for split in SPLITS}, labels)


def read_annotations(file: Path) -> Annotated:
    """The annotated images of ``instances_<part>.json``. Raises DataError naming the entry that is missing."""
    status = file.stat()
    return _read_annotations(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=2)  # a file of 300 MB, and a command opens a data set more than once
def _read_annotations(file: Path, size: int, modified_ns: int) -> Annotated:
    try:
        told = json.loads(file.read_bytes())
        numbers = {category["id"]: _CLASS_NAMES.index(category["name"]) for category in told["categories"]}
        name_of = {image["id"]: image["file_name"] for image in told["images"]}
        shown: dict[int, set[int]] = {image: set() for image in name_of}
        for one in told["annotations"]:
            shown[one["image_id"]].add(numbers[one["category_id"]])
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(
            Coco2014.name, f"{file} is not COCO's annotations ({reason}); unpack the archive again"
        ) from None
    images = [image for image in name_of if shown[image]]
    labels_NC = np.zeros((len(images), len(_CLASS_NAMES)), np.int64)
    for row, image in enumerate(images):
        labels_NC[row, list(shown[image])] = 1
    folder = file.stem.removeprefix("instances_")
    return Annotated([f"{folder}/{name_of[image]}" for image in images], labels_NC)


def _fetch(folder: Path) -> None:
    gives = (_NEEDED[:2], _NEEDED[2:3], _NEEDED[3:])
    remotes = zip(_ARCHIVES.items(), gives, strict=True)
    fetch_missing([Remote(url=_URL + file, md5=md5, gives=given) for (file, md5), given in remotes], folder)
