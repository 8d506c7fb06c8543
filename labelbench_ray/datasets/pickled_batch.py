"""Reads the pickled batches of CIFAR without the power of pickle to run code.

torchvision guards the same files by their md5; this reader needs no guard, because it makes nothing but plain values
and numpy arrays, and so it also reads a folder of the same layout with other images in it.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.errors import DataError
from labelbench_ray.types import Labels

_VALUES_PER_IMAGE = 3 * 32 * 32


def read_pickled_batch(dataset: str, path: Path, label_key: str) -> tuple[NDArray[np.uint8], Labels]:
    """(N, 3072) uint8 images, plane by plane, and their (N,) labels. Raises DataError naming the file."""
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="latin1").load()
        images, labels = batch["data"], np.asarray(batch[label_key])
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = f"no entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(dataset, f"{path} is not a CIFAR batch ({reason}); unpack the archive again") from None
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_VALUES_PER_IMAGE,):
        raise DataError(dataset, f"{path}: `data` must be (N, {_VALUES_PER_IMAGE}) uint8; unpack the archive again")
    if len(images) != len(labels):
        raise DataError(dataset, f"{path} holds {len(images)} images, {len(labels)} labels; unpack the archive again")
    return images, labels


def _dtype(code: str, align: Any = False, copy: Any = False) -> np.dtype[Any]:
    # The archives were written by Python 2 with 0 and 1 for the flags, which numpy 2.4 warns about.
    return np.dtype(code, align=bool(align), copy=bool(copy))


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]
