"""``near_duplicates``: a data set with rows in its pool that are nearly other rows of it.

They look different, so they are embedded: why this is no step of ``transformed`` is in
decisions/transforms_select_rows.md.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from labelbench_ray.datasets.base import DATASETS
from labelbench_ray.datasets.made_of import MadeOf
from labelbench_ray.datasets.memory import checked_ids
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.datasets.transform_rows import check_count, check_seed, first_drawn
from labelbench_ray.datasets.transformed import SelectedImages, SelectedRows, source
from labelbench_ray.errors import SpecError
from labelbench_ray.seeding import example_stream
from labelbench_ray.types import SPLITS, Floats, Ids, Image, Split

_WHERE = "dataset near_duplicates"


@dataclass(frozen=True, kw_only=True)
class NearDuplicates(MadeOf):
    """A data set ``of`` another, with ``copies`` of each of ``rows`` rows of train behind its own, a little changed.

    Images get another brightness, a factor within ``1 +- strength``, and noise whose deviation is ``strength`` of the
    range of a pixel; vectors get noise whose length is about ``strength`` of the vector's. What a copy looks like
    depends on ``seed`` and its own place in train alone. Labels are those of the originals; val and test stay as they
    are. Exact copies, which need no embedding, are the step ``duplicates`` of ``transformed``.
    """

    name: ClassVar[str] = "near_duplicates"
    layout: ClassVar[str] = "that of the data set of `of`"
    of: Any
    """A data set: a name or ``{name: ..., parameters}``."""
    rows: int
    copies: int = 1
    strength: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("rows", "copies"):
            if getattr(self, key) < 1:
                raise SpecError(_WHERE, f"`{key}` must be positive, got {getattr(self, key)}")
        if not 0 < self.strength <= 1:
            raise SpecError(_WHERE, f"`strength` must lie in (0, 1], got {self.strength}")
        check_seed(_WHERE, self.seed)
        object.__setattr__(self, "of", DATASETS.build(self.of, f"{_WHERE}: of"))

    def open(self) -> OpenedSplits:
        """Open the data set that it is made of. Raises DataError, or SpecError where train has fewer rows."""
        opened = self.of.open()
        card, first = opened.card, opened.card.num_examples["train"]
        check_count(_WHERE, f"`rows: {self.rows}`", self.rows, f"{first} rows of train", first)
        originals = np.sort(first_drawn(np.arange(first), self.rows, self.name, self.seed))
        rows_N = np.concatenate([np.arange(first), np.tile(originals, self.copies)])
        labels = {split: opened.labels(split) for split in SPLITS}
        sources: dict[Split, Any] = {
            split: opened.images(split) if card.modality == "image" else opened.vectors(split) for split in SPLITS
        }
        lengthened = source(opened, "train", rows_N, self.name)
        how = (first, self.strength, self.seed)
        if isinstance(lengthened, SelectedImages):
            sources["train"] = ChangedImages(lengthened, *how)
        else:
            sources["train"] = ChangedVectors(lengthened, *how)
        told = f"then {self.copies} near-duplicates of each of {self.rows} rows of train, strength {self.strength}"
        card = replace(
            card,
            name=self.name,
            title=f"{card.title}, near-duplicates of {self.rows} rows",
            num_examples={**card.num_examples, "train": len(rows_N)},
            split_rule=f"{card.split_rule}; {told}, seed {self.seed}",
        )
        return OpenedSplits(card, {**labels, "train": labels["train"][rows_N]}, sources)


class ChangedImages:
    """Images of which those from the ``first``-th id on are changed. Satisfies ``types.Images``."""

    def __init__(self, images: SelectedImages, first: int, strength: float, seed: int) -> None:
        self._images, self._first, self._strength, self._seed = images, first, strength, seed

    def __len__(self) -> int:
        return len(self._images)

    def read(self, ids: Ids) -> list[Image]:
        """The images of these ids. Raises UndecodableImageError naming the id here, and the file."""
        return [
            image if row < self._first else changed_image(image, row, self._strength, self._seed)
            for image, row in zip(self._images.read(ids), np.asarray(ids).tolist(), strict=True)
        ]


class ChangedVectors:
    """Vectors of which those from the ``first``-th id on are changed. Satisfies ``types.Rows``."""

    def __init__(self, vectors: SelectedRows, first: int, strength: float, seed: int) -> None:
        self._vectors, self._first, self._strength, self._seed = vectors, first, strength, seed
        self.shape = vectors.shape

    def slice(self, first: int, last: int) -> Floats:
        """Rows ``first..last-1``; without a copy where none of them is changed."""
        last = min(last, self.shape[0])
        return self._vectors.slice(first, last) if last <= self._first else self.take(np.arange(first, last))

    def take(self, ids: Ids) -> Floats:
        """A copy of the rows of these ids, in this order."""
        wanted = checked_ids(ids, self.shape[0])
        rows_BD = self._vectors.take(wanted)
        for place in np.flatnonzero(wanted >= self._first).tolist():
            rows_BD[place] = changed_vector(rows_BD[place], int(wanted[place]), self._strength, self._seed)
        return rows_BD


def changed_image(image: Image, row: int, strength: float, seed: int) -> Image:
    """Another brightness, and noise on every value."""
    rng = example_stream(seed, NearDuplicates.name, row)
    brightness = 1 + strength * rng.uniform(-1, 1)
    noise = 255 * strength * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image * np.float32(brightness) + noise), 0, 255).astype(np.uint8)


def changed_vector(vector_D: Floats, row: int, strength: float, seed: int) -> Floats:
    """``x + strength |x| n / sqrt(D)`` with ``n`` standard normal, in the type that the vector is stored in."""
    noise_D = example_stream(seed, NearDuplicates.name, row).standard_normal(len(vector_D), np.float32)
    x_D = vector_D.astype(np.float32)
    scale = np.float32(strength) * np.sqrt(np.square(x_D).sum() / np.float32(len(x_D)))
    moved: Floats = (x_D + scale * noise_D).astype(vector_D.dtype)
    return moved
