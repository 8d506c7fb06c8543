"""What turns ids of a split into rows to store: images through an encoder, or vectors as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from labelbench_ray.datasets.base import OpenDataset
from labelbench_ray.encoders.base import LoadedEncoder
from labelbench_ray.errors import SpecError, UndecodableImageError
from labelbench_ray.features.key import FeatureKey
from labelbench_ray.features.shard_file import Undecodable
from labelbench_ray.features.stages import Stopwatch, device_clock, shared_among
from labelbench_ray.kernels.augment import Moments, View, augment_batch, augment_vectors, pool_moments
from labelbench_ray.types import Floats, Ids, Image, Images, Rows, Split

if TYPE_CHECKING:
    import torch

PLACEHOLDER: Image = np.zeros((8, 8, 3), np.uint8)
"""Stands for an image that cannot be decoded, so that its neighbours keep their places in the batch."""


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Rows of one batch of ids: (B, D) per view, what could not be decoded, and where the time went."""

    rows: tuple[Floats, ...]
    undecodable: tuple[Undecodable, ...] = ()
    seconds: tuple[dict[str, float], ...] = ()
    """By stage for each view; what was done once for all views is shared evenly."""
    device_intervals: tuple[tuple[float, float], ...] = ()
    """When the device had work."""


class Pass(Protocol):
    """Made once per process; threads may share it."""

    weights: str

    def __call__(self, ids: Ids, views: tuple[View, ...]) -> EncodedBatch:
        """Rows of these ids in each view, from one decoding."""
        ...


class ImagePass:
    """Read and resize once; augment and encode once a view, on the encoder's device. Batches are of one size."""

    def __init__(
        self, opened: OpenDataset, split: Split, encoder: LoadedEncoder, weights: str, batch_size: int, device: str
    ) -> None:
        self.weights = weights
        self._dataset, self._split, self._can_flip = opened.card.name, split, opened.card.can_flip
        self._images = opened.images(split)
        self._encoder = encoder
        self._batch_size, self._device, self._clock = batch_size, device, device_clock(device)

    def __call__(self, ids: Ids, views: tuple[View, ...]) -> EncodedBatch:
        """Rows of these ids in each view; rows of undecodable images are zero."""
        once, each = Stopwatch(), [Stopwatch() for _ in views]
        with once.stage("read"):
            images, undecodable = read_or_replace(self._images, ids)
        with once.stage("prepare"):
            squares = self._encoder.squares(images).to(self._device)
        began = self._clock.now()
        rows = tuple(self._encode(squares, ids, view, watch) for view, watch in zip(views, each, strict=True))
        interval = (self._clock.seconds(began), self._clock.seconds(self._clock.now()))
        bad = np.isin(ids, [image.example_id for image in undecodable])
        for encoded in rows:
            encoded[bad] = 0
        return EncodedBatch(rows, undecodable, shared_among(once, each), (interval,))

    def _encode(self, squares: "torch.Tensor", ids: Ids, view: View, watch: Stopwatch) -> Floats:
        """(B, D). Filled up by repetition: a row's last bits can depend on the size of its batch."""
        import torch

        with watch.stage("augment"):
            seen = augment_batch(squares, ids, view, self._can_flip)
            missing = self._batch_size - len(ids)
            filled = torch.cat([seen, seen[-1:].expand(missing, *seen.shape[1:])]) if missing else seen
        with watch.stage("encode"):
            return np.array(self._encoder.embed(filled)[: len(ids)])


def read_or_replace(source: Images, ids: Ids) -> tuple[list[Image], tuple[Undecodable, ...]]:
    """The images of these ids, a placeholder where one cannot be decoded, and which those are."""
    try:
        return source.read(ids), ()
    except UndecodableImageError:  # tells the first only: look at each
        pairs = [_read_one(source, int(example_id)) for example_id in ids]
    return [image for image, _ in pairs], tuple(trouble for _, trouble in pairs if trouble is not None)


def _read_one(source: Images, example_id: int) -> tuple[Image, Undecodable | None]:
    try:
        return source.read(np.array([example_id]))[0], None
    except UndecodableImageError as error:
        *_, file, reason = error.args
        return PLACEHOLDER, Undecodable(example_id, str(file), str(reason))


class SkippingImages:
    """Images of which some cannot be decoded: those are black. Satisfies ``types.Images``."""

    def __init__(self, source: Images) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def read(self, ids: Ids) -> list[Image]:
        """The images of these ids, in this order."""
        return read_or_replace(self._source, ids)[0]

    def undecodable_ids(self, batch_size: int = 256) -> Ids:
        """Ids of images that cannot be decoded, found by decoding all."""
        batches = (np.arange(first, min(first + batch_size, len(self))) for first in range(0, len(self), batch_size))
        found = [trouble.example_id for ids in batches for trouble in read_or_replace(self._source, ids)[1]]
        return np.array(found, np.int64)


class VectorPass:
    """Vectors of a data set, in each view."""

    weights = "none"

    def __init__(self, rows: Rows, pool: Moments | None) -> None:
        self._rows = rows
        self._pool = pool

    def __call__(self, ids: Ids, views: tuple[View, ...]) -> EncodedBatch:
        """Rows of these ids in each view."""
        once, each = Stopwatch(), [Stopwatch() for _ in views]
        with once.stage("read"):
            vectors = self._rows.take(ids)
        rows = tuple(self._augment(vectors, ids, view, watch) for view, watch in zip(views, each, strict=True))
        return EncodedBatch(rows, seconds=shared_among(once, each))

    def _augment(self, vectors: Floats, ids: Ids, view: View, watch: Stopwatch) -> Floats:
        with watch.stage("augment"):
            return augment_vectors(vectors, ids, view, self._pool)


def make_pass(opened: OpenDataset, keys: Sequence[FeatureKey], device: str) -> Pass:
    """The pass that fits the data set, for keys that differ in views only.

    Raises SpecError if data set and encoder do not go together, WeightsError if the encoder cannot be loaded.
    """
    card, key = opened.card, keys[0]
    if (card.modality == "vector") != (key.encoder.name == "vectors"):
        fitting = "`encoder: vectors`" if card.modality == "vector" else "an encoder of images"
        complaint = f"{key.encoder.name} does not fit dataset {card.name} ({card.modality}); use {fitting}"
        raise SpecError("encoder", complaint)
    if card.modality == "vector":
        strong = any(key.view.kind == "strong" for key in keys)
        return VectorPass(opened.vectors(key.split), pool_moments(opened.vectors("train")) if strong else None)
    from labelbench_ray.encoders.weights import weights_digest

    loaded = key.encoder.load(device)
    return ImagePass(opened, key.split, loaded, weights_digest(loaded.module), key.encode_batch_size, device)
