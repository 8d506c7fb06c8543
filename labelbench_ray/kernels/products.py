"""The one entry point for matrix products: same bits for any number of threads and shards, fastest path of the machine.

The value of one entry of a product depends on the shapes of both operands, on their alignment in memory and on how many
threads the library splits the work over. So operands of a tile always have the tile's shape, live in memory that torch
allocated (aligned to 64 bytes), and every product runs on one thread; threads run over tiles instead.

Two kinds: ``product`` is float32; ``rough_product`` takes operands rounded to the fastest dtype of the device (bfloat16
where the processor multiplies it), for bounds and proposals that something exact decides on afterwards.
"""

import functools
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

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


def operand(rows: Floats, device: str = "cpu") -> torch.Tensor:
    """A float32 copy in aligned, contiguous memory, ready to be an operand. Keeps the shape."""
    copy = torch.empty(rows.shape, dtype=torch.float32)
    copy.numpy()[...] = rows
    return copy.to(device)


def padded_operand(rows: Floats, num_rows: int, device: str = "cpu") -> torch.Tensor:
    """The same with zero rows added up to ``num_rows``, so that blocks of any fill multiply alike."""
    assert len(rows) <= num_rows
    copy = torch.zeros((num_rows, *rows.shape[1:]), dtype=torch.float32)
    copy.numpy()[: len(rows)] = rows
    return copy.to(device)


def passing_operand(rows: Floats, num_rows: int) -> torch.Tensor:
    """The same in memory that this thread's next call overwrites, for who multiplies it at once and lets it go.

    Fresh memory costs several times what a product with few columns does.
    """
    assert len(rows) <= num_rows
    shape = (num_rows, *rows.shape[1:])
    if getattr(_THREADS_OWN, "operand", torch.empty(0)).shape != shape:
        _THREADS_OWN.operand = torch.empty(shape, dtype=torch.float32)
    kept: torch.Tensor = _THREADS_OWN.operand
    kept[: len(rows)].copy_(from_dlpack(rows))
    kept[len(rows) :].zero_()
    return kept


_THREADS_OWN = threading.local()


def product(left_TD: torch.Tensor, right_BD: torch.Tensor) -> torch.Tensor:
    """(T, B) float32 ``left @ right.T`` of two float32 operands. Call it inside ``single_threaded``."""
    if left_TD.device.type == "cpu" and _onednn_is_faster():
        # torch sends float32 products to MKL, which runs at half this rate on processors of other makers.
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left_TD, right_BD, None, "none", [], "")
        return result
    with _no_tf32(left_TD.device.type):
        return torch.mm(left_TD, right_BD.T)


def rough_dtype(device: str = "cpu") -> torch.dtype:
    """What rough operands are rounded to on a device: bfloat16 where it is several times as fast, else float32."""
    if device != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _multiplies_bfloat16() else torch.float32


def rough_operand(rows: torch.Tensor) -> torch.Tensor:
    """A float32 operand rounded for rough products, on the same device."""
    return rows.to(rough_dtype(rows.device.type))


def rough_product(left_TD: torch.Tensor, right_BD: torch.Tensor) -> torch.Tensor:
    """(T, B) float32 values of ``left @ right.T`` of two rough operands; ``rough_error`` says how far off."""
    if left_TD.dtype == torch.float32:
        return product(left_TD, right_BD)
    return torch.mm(left_TD, right_BD.T).float()


def rounding(dtype: torch.dtype) -> float:
    """Largest relative error of rounding a number to a dtype."""
    return float(torch.finfo(dtype).eps) / 2


def rough_error(width: int, device: str = "cpu") -> float:
    """How far a rough product can be off, as a share of the two rows' lengths multiplied.

    Both operands are rounded, the sum of ``width`` terms is taken in float32, and the result is rounded again.
    """
    unit = rounding(rough_dtype(device))
    summed = width * rounding(torch.float32)
    return (1 + unit) ** 3 * (1 + summed) - 1


def arithmetic(device: str = "cpu") -> str:
    """Name of the paths taken here: part of the numeric class of every row."""
    if device != "cpu":
        return str(rough_dtype(device)).removeprefix("torch.")
    library = "onednn" if _onednn_is_faster() else "torch"
    return f"{library}-{str(rough_dtype()).removeprefix('torch.')}"


@functools.cache
def _onednn_is_faster() -> bool:
    """Whether oneDNN takes float32 products here, and the processor is one that MKL does not run well on."""
    if not _has_onednn() or "AuthenticAMD" not in _processor():
        return False
    one = torch.ones(8, 8)
    try:
        return bool(torch.equal(torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], ""), one @ one.T))
    except (AttributeError, RuntimeError):
        return False


@functools.cache
def _multiplies_bfloat16() -> bool:
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return _has_onednn() and any(supported() for supported in asked if supported is not None)


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    return told.read_text() if told.is_file() else platform.processor()


@contextmanager
def _no_tf32(device: str) -> Iterator[None]:
    """float32 means float32: tensor cores would round the operands to 10 bits."""
    if device != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def squared_norms(rows_ND: Floats) -> Floats:
    """(N,) squared lengths, in float64."""
    wide_ND = np.asarray(rows_ND, np.float64)
    norms: Floats = np.einsum("nd,nd->n", wide_ND, wide_ND)
    return norms
