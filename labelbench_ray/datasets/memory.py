"""Sources whose rows fit in memory.

Pickled, they are a recipe: the receiving process reads the rows when it first needs them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.types import Floats, Ids, Image


class LoadedOnce:
    """An array made by ``load()`` at its first use, and again after unpickling, never travelling itself."""

    def __init__(self, load: Callable[[], NDArray[Any]], array: NDArray[Any] | None = None) -> None:
        self._load = load
        self._array = array

    def __getstate__(self) -> dict[str, Any]:
        return {"_load": self._load, "_array": None}

    @property
    def array(self) -> NDArray[Any]:
        """The array."""
        if self._array is None:
            self._array = self._load()
        return self._array


class DecodedImages:
    """Images of one split that lie decoded in memory, (N, height, width, 3) uint8."""

    def __init__(self, num_images: int, load: Callable[[], NDArray[np.uint8]]) -> None:
        self._num_images = num_images
        self._images = LoadedOnce(load)

    def __len__(self) -> int:
        return self._num_images

    def read(self, ids: Ids) -> list[Image]:
        """Copies of the images of these ids, in this order."""
        return list(self._images.array[checked_ids(ids, self._num_images)])


class VectorsInMemory:
    """Vectors of one split, (N, D), as stored; ``vectors_ND`` are they where they have been read already."""

    def __init__(self, shape: tuple[int, int], load: Callable[[], Floats], vectors_ND: Floats | None = None) -> None:
        self.shape = shape
        self._vectors = LoadedOnce(load, vectors_ND)

    def slice(self, first: int, last: int) -> Floats:
        """Rows ``first..last-1``, without a copy."""
        rows: Floats = self._vectors.array[first:last]
        return rows

    def take(self, ids: Ids) -> Floats:
        """A copy of the rows of these ids, in this order."""
        rows: Floats = self._vectors.array[checked_ids(ids, self.shape[0])]
        return rows


def checked_ids(ids: Ids, num_rows: int) -> Ids:
    """The ids as int64; an id outside 0..N-1 is our own mistake (numpy would wrap a negative one silently)."""
    wanted = np.asarray(ids, np.int64)
    assert wanted.size == 0 or (wanted.min() >= 0 and wanted.max() < num_rows), "id outside the split"
    return wanted
