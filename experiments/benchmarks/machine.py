"""What the machine is and how fast it multiplies: the floor under every figure."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from selection_pools import TILE_ROWS, PoolFiles

from labelbench_ray.kernels.products import (
    arithmetic,
    operand,
    product,
    rough_dtype,
    rough_operand,
    rough_product,
    single_threaded,
)

CENTRES = 256
"""Columns of a block of a dense product."""


def description() -> dict[str, Any]:
    """Processor, versions, date and measured rates of matrix products on one thread."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "scipy", "scikit-learn", "labelbench_ray")},
        "arithmetic": arithmetic(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "gflops": rates(),
    }


def rates(rows: int = TILE_ROWS, width: int = 512) -> dict[str, float]:
    """Measured 10^9 operations a second of the products that the library takes, and of numpy's."""
    left, right = operand(_noise(rows, width)), operand(_noise(CENTRES, width))
    left_rough, right_rough = rough_operand(left), rough_operand(right)
    left_numpy, right_numpy = left.numpy(), right.numpy()
    rough = str(rough_dtype()).removeprefix("torch.")
    products: Mapping[str, Callable[[], Any]] = {
        "float32": lambda: product(left, right),
        "numpy float32": lambda: left_numpy @ right_numpy.T,
    }
    if rough != "float32":
        products = {**products, rough: lambda: rough_product(left_rough, right_rough)}
    operations = 2 * rows * width * CENTRES
    with single_threaded():
        return {name: round(operations / _fastest(work) / 1e9, 1) for name, work in products.items()}


def _noise(rows: int, width: int) -> NDArray[Any]:
    return np.random.default_rng(0).standard_normal((rows, width), np.float32)


def _fastest(work: Callable[[], Any], times: int = 7) -> float:
    work()
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def dense_products(pool: PoolFiles, labels: int, limit_s: float) -> dict[str, Any]:
    """CPU seconds of the products of all rows with all centres, float32 in blocks of 256: BADGE without pruning.

    ``gemm`` counts the two products of each block (gradients' two factors), ``distances`` the reduction to each row's
    distance to its nearest centre as well. Above the limit some blocks are timed and multiplied.
    """
    arrays = pool.arrays()
    blocks = -(-labels // CENTRES)
    centres = np.random.default_rng(0).choice(len(arrays.truth_N), CENTRES, replace=False)
    right = [operand(rows[centres]) for rows in (arrays.embeddings_ND, arrays.probs_NC)]
    taken, done = np.zeros(2), 0
    with single_threaded():
        while not done or (done < blocks and taken[1] * (done + 1) / done < limit_s):
            taken += _block(arrays, right)
            done += 1
    gemm_s, distances_s = (taken * blocks / done).tolist()
    rule = "" if done == blocks else f"{done} of {blocks} blocks, multiplied"
    return {"gemm_s": gemm_s, "distances_s": distances_s, "rule": rule}


def _block(arrays: Any, right: list[torch.Tensor]) -> NDArray[Any]:
    """(2,) seconds of the products, and of products and distances, of all rows with one block of centres."""
    products_s = distances_s = 0.0
    for first in range(0, len(arrays.truth_N), TILE_ROWS):
        left = [operand(rows[first : first + TILE_ROWS]) for rows in (arrays.embeddings_ND, arrays.probs_NC)]
        began = time.process_time()
        alike = [product(rows, centres) for rows, centres in zip(left, right, strict=True)]
        products_s += time.process_time() - began
        alike[0].mul_(alike[1]).mul_(-2).add_(1.0).amin(dim=1)
        distances_s += time.process_time() - began
    return np.array([products_s, distances_s])


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    if not told.is_file():
        return platform.processor()
    lines = dict(line.split(":", 1) for line in told.read_text().splitlines() if ":" in line)
    told_by_name = {name.strip(): value.strip() for name, value in lines.items()}
    flags = told_by_name.get("flags", "").split()
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{told_by_name.get('model name', platform.machine())} ({', '.join(has)})"


def _memory_gib() -> float:
    import psutil

    return round(psutil.virtual_memory().total / 2**30, 1)
