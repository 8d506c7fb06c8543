"""KMNIST-49 (Kuzushiji-49): cursive Japanese characters of old books."""

import functools
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard, halve_test
from labelbench_ray.datasets.checks import checked_splits
from labelbench_ray.datasets.fetching import Remote, fetch_missing, require_files
from labelbench_ray.datasets.memory import DecodedImages
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS, Ids, Split

_URL = "http://codh.rois.ac.jp/kmnist/dataset/k49/"
# The authors publish none; four public repositories that read these files agree on them.
_MD5 = {
    "k49-train-imgs.npz": "7ac088b20481cf51dcd01ceaab89d821",
    "k49-train-labels.npz": "44a8e1b893f81e63ff38d73cad420f7a",
    "k49-test-imgs.npz": "d352e201d846ce6b94f42c990966f374",
    "k49-test-labels.npz": "4da6f7a62e67a832d5eb1bd85c5ee448",
}
_LAYOUT = f"the folder that holds {', '.join(_MD5)} of {_URL}"
_CHARACTERS = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわゐゑをんゝ"


def _own_files(folder: Path) -> list[Path]:
    return [folder / file for file in _MD5]


@dataclass(frozen=True, kw_only=True)
class Kmnist49:
    """Cursive characters of 28 x 28 grey pixels in 49 unbalanced classes; as published, a tenth of the images.

    ``path`` is the folder that holds the four files of the authors, ``k49-train-imgs.npz`` and so on.
    """

    name: ClassVar[str] = "kmnist49"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="kmnist49",
        title="KMNIST-49 (Kuzushiji-49)",
        revision=f"k49-train-imgs.npz, md5 {_MD5['k49-train-imgs.npz']}",
        class_names=tuple(_CHARACTERS),
        num_examples={"train": 23_236, "val": 1_927, "test": 1_927},
        split_rule=(
            "train: the first tenth of np.random.RandomState(42).permutation(official train); val and test: the first "
            "tenth of np.random.RandomState(21).permutation(official test), halved by RandomState(42).permutation"
        ),
        main_metric="balanced_accuracy",
        licence="CC BY-SA 4.0",
        citation="Clanuwat et al., 2018, Deep Learning for Classical Japanese Literature, arXiv:1812.01718",
        approximate_size="80 MiB",
        can_flip=False,
        templates=('a photo of the character: "{}".',),
    )
    path: Path = content_path(files=_own_files)
    download: bool = placement(False)

    def open(self) -> OpenedSplits:
        """Read the labels, and the images when they are asked for. Raises DataError naming the files that it needs."""
        folder = Path(self.path).expanduser().resolve()
        require_files(
            self.name, folder, tuple(_MD5), _LAYOUT, functools.partial(_fetch, folder) if self.download else None
        )
        raw = {split: _read(folder, split, "labels") for split in SPLITS}
        rows = {split: published_rows(split, len(raw[split])) for split in SPLITS}
        labels = checked_splits(self.name, {split: raw[split][rows[split]] for split in SPLITS}, self.card.class_names)
        counts = {split: len(rows[split]) for split in SPLITS}
        images = {
            split: DecodedImages(counts[split], functools.partial(read_images, folder, split, len(raw[split])))
            for split in SPLITS
        }
        card = replace(self.card, revision=content_fingerprint(folder, _own_files), num_examples=counts)
        return OpenedSplits(card, labels, images)


def published_rows(split: Split, num_official: int) -> Ids:
    """Rows of the official part that are this split (LabelBench, ``kuzushiji_dataset.py``)."""
    seed = 42 if split == "train" else 21
    tenth = np.random.RandomState(seed).permutation(num_official)[: num_official // 10].astype(np.int64)
    if split == "train":
        return tenth
    to_val, to_test = halve_test(len(tenth))
    return tenth[to_val if split == "val" else to_test]


def read_images(folder: Path, split: Split, num_labels: int) -> NDArray[np.uint8]:
    """(N, 28, 28, 3) images of a split, ink white on black. Raises DataError naming a file that is not as published."""
    grey_NHW = _read(folder, split, "imgs")
    if grey_NHW.shape != (num_labels, 28, 28) or grey_NHW.dtype != np.uint8:
        told = f"{_file(split, 'imgs')} must hold ({num_labels}, 28, 28) uint8, as there are {num_labels} labels"
        raise DataError(Kmnist49.name, f"{told}, got {grey_NHW.shape} {grey_NHW.dtype}; fetch it again")
    return np.repeat(grey_NHW[published_rows(split, num_labels), :, :, None], 3, axis=-1)


def _read(folder: Path, split: Split, what: str) -> NDArray[Any]:
    file = folder / _file(split, what)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            array: NDArray[Any] = arrays["arr_0"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(Kmnist49.name, f"{file} is not a file of KMNIST-49 ({reason}); fetch it again") from None
    return array


def _file(split: Split, what: str) -> str:
    return f"k49-{'train' if split == 'train' else 'test'}-{what}.npz"


def _fetch(folder: Path) -> None:
    fetch_missing([Remote(url=_URL + file, md5=md5) for file, md5 in _MD5.items()], folder)
