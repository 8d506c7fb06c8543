"""CIFAR-10 and CIFAR-100 in the folders that torchvision (and the authors' archives) make."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_splits
from labelbench_ray.datasets.fetching import Remote, fetch_missing, require_files
from labelbench_ray.datasets.memory import DecodedImages
from labelbench_ray.datasets.opened import OpenedSplits, folder_inside, size_text
from labelbench_ray.datasets.pickled_batch import read_pickled_batch
from labelbench_ray.datasets.splits import HALVED, complete_splits
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import Labels, Split

_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

# The prompts that CLIP's authors publish for both data sets.
_TEMPLATES = tuple(
    f"{start} {article} {{}}."
    for article in ("a", "the")
    for start in (
        "a photo of",
        "a blurry photo of",
        "a black and white photo of",
        "a low contrast photo of",
        "a high contrast photo of",
        "a bad photo of",
        "a good photo of",
    )
) + tuple(f"a photo of {article} {size} {{}}." for article in ("a", "the") for size in ("small", "big"))


_URL = "https://www.cs.toronto.edu/~kriz/"

Part = Literal["train", "test"]
_PARTS: tuple[Part, Part] = ("train", "test")


@dataclass(frozen=True)
class Layout:
    """Where the authors' archive puts what."""

    folder: str
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_key: str
    archive: str
    md5: str

    def files(self) -> tuple[str, ...]:
        """Every file that is needed."""
        return self.train_files + self.test_files

    def paths(self, folder: Path) -> list[Path]:
        """Those of a folder: what else lies in it (``batches.meta``, ``readme.html``) is no part of the identity."""
        return [folder / file for file in self.files()]

    def in_words(self) -> str:
        """What a path must be."""
        return f"the folder that holds {self.folder}/ with {', '.join(self.files())}, as unpacked from {self.archive}"


LAYOUT_10 = Layout(
    folder="cifar-10-batches-py",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_files=("test_batch",),
    label_key="labels",
    archive="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
)
LAYOUT_100 = Layout(
    folder="cifar-100-python",
    train_files=("train",),
    test_files=("test",),
    label_key="fine_labels",
    archive="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
)


def _card(name: str, title: str, layout: Layout, class_names: tuple[str, ...]) -> DatasetCard:
    return DatasetCard(
        name=name,
        title=title,
        revision=f"{layout.archive}, md5 {layout.md5}",
        class_names=class_names,
        num_examples={"train": 50_000, "val": 5_000, "test": 5_000},
        split_rule=f"train as given; {HALVED}",
        licence="none stated by the authors; used for research",
        citation="Krizhevsky, 2009, Learning Multiple Layers of Features from Tiny Images",
        approximate_size="170 MiB",
        templates=_TEMPLATES,
    )


@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """60,000 images of 32 x 32 pixels in 10 classes.

    ``path`` is the folder that holds the folder of the batches (torchvision's ``root``), or the latter itself.
    """

    name: ClassVar[str] = "cifar10"
    layout: ClassVar[str] = LAYOUT_10.in_words()
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = _card(
        "cifar10",
        "CIFAR-10",
        LAYOUT_10,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
    path: Path = content_path(files=LAYOUT_10.paths)
    download: bool = placement(False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", folder_inside(self.path, LAYOUT_10.folder))

    def open(self) -> OpenedSplits:
        """Read the labels, and the images when they are asked for. Raises DataError naming the files that it needs."""
        return open_cifar(self.card, LAYOUT_10, self.path, self.download)


@dataclass(frozen=True, kw_only=True)
class Cifar100:
    """60,000 images of 32 x 32 pixels in 100 classes.

    ``path`` is the folder that holds the folder of the batches (torchvision's ``root``), or the latter itself.
    """

    name: ClassVar[str] = "cifar100"
    layout: ClassVar[str] = LAYOUT_100.in_words()
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = _card(
        "cifar100",
        "CIFAR-100",
        LAYOUT_100,
        tuple(name.replace("_", " ") for name in _CIFAR100_CLASSES.split()),
    )
    path: Path = content_path(files=LAYOUT_100.paths)
    download: bool = placement(False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", folder_inside(self.path, LAYOUT_100.folder))

    def open(self) -> OpenedSplits:
        """Read the labels, and the images when they are asked for. Raises DataError naming the files that it needs."""
        return open_cifar(self.card, LAYOUT_100, self.path, self.download)


def open_cifar(card: DatasetCard, layout: Layout, path: Path, download: bool) -> OpenedSplits:
    """Open either data set. Raises DataError naming the layout when a file is missing."""
    folder = path.expanduser().resolve()
    fetch = functools.partial(_fetch, layout, folder) if download else None
    require_files(card.name, folder, layout.files(), layout.in_words(), fetch)
    official = {part: read_part(card.name, layout, folder, part)[1] for part in _PARTS}
    rows, rule = complete_splits(card.name, {part: np.arange(len(official[part])) for part in _PARTS})
    raw = {split: official[_part_of(split)][rows[split]] for split in rows}
    labels = checked_splits(card.name, raw, card.class_names)
    found = replace(
        card,
        revision=content_fingerprint(folder, layout.paths),
        num_examples={split: len(rows[split]) for split in rows},
        split_rule=rule,
        approximate_size=size_text(sum((folder / file).stat().st_size for file in layout.files())),
    )
    sources = {
        split: DecodedImages(len(rows[split]), functools.partial(read_images, card.name, layout, folder, split))
        for split in rows
    }
    return OpenedSplits(found, labels, sources)


def _fetch(layout: Layout, folder: Path) -> None:
    gives = tuple(f"{layout.folder}/{file}" for file in layout.files())
    fetch_missing([Remote(url=_URL + layout.archive, md5=layout.md5, gives=gives)], folder.parent)


def read_images(dataset: str, layout: Layout, folder: Path, split: Split) -> NDArray[np.uint8]:
    """(N, 32, 32, 3) images of a split."""
    images_NHWC, _ = read_part(dataset, layout, folder, _part_of(split))
    if split == "train":
        return images_NHWC
    rows, _ = complete_splits(dataset, {"train": np.arange(1), "test": np.arange(len(images_NHWC))})
    return images_NHWC[rows[split]]


def read_part(dataset: str, layout: Layout, folder: Path, part: Part) -> tuple[NDArray[np.uint8], Labels]:
    """(N, 32, 32, 3) images and (N,) labels of the official training or test part, in torchvision's order."""
    files = layout.train_files if part == "train" else layout.test_files
    batches = [read_pickled_batch(dataset, folder / file, layout.label_key) for file in files]
    planes_NCHW = np.concatenate([rows for rows, _ in batches]).reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes_NCHW.transpose(0, 2, 3, 1)), np.concatenate([labels for _, labels in batches])


def _part_of(split: Split) -> Part:
    return "train" if split == "train" else "test"
