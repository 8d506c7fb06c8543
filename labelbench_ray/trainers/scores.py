"""What a trained model says of every row, tile by tile: rebuilt from a small head, or read from files.

Both forms are cheap to pickle. A head is kilobytes and travels to the features; what end-to-end training wrote stays in
memory-mapped files that a copy opens again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.types import Floats, Rows, Task

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head as arrays: standardise, then linear layers with a rectifier between them.

    ``layers`` holds (weight (out, in), bias (out,)) in float32.
    """

    mean_D: NDArray[np.float32]
    scale_D: NDArray[np.float32]
    """One over the deviation."""
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.layers[-1][1])

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """All arrays by name, as they are saved."""
        named = {"mean": self.mean_D, "scale": self.scale_D}
        for number, (weight, bias) in enumerate(self.layers):
            named |= {f"layers.{number}.weight": weight, f"layers.{number}.bias": bias}
        return named


@dataclass(frozen=True, eq=False)
class HeadScores:
    """Scores of the rows of a split under a head. Satisfies ``shards.Scores``.

    Bit-identical for any thread count and whoever reads the tile: the last tile is padded, operands are aligned, and
    each product runs on one thread.
    """

    rows: Rows
    head: Head
    tile_rows: int
    task: Task = "multi_class"

    @property
    def num_rows(self) -> int:
        """N."""
        return self.rows.shape[0]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.head.num_classes

    @property
    def width(self) -> int:
        """D: what the last layer reads."""
        return int(self.head.layers[-1][0].shape[1])

    def probs(self, tile: int) -> Floats:
        """(T, C) softmax of the head's output, or its sigmoids where the task is multi_label."""
        from labelbench_ray.kernels.products import passing_operand, single_threaded

        with single_threaded():
            hidden_TD = self._last_input(passing_operand(self._stored(tile), self.tile_rows))
            logits_TC = _layer(hidden_TD, *self.head.layers[-1])
            probs_TC: Floats = (logits_TC.sigmoid() if self.task == "multi_label" else logits_TC.softmax(1)).numpy()
        return probs_TC

    def embeddings(self, tile: int) -> Floats:
        """(T, D) input of the last layer: standardised features, or the hidden layer's output."""
        from labelbench_ray.kernels.products import padded_operand, single_threaded

        with single_threaded():
            embeddings_TD: Floats = self._last_input(padded_operand(self._stored(tile), self.tile_rows)).numpy()
        return embeddings_TD

    def _stored(self, tile: int) -> Floats:
        first = tile * self.tile_rows
        return self.rows.slice(first, min(first + self.tile_rows, self.num_rows))

    def _last_input(self, values_TD: "torch.Tensor") -> "torch.Tensor":
        """What the last layer reads, of a tile's stored rows, which are overwritten."""
        from labelbench_ray.kernels.products import operand

        values_TD.sub_(operand(self.head.mean_D)).mul_(operand(self.head.scale_D))
        for weight, bias in self.head.layers[:-1]:
            values_TD = _layer(values_TD, weight, bias).relu_()
        return values_TD


def _layer(values_TD: "torch.Tensor", weight: NDArray[np.float32], bias: NDArray[np.float32]) -> "torch.Tensor":
    from labelbench_ray.kernels.products import operand, product

    return product(values_TD, operand(weight)).add_(operand(bias))


@dataclass(frozen=True)
class StoredScores:
    """Scores that end-to-end training wrote into a folder, a file per tile. Satisfies ``shards.Scores``.

    Pickled as the path; files are memory-mapped when read.
    """

    folder: Path
    num_rows: int
    num_classes: int
    tile_rows: int

    @property
    def width(self) -> int:
        """D, as the first tile has it."""
        return int(self.embeddings(0).shape[1])

    def probs(self, tile: int) -> Floats:
        """(T, C) probabilities as written; padded and excluded rows are zero."""
        return _open(self.folder / probs_file(tile))

    def embeddings(self, tile: int) -> Floats:
        """(T, D) embeddings as written; padded and excluded rows are zero."""
        return _open(self.folder / embeddings_file(tile))


def probs_file(tile: int) -> str:
    """Name of the file with a tile's probabilities."""
    return f"probs-{tile:06d}.npy"


def embeddings_file(tile: int) -> str:
    """Name of the file with a tile's embeddings."""
    return f"embeddings-{tile:06d}.npy"


def has_tile(folder: Path, tile: int) -> bool:
    """Whether a tile was written completely."""
    return (folder / probs_file(tile)).is_file()


def write_tile(folder: Path, tile: int, probs_TC: Floats, embeddings_TD: Floats) -> None:
    """Write a tile's two files, each under a temporary name first, the probabilities last (see ``has_tile``)."""
    for name, rows in ((embeddings_file(tile), embeddings_TD), (probs_file(tile), probs_TC)):
        draft = folder / f".{name}.draft"
        with draft.open("wb") as file:
            np.save(file, np.ascontiguousarray(rows, np.float32))
        draft.replace(folder / name)


def _open(file: Path) -> Floats:
    return np.asarray(np.load(file, mmap_mode="r"))
