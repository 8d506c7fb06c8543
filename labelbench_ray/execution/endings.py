"""What an error says of how an attempt at a trial ended: whether the machine did it, or the user."""

import errno
from typing import NamedTuple

from labelbench_ray.benchmark.attempts import Ended
from labelbench_ray.errors import GroupLostError, LabelBenchError, MemoryExhaustedError, WorkerLostError

FULL = {errno.ENOSPC, errno.EDQUOT}


class Ending(NamedTuple):
    """How an attempt ended."""

    ended: Ended
    message: str = ""
    final: bool = False
    """Trying again would end the same way."""


def ending_of(error: Exception, *, can_pass_less: bool) -> Ending:
    """The ending by an error of a trial. ``can_pass_less``: its trainer can take fewer images at a time."""
    told = str(error) if isinstance(error, LabelBenchError) else f"{type(error).__name__}: {error}"
    of_torch = type(error).__name__ == "OutOfMemoryError"  # by name: torch may not be loaded here
    if of_torch or isinstance(error, MemoryExhaustedError | MemoryError):
        return Ending("out of memory", told, final=not can_pass_less)
    if isinstance(error, WorkerLostError | GroupLostError):
        return Ending("worker lost", told)
    if _is_full_disk(error):
        return Ending("full disk", told)
    return Ending("user error", told, final=True)


def _is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__
    return False
