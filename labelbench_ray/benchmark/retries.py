"""Whether a trial is tried again, and when: worked out from its attempts and the limits alone."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

from labelbench_ray.benchmark.attempts import Attempt, Ended
from labelbench_ray.config import Limits
from labelbench_ray.errors import UNREACHABLE
from labelbench_ray.seeding import stream

T = TypeVar("T")


class Outlook(NamedTuple):
    """What may be done with a trial now."""

    what: Literal["free", "waiting", "given up", "held", "done"]
    """``held`` by another process."""
    not_before: float = 0.0
    """Of one that waits: seconds since 1970."""
    reason: str = ""
    """Of one that was given up."""

    def at(self, now: float) -> "Outlook":
        """The same once the time has come."""
        return FREE if self.what == "waiting" and now >= self.not_before else self


FREE = Outlook("free")


def outlook(trial: str, attempts: Sequence[Attempt], run: str, limits: Limits) -> Outlook:
    """What may be done with a trial now, in this run: what other runs of the grid tried does not count."""
    tried = [attempt for attempt in attempts if attempt.run == run]
    if not tried or tried[-1].ended in {None, "done", "preempted", "interrupted"}:
        return FREE
    last = tried[-1]
    assert last.ended is not None
    failures = _in_a_row(tried, last.ended)
    if last.final:
        return Outlook("given up", reason=last.message)
    if failures > allowed(limits, last.ended):
        return Outlook("given up", reason=_too_often(last, failures))
    return Outlook("waiting", not_before=last.ended_at + wait_s(trial, failures, limits))


def wait_s(trial: str, failures: int, limits: Limits) -> float:
    """Seconds before a trial is tried again after so many failures in a row (the formula is in ``Limits``)."""
    jitter = 0.5 + stream(0, "retry", trial, failures).random()
    return float(min(limits.longest_wait_s, limits.wait_s * 2.0 ** (failures - 1)) * jitter)


def allowed(limits: Limits, ended: Ended) -> int:
    """How often a trial is tried again after such an end."""
    return int(getattr(limits, ended.replace(" ", "_")))


def patiently(ask: Callable[[], T], limits: Limits) -> T:
    """What is asked of the results, once more after a while where the disk or the store did not answer.

    Raises the OSError that it met when this went on for longer than ``limits.storage_lost`` allows.
    """
    for failures in itertools.count(1):
        try:
            return ask()
        except OSError as error:
            if error.errno not in UNREACHABLE or failures > limits.storage_lost:
                raise
        time.sleep(wait_s("", failures, limits))
    raise AssertionError


def times_out_of_memory(attempts: Sequence[Attempt]) -> int:
    """How often memory did not do, in any run."""
    return sum(attempt.ended == "out of memory" for attempt in attempts)


def _in_a_row(tried: Sequence[Attempt], ended: Ended) -> int:
    """Ends of this kind since a round was finished; other kinds between them do not matter."""
    count = 0
    for attempt in reversed(tried):
        count += attempt.ended == ended
        if attempt.rounds_at_end > attempt.rounds:
            break
    return count


def _too_often(last: Attempt, failures: int) -> str:
    times = f"{failures} times" if failures != 1 else "once"
    told = {
        "process died": f"its process died {times}",
        "node lost": f"its node was lost {times}",
        "out of memory": f"memory did not do {times}",
        "full disk": f"the disk was full {times}",
        "storage lost": f"a disk or server of files did not answer {times}",
    }.get(str(last.ended), f"a worker was lost {times}")
    return f"{told}; {last.message}" if last.message else told
