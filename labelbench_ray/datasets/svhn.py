"""SVHN, the house numbers of Street View, in the MATLAB files of its authors."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_splits
from labelbench_ray.datasets.fetching import Remote, fetch_missing, require_files
from labelbench_ray.datasets.memory import DecodedImages
from labelbench_ray.datasets.opened import OpenedSplits, size_text
from labelbench_ray.datasets.splits import HALVED, complete_splits
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import Labels, Split

Part = Literal["train", "test"]
FILES: dict[Part, str] = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_URL = "http://ufldl.stanford.edu/housenumbers/"
_MD5: dict[Part, str] = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}
_LAYOUT = f"the folder that holds {' and '.join(FILES.values())}, as {_URL} has them"


def files_of(folder: Path) -> Iterator[Path]:
    """The two files, so that whatever else lies in the folder is no part of the identity."""
    return (folder / file for file in FILES.values())


@dataclass(frozen=True, kw_only=True)
class Svhn:
    """99,289 photographs of house numbers, 32 x 32 pixels around one digit; 10 classes, 6% to 19% of the pool each.

    ``path`` is the folder with train_32x32.mat and test_32x32.mat (http://ufldl.stanford.edu/housenumbers). The further
    training images of extra_32x32.mat are not used. The files call the digit nought 10; here its class is 0.
    """

    name: ClassVar[str] = "svhn"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="svhn",
        title="SVHN, cropped digits",
        revision=" and ".join(f"{FILES[part]}, md5 {_MD5[part]}" for part in FILES),
        class_names=tuple("0123456789"),
        num_examples={"train": 73_257, "val": 13_016, "test": 13_016},
        split_rule=f"train as given; {HALVED}",
        licence="for non-commercial use",
        citation="Netzer et al., 2011, Reading Digits in Natural Images with Unsupervised Feature Learning",
        approximate_size="235 MiB",
        can_flip=False,
        templates=('a photo of the number: "{}".',),  # CLIP's authors' prompt; LabelBench has none
    )
    path: Path = content_path(files=files_of)
    download: bool = placement(False)

    def open(self) -> OpenedSplits:
        """Read the labels, and the images when they are asked for. Raises DataError naming the file that is wrong."""
        folder = self.path.expanduser().resolve()
        download = functools.partial(_fetch, folder) if self.download else None
        require_files(self.name, folder, tuple(FILES.values()), _LAYOUT, download)
        official = {part: read_labels(folder, part) for part in FILES}
        rows, rule = complete_splits(self.name, {part: np.arange(len(official[part])) for part in official})
        raw = {split: official[_part_of(split)][rows[split]] for split in rows}
        card = replace(
            self.card,
            revision=content_fingerprint(folder, files_of),
            num_examples={split: len(rows[split]) for split in rows},
            split_rule=rule,
            approximate_size=size_text(sum(file.stat().st_size for file in files_of(folder))),
        )
        sources = {
            split: DecodedImages(len(rows[split]), functools.partial(read_images, folder, split)) for split in rows
        }
        return OpenedSplits(card, checked_splits(self.name, raw, card.class_names), sources)


def _fetch(folder: Path) -> None:
    fetch_missing([Remote(url=_URL + FILES[part], md5=_MD5[part]) for part in FILES], folder)


def read_labels(folder: Path, part: Part) -> Labels:
    """(N,) digits. Raises DataError unless there is one for each image."""
    raw = _read(folder / FILES[part], "y")
    numbers: Labels = raw.reshape(-1)
    if raw.size != max(raw.shape, default=0) or raw.dtype.kind not in "iuf":
        raise DataError(Svhn.name, f"`y` of {FILES[part]} must be (N, 1) numbers, got {raw.shape} of {raw.dtype}")
    shape = _shape_of_images(folder / FILES[part])
    if shape != (32, 32, 3, len(numbers)):
        raise DataError(Svhn.name, f"`X` of {FILES[part]} must be (32, 32, 3, {len(numbers)}), got {shape}")
    if (numbers == 0).any():
        told = f"`y` of {FILES[part]} holds a 0; the authors write the digit nought as 10, so get their file"
        raise DataError(Svhn.name, told)
    return np.where(numbers == 10, 0, numbers)


def read_images(folder: Path, split: Split) -> NDArray[np.uint8]:
    """(N, 32, 32, 3) images of a split. Raises DataError unless they are bytes."""
    part = _part_of(split)
    pixels_HWCN = _read(folder / FILES[part], "X")
    if pixels_HWCN.dtype != np.uint8:
        raise DataError(Svhn.name, f"`X` of {FILES[part]} must be bytes, got {pixels_HWCN.dtype}; get the file again")
    images_NHWC: NDArray[np.uint8] = np.ascontiguousarray(pixels_HWCN.transpose(3, 0, 1, 2))
    if split == "train":
        return images_NHWC
    rows, _ = complete_splits(Svhn.name, {"train": np.arange(1), "test": np.arange(len(images_NHWC))})
    return images_NHWC[rows[split]]


def _part_of(split: Split) -> Part:
    return "train" if split == "train" else "test"


def _read(file: Path, variable: str) -> NDArray[Any]:
    from scipy.io import loadmat

    with _reading(file, variable):
        values: NDArray[Any] = loadmat(file, variable_names=[variable])[variable]
        return values


def _shape_of_images(file: Path) -> tuple[int, ...]:
    """Without decompressing them."""
    from scipy.io import whosmat

    with _reading(file, "X"):
        shapes: dict[str, tuple[int, ...]] = {name: shape for name, shape, _ in whosmat(file)}
        return shapes["X"]


@contextlib.contextmanager
def _reading(file: Path, variable: str) -> Iterator[None]:
    """Turns what scipy raises of a file that is not MATLAB's, or damaged, into a DataError."""
    try:
        yield
    except KeyError:
        raise DataError(Svhn.name, f"{file.name} has no variable {variable!r}; get the file again") from None
    except MemoryError:
        raise
    except Exception as error:  # scipy's reader raises whatever it meets: zlib.error, ValueError, TypeError, OSError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(Svhn.name, f"{file} cannot be read as MATLAB ({reason}); remove it and get it again") from error
