"""Matrix products that give the same bits for any number of threads and shards.

The value of one entry of a product depends on the shapes of both operands, on their alignment in memory and on how many
threads the library splits the work over. So operands of a tile always have the tile's shape, live in memory that torch
allocated (aligned to 64 bytes), and every product runs on one thread; threads run over tiles instead.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from labelbench_ray.shards import ShardRows
from labelbench_ray.types import Floats

R = TypeVar("R")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Products inside run on one thread each, also in threads started inside; the setting before is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_tiles(rows: ShardRows, work: Callable[[int], R]) -> list[R]:
    """``work(tile)`` for each tile of the shard, results in tile order, products single-threaded."""
    with single_threaded():
        return rows.map_tiles(work)


def operand(rows: Floats) -> torch.Tensor:
    """A float32 copy in aligned, contiguous memory, ready to be an operand. Keeps the shape."""
    copy = torch.empty(rows.shape, dtype=torch.float32)
    copy.numpy()[...] = rows
    return copy


def padded_operand(rows: Floats, num_rows: int) -> torch.Tensor:
    """The same with zero rows added up to ``num_rows``, so that blocks of any fill multiply alike."""
    assert len(rows) <= num_rows
    copy = torch.zeros((num_rows, *rows.shape[1:]), dtype=torch.float32)
    copy.numpy()[: len(rows)] = rows
    return copy


def product(left_TD: torch.Tensor, right_BD: torch.Tensor) -> Floats:
    """(T, B) ``left @ right.T`` of two operands, as a numpy view. Call it inside ``over_tiles``."""
    result: Floats = torch.mm(left_TD, right_BD.T).numpy()
    return result


def squared_norms(rows_ND: Floats) -> Floats:
    """(N,) squared lengths, in float64."""
    wide_ND = np.asarray(rows_ND, np.float64)
    norms: Floats = np.einsum("nd,nd->n", wide_ND, wide_ND)
    return norms
