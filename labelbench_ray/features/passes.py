"""What turns ids of a split into rows to store: images through an encoder, or vectors as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from labelbench_ray.datasets.base import OpenDataset
from labelbench_ray.encoders.base import LoadedEncoder
from labelbench_ray.errors import SpecError, UndecodableImageError
from labelbench_ray.features.key import FeatureKey
from labelbench_ray.features.shard_file import Undecodable
from labelbench_ray.kernels.augment import Moments, View, augment_images, augment_vectors, pool_moments
from labelbench_ray.types import Floats, Ids, Image, Images, Rows, Split

PLACEHOLDER: Image = np.zeros((8, 8, 3), np.uint8)
"""Stands for an image that cannot be decoded, so that its neighbours keep their places in the batch."""


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Rows of one batch of ids: (B, D) per view, and what could not be decoded."""

    rows: tuple[Floats, ...]
    undecodable: tuple[Undecodable, ...] = ()


class Pass(Protocol):
    """Made once per process; threads may share it."""

    weights: str

    def __call__(self, ids: Ids, views: tuple[View, ...]) -> EncodedBatch:
        """Rows of these ids in each view, from one decoding."""
        ...


class ImagePass:
    """Decode, augment, encode. Every batch is encoded at the same size."""

    def __init__(
        self, opened: OpenDataset, split: Split, encoder: LoadedEncoder, weights: str, batch_size: int
    ) -> None:
        self.weights = weights
        self._dataset, self._split, self._can_flip = opened.card.name, split, opened.card.can_flip
        self._images = opened.images(split)
        self._encoder = encoder
        self._batch_size = batch_size

    def __call__(self, ids: Ids, views: tuple[View, ...]) -> EncodedBatch:
        """Rows of these ids in each view, from one decoding; rows of undecodable images are zero."""
        images, undecodable = read_or_replace(self._images, ids)
        rows = tuple(self._encode(augment_images(images, ids, view, self._can_flip)) for view in views)
        bad = np.isin(ids, [image.example_id for image in undecodable])
        for encoded in rows:
            encoded[bad] = 0
        return EncodedBatch(rows, undecodable)

    def _encode(self, images: list[Image]) -> Floats:
        """(B, D). Filled up by repetition: a row's last bits can depend on the size of its batch."""
        filled = images + [images[-1]] * (self._batch_size - len(images))
        return np.array(self._encoder.encode(filled)[: len(images)])


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
        vectors = self._rows.take(ids)
        return EncodedBatch(tuple(augment_vectors(vectors, ids, view, self._pool) for view in views))


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
    return ImagePass(opened, key.split, loaded, weights_digest(loaded.module), key.encode_batch_size)
