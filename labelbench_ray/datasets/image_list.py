"""Opening of published data sets whose images are files named by a list, with labels of their own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.image_folder import ImageFiles
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import Files, content_fingerprint, images_by_size
from labelbench_ray.types import SPLITS, Labels, Split


def open_image_list(
    card: DatasetCard, root: Path, counted: Files, files: Mapping[Split, Sequence[str]], labels: Mapping[Split, Labels]
) -> OpenedSplits:
    """Open checked labels and the images of these paths below the root. Raises DataError naming a missing image.

    ``counted`` are the files that are the revision, images by their sizes, as of the field ``path``.
    """
    refuse_missing_images(card.name, root, files)
    found = replace(
        card,
        revision=content_fingerprint(root, counted, images_by_size),
        num_examples={split: len(files[split]) for split in SPLITS},
    )
    images = {split: ImageFiles(root, split, tuple(files[split]), card.name) for split in SPLITS}
    return OpenedSplits(found, labels, images)


def refuse_missing_images(
    dataset: str, root: Path, files: Mapping[Split, Sequence[str]], what_to_do: str = "unpack the archive again"
) -> None:
    """Raise DataError naming the first image that is not there."""
    present: dict[str, set[str]] = {}  # listed once a folder: a look at each of 200,000 files takes far longer
    for split in SPLITS:
        for file in files[split]:
            folder, _, name = file.rpartition("/")
            if folder not in present:
                present[folder] = _names_in(root / folder)
            if name not in present[folder]:
                raise DataError(dataset, f"no image {file} in {root}, though {split} needs it; {what_to_do}")


def _names_in(folder: Path) -> set[str]:
    """Of files; what is no folder has none."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:  # which knows without a look at each that it is no folder
        return {entry.name for entry in entries if entry.is_file()}
