"""Named random streams: no global generator is ever touched, and adding a stream moves no other.

A stream is a numpy generator whose SeedSequence spawn key is a hash of its names, so that
``stream(7, "select", "badge", 3)`` is the same on every machine and in every process.
"""

import hashlib

import numpy as np


def _words(*names: str | int) -> tuple[int, ...]:
    raw = hashlib.blake2b("\0".join(map(str, names)).encode(), digest_size=16).digest()
    return tuple(int.from_bytes(raw[i : i + 4], "little") for i in range(0, 16, 4))


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of this name under this seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=_words(*names))))


def example_stream(seed: int, view: str, example_id: int) -> np.random.Generator:
    """The generator of one example in one view: depends on nothing else, so batches and workers cannot change it."""
    low, high, *_ = _words(seed, view)
    return np.random.Generator(np.random.Philox(key=np.array([low | (high << 32), example_id], dtype=np.uint64)))
