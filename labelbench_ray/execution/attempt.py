"""One attempt at a trial, by any process: hold it, run what the ledger lacks, leave a clear state whatever happens.

How it ended is noted beside the trial. What the machine did is tried again (benchmark/retries.py says when); what the
user did is a failure at once.
"""

import contextlib
import platform
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial

from labelbench_ray.benchmark.attempts import open_attempt
from labelbench_ray.benchmark.loop import MakeSpread, RoundDone, TrialInputs, run_evaluation, run_trial
from labelbench_ray.benchmark.provenance import describe_trial
from labelbench_ray.benchmark.retries import FREE, Outlook, outlook, times_out_of_memory
from labelbench_ray.benchmark.state import TrialLedger
from labelbench_ray.config import Limits, Trial
from labelbench_ray.errors import LeaseLostError, TrialLockedError
from labelbench_ray.execution.endings import Ending, ending_of
from labelbench_ray.execution.inputs import open_inputs
from labelbench_ray.execution.job import TrialJob, round_event
from labelbench_ray.execution.journal import trial_log
from labelbench_ray.execution.progress import Event
from labelbench_ray.trainers.passes import images_of_a_pass
from labelbench_ray.types import Launch

ToldToLeave = Callable[[], bool]


def never() -> bool:
    """Nobody tells this process to leave."""
    return False


def run_job(
    job: TrialJob, launch: Launch, make_spread: MakeSpread, told_to_leave: ToldToLeave = never
) -> Iterator[Event]:
    """Try a trial once, telling what happens; nothing where it is done, or must wait.

    ``told_to_leave`` is asked between rounds: this process, or its node, must end soon. Raises TrialLockedError when
    another process has the trial, LedgerError when its state cannot be written; other errors are noted and told.
    """
    import torch

    torch.set_num_threads(1)  # set, not inherited: a sum's order, and so its last bit, may depend on it
    ledger = job.ledger
    with ledger.lock(wait_s=0.0):
        state = ledger.status().state
        if state == "done":
            return
        died = _note_death(ledger, Ending("process died"))
        found = _outlook(job, ledger)
        if (died and found.what != "free") or (found.what == "given up" and state != "failed"):
            yield _conclude(job, ledger, found)
        elif found.at(time.time()).what == "free":
            yield from _attempt(job, ledger, launch, make_spread, told_to_leave)


def look_at(ledger: TrialLedger, run: str, limits: Limits) -> Outlook:
    """What may be done with a trial now, by a process that does not hold it."""
    state = ledger.status().state
    if state == "done":
        return Outlook("done")
    if ledger.lease.holder() is not None:
        return Outlook("held")
    attempts = ledger.attempts.read()
    found = outlook(ledger.trial_id, attempts, run, limits)
    if open_attempt(attempts) or (found.what == "given up" and state != "failed"):
        return FREE  # whoever takes it notes its end, and tells
    return found.at(time.time())


def note_lost_process(job: TrialJob, ending: Ending) -> Event | None:
    """Note how the process ended that had a trial, and tell what follows; None where another process was faster.

    That one could only see that the process died; what is known better is noted beside it.
    """
    ledger = job.ledger
    with contextlib.suppress(TrialLockedError), ledger.lock(wait_s=0.0):
        if _note_death(ledger, ending):
            found = _outlook(job, ledger)
            return _conclude(job, ledger, found)
    attempts = ledger.attempts.read()
    last = max((one for one in attempts if one.ended == "process died"), key=lambda one: one.number, default=None)
    if last is not None and ending.ended != "process died":
        ledger.attempts.end(last.number, ending.ended, last.rounds_at_end, ending.message)
    return None


def _attempt(
    job: TrialJob, ledger: TrialLedger, launch: Launch, make_spread: MakeSpread, told_to_leave: ToldToLeave
) -> Iterator[Event]:
    passes = _images_of_a_pass(job, ledger)
    number = ledger.attempts.begin(job.run.name, ledger.finished_rounds(), passes)
    note = "" if passes is None else f"{passes} images of a batch at a time, for want of memory"
    try:
        yield Event(trial=job.trial.id, name=job.name, what="started", host=platform.node(), note=note)
        ending = yield from _rounds(job, ledger, launch, make_spread, told_to_leave, passes)
        ledger.check_held()
    except Exception as error:
        if isinstance(error, LeaseLostError) or _is_lost(ledger):
            told = "another process took it over while this one did not answer"
            yield Event(trial=job.trial.id, name=job.name, what="retry", reason="lease lost", error=told)
            return
        ending = ending_of(error, can_pass_less=(passes or images_of_a_pass(job.trial.trainer) or 1) > 1)
    except BaseException:  # Ctrl-C, or whoever listens has gone
        _end(ledger, number, Ending("interrupted"))
        raise
    _end(ledger, number, ending)
    yield _conclude(job, ledger, _outlook(job, ledger))


def _rounds(
    job: TrialJob,
    ledger: TrialLedger,
    launch: Launch,
    make_spread: MakeSpread,
    told_to_leave: ToldToLeave,
    passes: int | None,
) -> Generator[Event, None, Ending]:
    """Run the rounds that are left, telling each; returns how that ended. Raises whatever a round raises."""
    with trial_log(ledger.place, job.trial.id, job.name):
        told = describe_trial(job.trial, job.experiment, job.resources.kind)
        ledger.write_description({**told, "name": job.name, "rounds": job.num_rounds})
        ledger.mark("running")
        inputs = replace(open_inputs(job, launch, make_spread), micro_batch_size=passes)
        for done in _run(job, inputs, ledger):
            event = round_event(job, done)
            yield event
            if not event.is_last and told_to_leave():
                return Ending("preempted", "its process, or its node, was told to leave")
            if not event.is_last and job.run.asked_to_stop:
                return Ending("interrupted", job.run.why)
    return Ending("done")


def _run(job: TrialJob, inputs: TrialInputs, ledger: TrialLedger) -> Iterator[RoundDone]:
    if isinstance(job.trial, Trial):
        return run_trial(job.trial, inputs, ledger)
    return run_evaluation(job.trial, inputs, ledger)


def _images_of_a_pass(job: TrialJob, ledger: TrialLedger) -> int | None:
    """Half as many as the trial asks for, for each time that memory did not do; None where it never happened."""
    halvings = times_out_of_memory(ledger.attempts.read())
    asked = images_of_a_pass(job.trial.trainer)
    return None if asked is None or not halvings else max(1, asked >> halvings)


def _outlook(job: TrialJob, ledger: TrialLedger) -> Outlook:
    return outlook(ledger.trial_id, ledger.attempts.read(), job.run.name, job.limits)


def _note_death(ledger: TrialLedger, ending: Ending) -> bool:
    """Note the end of an attempt that did not live to do so; whether there was one."""
    attempt = open_attempt(ledger.attempts.read())
    if attempt is None:
        return False
    ledger.attempts.end(attempt.number, ending.ended, ledger.finished_rounds(), ending.message)
    return True


def _end(ledger: TrialLedger, number: int, ending: Ending) -> None:
    ledger.attempts.end(number, ending.ended, ledger.finished_rounds(), ending.message, final=ending.final)
    if ending.ended == "done":
        ledger.mark("done")
    else:
        ledger.mark("interrupted", ending.message)


def _is_lost(ledger: TrialLedger) -> bool:
    try:
        ledger.check_held()
    except LeaseLostError:
        return True
    return False


def _conclude(job: TrialJob, ledger: TrialLedger, found: Outlook) -> Event:
    """Mark a trial that was given up; the event of how its last attempt ended."""
    last = ledger.attempts.read()[-1]
    tell = partial(Event, trial=job.trial.id, name=job.name, reason=str(last.ended))
    if last.ended == "done":
        return Event(trial=job.trial.id, name=job.name, what="done")
    if found.what == "given up":
        ledger.mark("failed", found.reason)
        return tell(what="failed", error=found.reason)
    if last.ended == "interrupted":
        return tell(what="interrupted", error=last.message)
    in_s = max(0.0, found.not_before - time.time())
    when = f"tried again in {in_s:.0f} s" if found.what == "waiting" else "goes on elsewhere"
    return tell(what="retry", error=f"{last.message or last.ended}; {when}")
