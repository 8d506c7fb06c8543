"""Slots: processes that take one trial after another, the first of the list first, until none is free.

The lease on a trial's folder decides who has it. So slots, a slot that was started again after a kill, and the slots of
another driver on the same results folder need nothing else to know of each other.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from labelbench_ray.benchmark.retries import Outlook, allowed, patiently, wait_s
from labelbench_ray.benchmark.run_folder import RunFolder
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Limits
from labelbench_ray.errors import LabelBenchError, TrialLockedError
from labelbench_ray.execution.attempt import ToldToLeave, look_at, never
from labelbench_ray.execution.endings import ending_of
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.progress import Event

RunOne = Callable[[TrialJob], Iterator[Event]]
Pack = Callable[[TrialJob], Callable[[], TrialJob]]

PATIENCE_S = 30.0
"""A slot waits so long for a trial that is tried again, rather than end: starting another one takes seconds."""
LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Offer:
    """A trial that a slot may take. Unpacked when it does: what evaluations hold is large."""

    trial: str
    name: str
    load: Callable[[], TrialJob]


@dataclass(frozen=True)
class Stock:
    """The trials that slots take from."""

    ledger: Ledger
    run: RunFolder
    limits: Limits
    offers: Sequence[Offer]

    @classmethod
    def of(cls, jobs: Sequence[TrialJob], pack: Pack) -> "Stock":
        """Of jobs of one run; ``pack`` makes of each what loads it."""
        offers = tuple(Offer(job.trial.id, job.name, pack(job)) for job in jobs)
        return cls(Ledger(jobs[0].results), jobs[0].run, jobs[0].limits, offers)

    def look_at(self, offer: Offer) -> Outlook:
        """What may be done with one of them now."""
        return patiently(lambda: look_at(self.ledger.trial(offer.trial).now(), self.run.name, self.limits), self.limits)

    @property
    def is_open(self) -> bool:
        """Nobody asked that no more trials start."""
        return patiently(lambda: self.run.may_start_trials, self.limits)

    @property
    def has_more(self) -> bool:
        """Whether there is something to do for a slot that starts now, or soon."""
        return self.is_open and any(self.look_at(one).what in {"free", "waiting"} for one in self.offers)


def work(stock: Stock, run_one: RunOne, told_to_leave: ToldToLeave = never) -> Iterator[Event]:
    """Run trials until none is free, or nobody wants more of them, telling what happens.

    A trial that waits to be tried again keeps no slot from running others.
    """
    left, unwritten = list(stock.offers), _Unwritten(stock.limits)
    while left and stock.is_open and not told_to_leave():
        soonest = float("inf")
        for offer in tuple(left):
            found = stock.look_at(offer)
            if found.what in {"done", "given up"}:
                left.remove(offer)
            elif found.what == "waiting":
                soonest = min(soonest, found.not_before - time.time())
            elif found.what == "free" and (yield from _take(offer, left, run_one, unwritten)):
                _sleep_until(unwritten.not_before, stock, told_to_leave)
                break  # and look from the start of the list
        else:
            if soonest > PATIENCE_S:
                return
            time.sleep(min(max(soonest, 0.0), LOOK_AGAIN_S))


@dataclass
class _Unwritten:
    """Failures whose reason could not be written beside the trial: no other process can know of them.

    All trials of a slot write to one place, so what is met in a row counts for all of them together.
    """

    limits: Limits
    met: int = 0
    not_before: float = 0.0

    def heard(self, event: Event) -> None:
        """Take note of what could be done."""
        if event.what == "round":
            self.met = 0

    def met_by(self, offer: Offer, error: Exception) -> Event:
        """What follows: ``retry``, not before the time has come, or ``failed``."""
        ending = ending_of(error, can_pass_less=False)
        self.met += 1
        tell = partial(Event, trial=offer.trial, name=offer.name, reason=str(ending.ended))
        if ending.final or self.met > allowed(self.limits, ending.ended):
            return tell(what="failed", error=ending.message)
        in_s = wait_s(offer.trial, self.met, self.limits)
        self.not_before = time.time() + in_s
        return tell(what="retry", error=f"{ending.message}; tried again in {in_s:.0f} s")


def _take(offer: Offer, left: list[Offer], run_one: RunOne, unwritten: _Unwritten) -> Generator[Event, None, bool]:
    """Run a trial, unless another process was faster; whether it was run."""
    try:
        for event in run_one(offer.load()):
            unwritten.heard(event)
            yield event
    except TrialLockedError:
        return False
    except (LabelBenchError, OSError) as error:
        told = unwritten.met_by(offer, error)
        if told.what == "failed":
            left.remove(offer)
        yield told
    return True


def _sleep_until(when: float, stock: Stock, told_to_leave: ToldToLeave) -> None:
    while (left := when - time.time()) > 0 and stock.is_open and not told_to_leave():
        time.sleep(min(left, LOOK_AGAIN_S))
