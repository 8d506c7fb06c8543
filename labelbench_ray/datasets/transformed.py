"""``transformed``: a data set made of another by cutting, appending and renaming.

Why its features are those of the other: decisions/transforms_select_rows.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from labelbench_ray.datasets.base import DATASETS, Dataset, OpenDataset
from labelbench_ray.datasets.checks import checked_multi_label_splits, checked_splits
from labelbench_ray.datasets.made_of import MadeOf
from labelbench_ray.datasets.memory import checked_ids
from labelbench_ray.datasets.opened import OpenedSplits
from labelbench_ray.datasets.transforms import TRANSFORMS, Selected, in_words
from labelbench_ray.errors import SpecError, UndecodableImageError
from labelbench_ray.types import SPLITS, Floats, Ids, Image, Images, Rows, Split


@dataclass(frozen=True, kw_only=True)
class Transformed(MadeOf):
    """A data set ``of`` another, changed by the steps ``by``, one after another (``labelbench list transform``).

    Ids are positions in what is left. Steps keep rows in their order or append behind them, draw by their own seeds,
    and read labels alone: the stored features of ``of`` are read, and none are made for this data set.
    """

    name: ClassVar[str] = "transformed"
    layout: ClassVar[str] = "that of the data set of `of`"
    of: Any
    """A data set: a name or ``{name: ..., parameters}``."""
    by: tuple[Any, ...]
    """Steps: names or ``{name: ..., parameters}``."""

    def __post_init__(self) -> None:
        of = DATASETS.build(self.of, "dataset transformed: of")
        by = tuple(TRANSFORMS.build(step, "dataset transformed: by") for step in self.by)
        if not by:
            raise SpecError("dataset transformed", "`by` is empty; name a step, or the data set of `of` itself")
        if isinstance(of, Transformed):  # so that the same data have one identity
            of, by = of.of, of.by + by
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "by", by)

    def open(self) -> "OpenedSelection":
        """Open the data set that it is made of and take the steps. Raises DataError, or SpecError naming the step."""
        opened = self.of.open()
        selected = whole(opened)
        for step in self.by:
            selected = step.apply(selected)
        check = checked_multi_label_splits if opened.card.task == "multi_label" else checked_splits
        labels = check(self.name, selected.labels, selected.class_names)
        steps = ", then ".join(map(in_words, self.by))
        card = replace(
            opened.card,
            name=self.name,
            title=f"{opened.card.title}; {steps}",
            class_names=selected.class_names,
            open_set=selected.open_set,
            num_examples={split: len(labels[split]) for split in SPLITS},
            split_rule=f"{opened.card.split_rule}; then {steps}",
        )
        sources: dict[Split, Any] = {split: source(opened, split, selected.rows[split]) for split in SPLITS}
        return OpenedSelection(OpenedSplits(card, labels, sources), selected.rows)


class OpenedSelection:
    """An open data set that is a selection of rows of another."""

    def __init__(self, opened: OpenedSplits, rows: Mapping[Split, Ids]) -> None:
        self.card = opened.card
        self.labels = opened.labels
        self.images = opened.images
        self.vectors = opened.vectors
        self.rows = rows
        """(N,) ids of each split's rows in the data set that it was made of, whose features are stored."""


def embedded(dataset: Dataset) -> Dataset:
    """The data set whose features are stored and read for this one."""
    of: Dataset = dataset.of if isinstance(dataset, Transformed) else dataset
    return of


def whole(opened: OpenDataset) -> Selected:
    """All rows, as they are."""
    card = opened.card
    return Selected(
        rows={split: np.arange(card.num_examples[split], dtype=np.int64) for split in SPLITS},
        labels={split: opened.labels(split) for split in SPLITS},
        class_names=card.class_names,
        open_set=card.open_set,
    )


def source(
    opened: OpenDataset, split: Split, rows: Ids, dataset: str = Transformed.name
) -> "SelectedImages | SelectedRows":
    """These rows of a split, of an open data set, in one that is called ``dataset``."""
    if opened.card.modality == "image":
        return SelectedImages(opened.images(split), rows, dataset)
    return SelectedRows(opened.vectors(split), rows)


class SelectedImages:
    """Images of which some are left: image ``i`` is image ``rows[i]`` of the source. Satisfies ``types.Images``."""

    def __init__(self, source: Images, rows: Ids, dataset: str) -> None:
        self._dataset = dataset
        self._source = source
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, ids: Ids) -> list[Image]:
        """The images of these ids. Raises UndecodableImageError naming the id here, and the file."""
        wanted = self._rows[checked_ids(ids, len(self))]
        try:
            return self._source.read(wanted)
        except UndecodableImageError as error:
            _, split, row, *rest = error.args
            here = int(np.asarray(ids)[np.flatnonzero(wanted == row)[0]])
            raise UndecodableImageError(self._dataset, split, here, *rest) from None


class SelectedRows:
    """Vectors of which some are left: row ``i`` is row ``rows[i]`` of the source. Satisfies ``types.Rows``."""

    def __init__(self, source: Rows, rows: Ids) -> None:
        self._source = source
        self._rows = rows
        self.shape = (len(rows), source.shape[1])

    def slice(self, first: int, last: int) -> Floats:
        """Rows ``first..last-1``; without a copy where they lie together in the source too."""
        rows = self._rows[first:last]
        if len(rows) and (np.diff(rows) == 1).all():
            return self._source.slice(int(rows[0]), int(rows[-1]) + 1)
        return self._source.take(rows)

    def take(self, ids: Ids) -> Floats:
        """A copy of the rows of these ids, in this order."""
        return self._source.take(self._rows[checked_ids(ids, len(self._rows))])
