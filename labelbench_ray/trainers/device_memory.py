"""A GPU that runs out of memory is answered with the batch size to lower, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from labelbench_ray.errors import MemoryExhaustedError


@contextmanager
def naming_the_batch(trainer: str, what: str, advice: str) -> Iterator[None]:
    """Raise MemoryExhaustedError with this advice where what is done inside does not fit into the device's memory."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise MemoryExhaustedError(trainer, f"the device has not enough memory for {what}", advice) from None
