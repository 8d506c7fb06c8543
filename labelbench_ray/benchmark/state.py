"""The ledger: a folder of trials, each a folder of finished rounds, safe against kills at any moment.

States of a trial and what may follow::

    (nothing) -> running -> done
                 running -> failed | interrupted -> running
    killed: the state stays "running" but nobody holds the trial; the next run goes on from the last finished round

A round is finished once its rows are there, which are written last, whole or not at all, and by one process alone. Who
works on a trial holds its lease (lease.py); every attempt at it is noted (attempts.py). All of this lies on a disk or
in an object store (storage/place.py); to read much of it, take ``now()``.
"""

import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labelbench_ray.benchmark.attempts import Attempts
from labelbench_ray.benchmark.lease import Held, Lease
from labelbench_ray.benchmark.results import BOUGHT_SCHEMA, ROW_SCHEMA, bought_labels, check_schema
from labelbench_ray.benchmark.writing import write_json, writing
from labelbench_ray.errors import UNREACHABLE, LeaseLostError, LedgerError, StorageError, TrialLockedError
from labelbench_ray.storage.on_disk import OnDisk
from labelbench_ray.storage.place import Where, place_at
from labelbench_ray.types import Ids, Labels

State = Literal["running", "done", "failed", "interrupted"]
STATES: tuple[State, ...] = get_args(State)

STATUS, DESCRIPTION, ROWS, BOUGHT = "status.json", "trial.json", "rows.parquet", "bought.parquet"
MODEL = "model"
"""The folder of the model that an evaluation keeps."""


@dataclass(frozen=True)
class TrialStatus:
    """What the ledger knows of a trial. ``state`` is None for one that never started."""

    state: State | None
    finished_rounds: int
    error: str = ""


class TrialLedger:
    """One trial's folder."""

    def __init__(self, place: Where) -> None:
        self.place = place_at(place)
        self.trial_id = self.place.where.rpartition("/")[2]
        self.lease = Lease(self.place.below("lease"))
        self.attempts = Attempts(self.place.below("attempts"))
        self._held: Held | None = None

    @property
    def folder(self) -> Path:
        """On this machine: the trial's folder, or where files lie before they are published."""
        return self.place.scratch

    def now(self) -> "TrialLedger":
        """As it is at this moment, to be looked at."""
        return TrialLedger(self.place.now(STATUS, "attempts/*"))

    @contextlib.contextmanager
    def lock(self, wait_s: float = 15.0) -> Iterator[None]:
        """Hold the trial. Raises TrialLockedError when another process still does after ``wait_s`` seconds."""
        with contextlib.ExitStack() as stack:
            with writing(self.place.where):
                self._held = self._hold(stack, time.monotonic() + wait_s)
                self._sweep()
            try:
                yield
            finally:
                self._held = None

    def check_held(self) -> None:
        """Raises LeaseLostError when another process has taken the trial over from this one, which held it."""
        if self._held is not None:
            self._held.check()

    def _hold(self, stack: contextlib.ExitStack, give_up: float) -> Held:
        while True:
            try:
                return stack.enter_context(self.lease.hold())
            except TrialLockedError:
                if time.monotonic() >= give_up:
                    raise
            time.sleep(0.2)

    def status(self) -> TrialStatus:
        """State and finished rounds, as written.

        A trial that says "running" while nobody holds it was killed, and one that says "done" while rounds are gone is
        not done: both are told as interrupted, so that the next run goes on with them.
        """
        rounds = self.finished_rounds()
        try:
            state, error, recorded = _told(self.place.read(STATUS))
        except FileNotFoundError:
            return TrialStatus(None, rounds)
        except ValueError as problem:
            where = f"{self.place.where}/{STATUS}"
            raise LedgerError(where, f"not readable ({problem})", "delete it and run again") from None
        if (state == "running" and self.lease.holder() is None) or (state == "done" and rounds < recorded):
            state = "interrupted"
        return TrialStatus(state, rounds, error)

    def mark(self, state: State, error: str = "") -> None:
        """Write the state."""
        write_json(self.place, STATUS, {"state": state, "error": error, "rounds": self.finished_rounds()})

    def finished_rounds(self) -> int:
        """How many rounds are whole: 0..n-1 without a gap."""
        count = 0
        while self.place.has(round_file(count)):
            count += 1
        return count

    def changed(self) -> float:
        """When a round was last finished, in seconds since 1970; 0 where none is."""
        return max((self.place.modified(round_file(index)) for index in range(self.finished_rounds())), default=0.0)

    def commit_round(self, round_index: int, rows: pa.Table, bought: pa.Table) -> None:
        """Write one round; it counts once its rows are there.

        Raises LedgerError when the disk is full or not writable, LeaseLostError when another process has the trial.
        """
        name = _round(round_index)
        with writing(f"{self.place.where}/{name}"):
            self.check_held()
            self.place.write(f"{name}/{BOUGHT}", as_parquet(bought), lasting=True)
            self.check_held()
            try:
                self.place.create(f"{name}/{ROWS}", as_parquet(rows), lasting=True)
            except FileExistsError:
                raise LeaseLostError(self.trial_id) from None

    def rows(self, first: int = 0, last: int | None = None) -> pa.Table:
        """Rows of finished rounds ``first..last-1``, by default of all."""
        return self._read(ROWS, ROW_SCHEMA, first, last)

    def bought(self) -> pa.Table:
        """Bought ids of all finished rounds, in order of buying."""
        return self._read(BOUGHT, BOUGHT_SCHEMA)

    def batches(self) -> list[tuple[Ids, Labels]]:
        """(ids, labels) of every batch bought so far."""
        table = self.bought()
        batch, ids, labels = table["batch"].to_numpy(), table["example_id"].to_numpy(), bought_labels(table)
        return [(ids[batch == b].astype(np.int64), labels[batch == b]) for b in np.unique(batch)]

    def write_description(self, description: dict[str, Any]) -> None:
        """Keep what was asked and what it became."""
        write_json(self.place, DESCRIPTION, description)

    def has_description(self) -> bool:
        """False for a trial that was killed, or failed, before it was described."""
        return self.place.has(DESCRIPTION)

    def description(self) -> dict[str, Any]:
        """What ``write_description`` kept."""
        try:
            told = json.loads(self.place.read(DESCRIPTION))
        except (OSError, ValueError) as error:
            raise LedgerError(
                self.place.where, f"its description cannot be read ({error})", "run the trial again"
            ) from None
        if not isinstance(told, dict):
            raise LedgerError(self.place.where, "its description is no JSON object", "run the trial again")
        return told

    def keep(self, name: str) -> None:
        """Keep what was written to ``folder`` under this name, before the round that it belongs to is committed."""
        with writing(f"{self.place.where}/{name}"):
            self.place.publish(name)

    @contextlib.contextmanager
    def work_dir(self, round_index: int) -> Iterator[Path]:
        """Scratch space of a round. Kept when the round fails, so that training goes on from its checkpoint."""
        folder = self.folder / "work" / f"{round_index:04d}"
        with writing(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove drafts, rounds after a gap (they are made again), and scratch space of rounds that are finished."""
        finished = self.finished_rounds()
        for name in filter(str.isdigit, self.place.below("rounds").folders()):
            place = self.place.below("rounds").below(name)
            if isinstance(place, OnDisk):
                place.remove_drafts()
            if int(name) >= finished:
                place.delete(ROWS)
        for folder in (self.folder / "work").glob("[0-9]*"):
            if int(folder.name) < finished:
                shutil.rmtree(folder)

    def _read(self, name: str, schema: pa.Schema, first: int = 0, last: int | None = None) -> pa.Table:
        tables = []
        for index in range(self.finished_rounds())[first:last]:
            file = f"{_round(index)}/{name}"
            try:
                with pq.ParquetFile(pa.BufferReader(self.place.read(file))) as opened:  # quicker than pq.read_table
                    table = opened.read(use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(f"{self.place.where}/{file}", error) from error
            tables.append(check_schema(table, schema, f"{self.place.where}/{file}"))
        return pa.concat_tables(tables) if tables else schema.empty_table()


class Ledger:
    """A results folder."""

    def __init__(self, place: Where) -> None:
        self.place = place_at(place)

    def now(self) -> "Ledger":
        """As it is at this moment, to be looked at."""
        return Ledger(self.place.now(*(f"trials/*/{name}" for name in (STATUS, DESCRIPTION, "attempts/*"))))

    def with_rows(self) -> "Ledger":
        """As it is at this moment, to be read whole."""
        return Ledger(self.place.now(f"trials/*/{STATUS}", f"trials/*/{DESCRIPTION}", "trials/*/rounds/*"))

    def trial(self, trial_id: str) -> TrialLedger:
        """The folder of one trial, there or not."""
        return TrialLedger(self.place.below("trials").below(trial_id))

    def trials(self) -> list[TrialLedger]:
        """All trials that ever started, by id."""
        return [self.trial(name) for name in self.place.below("trials").folders()]

    def changed(self) -> float:
        """When a round was last finished, in seconds since 1970; 0 where none is."""
        return max((trial.changed() for trial in self.trials()), default=0.0)

    def rows(self) -> pa.Table:
        """Rows of every finished round of every trial."""
        return pa.concat_tables([ROW_SCHEMA.empty_table(), *(trial.rows() for trial in self.trials())])

    def check_writable(self) -> None:
        """Raises LedgerError now rather than after an hour of work, StorageError where leases could not be trusted."""
        probe = f".writable-{secrets.token_hex(4)}"
        with writing(self.place.where):
            self.place.create(probe, b"1")
            try:
                self.place.create(probe, b"2")
            except FileExistsError:
                return
            finally:
                self.place.delete(probe)
        what = "two processes could make one file (no conditional writes), so two could run one trial"
        raise StorageError(self.place.where, what, "use a store that refuses the second, such as S3, GCS or MinIO")


def _told(status: bytes) -> tuple[State, str, int]:
    """State, error and finished rounds as ``mark`` wrote them. Raises ValueError for anything else."""
    told = json.loads(status)
    match {"error": "", "rounds": 0, **told} if isinstance(told, dict) else told:
        case {"state": state, "error": str(error), "rounds": int(rounds)} if state in STATES:
            return state, error, rounds
    raise ValueError("it is no status of a trial")


def _unreadable(where: str, error: Exception) -> LedgerError:
    """Rows that are spoilt, or that are well and cannot be got now: only the first may be deleted."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    gone = isinstance(error, OSError) and error.errno in UNREACHABLE
    todo = "look at that disk or store, then run again" if gone else "delete its round folder and run again"
    return LedgerError(where, f"cannot be read ({reason})", todo)


def _round(index: int) -> str:
    return f"rounds/{index:04d}"


def round_file(index: int) -> str:
    """The file of a trial that makes a round finished."""
    return f"{_round(index)}/{ROWS}"


def as_parquet(table: pa.Table) -> bytes:
    """A table as a file's bytes."""
    out = pa.BufferOutputStream()
    pq.write_table(table, out)
    return bytes(out.getvalue())
