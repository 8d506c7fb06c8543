"""A folder of image files, one folder per split and class."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import check_templates, checked_splits
from labelbench_ray.datasets.decode import decode_rgb
from labelbench_ray.datasets.memory import checked_ids
from labelbench_ray.datasets.opened import About, OpenedSplits, existing, size_text
from labelbench_ray.datasets.splits import complete_splits
from labelbench_ray.errors import UNREACHABLE, DataError, UndecodableImageError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS, Ids, Image, Split

_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"])
_LAYOUT = "a folder with train/<class>/<image> and test/<class>/<image> (and val/ if there is one)"


def split_images(root: Path) -> Iterator[str]:
    """The images of all splits: notes, hidden files and thumbnails beside them are no part of the data."""
    return (file for split in SPLITS for folder in class_folders(root / split) for file in image_files(folder))


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Images in ``path/{train,val,test}/<class>/``. Ids follow the sorted relative paths; without val, test is halved.

    Classes are the folders of train, sorted. Links to folders are followed; hidden files and files that are not images
    by their suffix are passed over. ``on_undecodable`` says what embedding does with an image that cannot be decoded.
    """

    name: ClassVar[str] = "image_folder"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    path: Path = content_path(files=split_images)
    on_undecodable: Literal["refuse", "skip"] = "refuse"
    can_flip: bool = True
    templates: tuple[str, ...] = ("a photo of a {}.",)
    about: About = placement(About())

    def __post_init__(self) -> None:
        check_templates("dataset image_folder", self.templates)

    def open(self) -> OpenedSplits:
        """List the files. Raises DataError naming the split or class folder that is missing."""
        root = existing(self.name, self.path, _LAYOUT)
        files = {split: list_images(root / split) for split in SPLITS}
        if not any(files.values()):
            raise DataError(
                self.name, f"no image below train/, val/ or test/ in {root}; expected {_LAYOUT}{_hint(root)}"
            )
        for split in ("train", "test"):
            if not files[split]:
                raise DataError(self.name, f"no image in {root / split}/<class>/; `path` must be {_LAYOUT}")
        class_names = tuple(folder.name for folder in class_folders(root / "train"))
        rows, rule = complete_splits(self.name, {split: np.arange(len(files[split])) for split in SPLITS})
        numbers = {split: self._class_numbers(split, files[split], class_names) for split in SPLITS}
        # Where test was halved, the files of val are files of test.
        source = {split: split if files[split] else "test" for split in SPLITS}
        labels = checked_splits(
            self.name, {split: numbers[source[split]][rows[split]] for split in SPLITS}, class_names
        )
        images = {
            split: ImageFiles(root, split, tuple(files[source[split]][row] for row in rows[split])) for split in SPLITS
        }
        card = DatasetCard(
            name=self.name,
            title=self.about.title or root.name,
            revision=content_fingerprint(root, split_images),
            class_names=class_names,
            num_examples={split: len(rows[split]) for split in SPLITS},
            split_rule=f"folders; {rule}",
            licence=self.about.licence,
            citation=self.about.citation,
            approximate_size=size_text(
                sum(file_size(self.name, root / file) for split in SPLITS for file in files[split])
            ),
            can_flip=self.can_flip,
            templates=self.templates,
        )
        return OpenedSplits(card, labels, images)

    def _class_numbers(self, split: Split, files: list[str], class_names: tuple[str, ...]) -> Ids:
        number_of = {name: number for number, name in enumerate(class_names)}
        names = [file.split("/")[1] for file in files]
        for name in names:
            if name not in number_of:
                raise DataError(self.name, f"class {name!r} of {split} has no folder in train; add it there")
        return np.array([number_of[name] for name in names], np.int64)


def _hint(root: Path) -> str:
    """What to do with classes that are not parted into splits."""
    found = [folder.name for folder in class_folders(root)]
    return f"; sort {found[0]}/ and the others into these, or list the images in a table (`csv`)" if found else ""


def class_folders(split_folder: Path) -> list[Path]:
    """The folders of the classes, sorted by name; none when there is no such split."""
    if not split_folder.is_dir():
        return []
    return sorted(entry for entry in split_folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def list_images(split_folder: Path) -> list[str]:
    """Paths of a split's images relative to the data set, ``train/cat/1.jpg``, sorted by code point."""
    first = len(str(split_folder.parent).rstrip("/")) + 1
    return sorted(file[first:] for folder in class_folders(split_folder) for file in image_files(folder))


def file_size(dataset: str, file: Path) -> int:
    """In bytes. Raises DataError for a link to nothing."""
    try:
        return file.stat().st_size
    except OSError as error:
        raise DataError(dataset, f"{file} cannot be read ({error.strerror}); repair the link or remove it") from None


def image_files(folder: Path) -> Iterator[str]:
    """Paths of all images below a folder, by their suffix; hidden files and folders are passed over."""
    for where, inner, names in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]  # such as .ipynb_checkpoints, full of copies
        for name in names:
            if not name.startswith(".") and name[name.rfind(".") :].lower() in _SUFFIXES:
                yield f"{where}/{name}"  # a Path takes ten times as long, and there may be a million


class ImageFiles:
    """The image files of one split. They are named, as reading needs it, by paths that include the class folder."""

    def __init__(self, root: Path, split: Split, files: tuple[str, ...], dataset: str = ImageFolder.name) -> None:
        self._dataset = dataset
        self._root = root
        self._split = split
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def read(self, ids: Ids) -> list[Image]:
        """Decode the images of these ids, in this order. Raises UndecodableImageError naming the id and file."""
        return [self._read_one(int(example_id)) for example_id in checked_ids(ids, len(self))]

    def name_of(self, example_id: int) -> str:
        """Its path."""
        return self._files[example_id]

    def _read_one(self, example_id: int) -> Image:
        file = self._files[example_id]
        try:
            return decode_rgb((self._root / file).read_bytes())
        except ValueError as error:
            reason = str(error)
        except OSError as error:
            if error.errno in UNREACHABLE:  # nothing is wrong with the image
                raise
            reason = error.strerror or str(error)
        raise UndecodableImageError(self._dataset, self._split, example_id, file, reason)
