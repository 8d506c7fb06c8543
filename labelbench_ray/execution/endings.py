"""What an error says of how an attempt at a trial ended: whether the machine did it, or the user."""

from typing import NamedTuple

from labelbench_ray.benchmark.attempts import Ended
from labelbench_ray.errors import (
    FULL,
    UNREACHABLE,
    GroupLostError,
    LabelBenchError,
    MemoryExhaustedError,
    WorkerLostError,
)


class Ending(NamedTuple):
    """How an attempt ended."""

    ended: Ended
    message: str = ""
    final: bool = False
    """Trying again would end the same way."""


def ending_of(error: Exception, *, can_pass_less: bool) -> Ending:
    """The ending by an error of a trial. ``can_pass_less``: its trainer can take fewer images at a time."""
    told = str(error) if isinstance(error, LabelBenchError) else _in_words(error)
    of_torch = type(error).__name__ == "OutOfMemoryError"  # by name: torch may not be loaded here
    if of_torch or isinstance(error, MemoryExhaustedError | MemoryError):
        return Ending("out of memory", told, final=not can_pass_less)
    if isinstance(error, WorkerLostError | GroupLostError):
        return Ending("worker lost", told)
    numbers = _error_numbers(error)
    if numbers & FULL:
        return Ending("full disk", told)
    if numbers & UNREACHABLE:
        return Ending("storage lost", told)
    return Ending("user error", told, final=True)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _error_numbers(error: BaseException | None) -> set[int]:
    """What the system said, of the error or of what led to it."""
    numbers = set()
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            numbers.add(error.errno)
        error = error.__cause__
    return numbers
