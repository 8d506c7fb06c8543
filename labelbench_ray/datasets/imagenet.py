"""ImageNet (ILSVRC 2012) in the folders that torchvision makes of the authors' archives."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_splits
from labelbench_ray.datasets.image_folder import ImageFiles, class_folders, image_files, list_images
from labelbench_ray.datasets.opened import OpenedSplits, existing
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint, images_by_size
from labelbench_ray.identity import content_path
from labelbench_ray.types import Ids, Labels, Split

_LAYOUT = (
    "a folder with train/<WordNet id>/*.JPEG and val/<WordNet id>/*.JPEG, 1,000 ids such as n01440764 in each, as "
    "torchvision.datasets.ImageNet makes it of ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz (from https://image-net.org, after signing in)"
)

CLASSES: dict[str, str] = json.loads(Path(__file__).with_name("imagenet_classes.json").read_text("utf-8"))
"""WordNet ids in order, and the names that CLIP's authors gave them and LabelBench uses.

Two names stand twice in their list. Here n04008634 is "projectile" and n04355933 "sunglass", as WordNet has them.
"""

# The 80 prompts that CLIP's authors publish.
_WITH_BOTH_ARTICLES = (
    *("a photo of", "a bad photo of", "a good photo of", "a blurry photo of", "a bright photo of", "a dark photo of"),
    *("a cropped photo of", "a close-up photo of", "a pixelated photo of", "a low resolution photo of"),
    *("a jpeg corrupted photo of", "a black and white photo of", "a sculpture of", "a rendering of", "a rendition of"),
    *("a drawing of", "a doodle of", "a sketch of", "a painting of", "a tattoo of", "graffiti of", "art of", "itap of"),
)
_KINDS = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")
_MANNERS = ("clean", "dirty", "cool", "nice", "weird", "small", "large", "hard to see")
_TEMPLATES = (
    *(f"{start} {article} {{}}." for start in _WITH_BOTH_ARTICLES for article in ("a", "the")),
    *(f"a photo of {article} {manner} {{}}." for manner in _MANNERS for article in ("a", "the")),
    *(f"{article} {kind} {{}}." for kind in _KINDS for article in ("a", "the")),
    *(f"{article} {{}} in a video game." for article in ("a", "the")),
    *("a photo of many {}.", "a photo of my {}.", "a photo of one {}.", "itap of my {}."),
)


def _parts(root: Path) -> Iterator[str]:
    """The images of train and val, so that archives lying beside them are no part of the identity."""
    return (file for part in ("train", "val") for folder in class_folders(root / part) for file in image_files(folder))


@dataclass(frozen=True, kw_only=True)
class ImageNet:
    """1.28 million photographs of 1,000 classes (ILSVRC 2012), 732 to 1,300 a class in the pool.

    ``path`` is the folder that holds train/ and val/, each with a folder of images per WordNet id. Of the official
    validation images, whose test labels were never published, a quarter is val and the rest test, as LabelBench draws
    them. It must be fetched by hand: its authors ask to sign in. Of the images, names and sizes are the identity.
    """

    name: ClassVar[str] = "imagenet"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="imagenet",
        title="ImageNet (ILSVRC 2012)",
        revision="ILSVRC2012_img_train.tar, md5 1d675b47d978889d74fa0da5fadfb00e, "
        "and ILSVRC2012_img_val.tar, md5 29b22e2961454d5413ddabcf34fc5622",
        class_names=tuple(CLASSES.values()),
        num_examples={"train": 1_281_167, "val": 12_500, "test": 37_500},
        split_rule="train as given; val is the first quarter of torch.randperm of the official validation images with "
        "seed 42, test the rest",
        licence="for non-commercial research and education",
        citation="Russakovsky et al., 2015, ImageNet Large Scale Visual Recognition Challenge",
        approximate_size="144 GiB",
        templates=_TEMPLATES,
    )
    path: Path = content_path(files=_parts, told_by=images_by_size)
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def open(self) -> OpenedSplits:
        """List the files. Raises DataError naming the split or class folder that is wrong."""
        root = existing(self.name, self.path, _LAYOUT)
        train, official = (list_images(root / part) for part in ("train", "val"))
        _refuse_empty(root, "train", train)
        _refuse_empty(root, "val", official)
        to_val, to_test = quarter_of(len(official))
        files: dict[Split, list[str]] = {
            "train": train,
            "val": [official[row] for row in to_val],
            "test": [official[row] for row in to_test],
        }
        card = replace(
            self.card,
            revision=content_fingerprint(root, _parts, images_by_size),
            num_examples={split: len(files[split]) for split in files},
        )
        raw = {split: class_numbers(files[split]) for split in files}
        labels = checked_splits(self.name, raw, card.class_names)
        return OpenedSplits(
            card, labels, {split: ImageFiles(root, split, tuple(files[split]), self.name) for split in files}
        )


def quarter_of(num_rows: int) -> tuple[Ids, Ids]:
    """Positions of the official validation images that become val and test.

    As ``torch.utils.data.random_split`` draws them from a generator of seed 42 (LabelBench,
    ``LabelBench/dataset/dataset_impl/imagenet_dataset.py``).
    """
    import torch

    order: Ids = torch.randperm(num_rows, generator=torch.Generator().manual_seed(42)).numpy()
    return order[: num_rows // 4], order[num_rows // 4 :]


def class_numbers(files: list[str]) -> Labels:
    """(N,) numbers of the folders that the files lie in. Raises DataError for one that is no class."""
    number_of = {wordnet_id: number for number, wordnet_id in enumerate(CLASSES)}
    numbers_N = np.empty(len(files), np.int64)
    for row, file in enumerate(files):
        part, wordnet_id = file.split("/")[:2]
        if wordnet_id not in number_of:
            told = f"folder {part}/{wordnet_id} is none of the 1,000 WordNet ids; remove it, or use `image_folder`"
            raise DataError(ImageNet.name, told)
        numbers_N[row] = number_of[wordnet_id]
    return numbers_N


def _refuse_empty(root: Path, part: str, files: list[str]) -> None:
    if files:
        return
    if any((root / part).glob("*.JPEG")):
        told = f"{root / part} holds images, but no folder of a class; sort them as torchvision.datasets.ImageNet does"
        raise DataError(ImageNet.name, told)
    raise DataError(ImageNet.name, f"no image below {root / part}; expected {_LAYOUT}")
