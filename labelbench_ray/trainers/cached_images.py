"""Images that are decoded once, as far as memory goes."""

import numpy as np

from labelbench_ray.types import Ids, Image, Images


class CachedImages:
    """Keeps the first images read, up to a size, so that they are decoded once."""

    def __init__(self, images: Images, gib: float) -> None:
        self._images = images
        self._left = int(gib * 2**30)
        self._kept: dict[int, Image] = {}

    def read(self, ids: Ids) -> list[Image]:
        """Decoded images of these ids, in this order."""
        missing = np.array([i for i in ids.tolist() if i not in self._kept], np.int64)
        fresh = dict(zip(missing.tolist(), self._images.read(missing), strict=True)) if len(missing) else {}
        for example_id, image in fresh.items():
            if image.nbytes <= self._left:
                self._kept[example_id] = image
                self._left -= image.nbytes
        return [self._kept[i] if i in self._kept else fresh[i] for i in ids.tolist()]
