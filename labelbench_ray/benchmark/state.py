"""The ledger: a folder of trials, each a folder of finished rounds, safe against kills at any moment.

States of a trial and what may follow::

    (nothing) -> running -> done
                 running -> failed | interrupted -> running
    killed: the state stays "running" but nobody holds the trial; the next run goes on from the last finished round

A round is written to a temporary folder and renamed: it is there whole or not at all. Who works on a trial holds its
lease (lease.py); every attempt at it is noted (attempts.py).
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labelbench_ray.benchmark.attempts import Attempts
from labelbench_ray.benchmark.lease import Held, Lease
from labelbench_ray.benchmark.results import BOUGHT_SCHEMA, ROW_SCHEMA, check_schema
from labelbench_ray.errors import LeaseLostError, LedgerError, TrialLockedError
from labelbench_ray.types import Ids, Labels

State = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class TrialStatus:
    """What the ledger knows of a trial. ``state`` is None for one that never started."""

    state: State | None
    finished_rounds: int
    error: str = ""


class TrialLedger:
    """One trial's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trial_id = folder.name
        self.lease = Lease(folder / "lease")
        self.attempts = Attempts(folder / "attempts.jsonl")
        self._held: Held | None = None

    @contextlib.contextmanager
    def lock(self, wait_s: float = 15.0) -> Iterator[None]:
        """Hold the trial. Raises TrialLockedError when another process still does after ``wait_s`` seconds."""
        with contextlib.ExitStack() as stack:
            with _writing(self.folder):
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
        """State and finished rounds, as on disk.

        A trial that says "running" while nobody holds it was killed, and one that says "done" while rounds are gone is
        not done: both are told as interrupted, so that the next run goes on with them.
        """
        file, rounds = self.folder / "status.json", self.finished_rounds()
        try:
            told = json.loads(file.read_text())
            state, error, recorded = told.get("state"), told.get("error", ""), told.get("rounds", 0)
        except (FileNotFoundError, NotADirectoryError):
            return TrialStatus(None, rounds)
        except (json.JSONDecodeError, AttributeError) as problem:
            raise LedgerError(str(file), f"not readable ({problem})", "delete it and run again") from None
        if (state == "running" and self.lease.holder() is None) or (state == "done" and rounds < recorded):
            state = "interrupted"
        return TrialStatus(state, rounds, error)

    def mark(self, state: State, error: str = "") -> None:
        """Write the state."""
        status = {"state": state, "error": error, "rounds": self.finished_rounds()}
        write_json(self.folder / "status.json", status)

    def finished_rounds(self) -> int:
        """How many rounds are whole: 0..n-1 without a gap."""
        count = 0
        while (self.folder / "rounds" / f"{count:04d}").is_dir():
            count += 1
        return count

    def commit_round(self, round_index: int, rows: pa.Table, bought: pa.Table) -> None:
        """Write one round, atomically.

        Raises LedgerError when the disk is full or not writable, LeaseLostError when another process has the trial.
        """
        final = self.folder / "rounds" / f"{round_index:04d}"
        draft = final.with_suffix(f".{os.getpid()}.draft")
        with _writing(final):
            draft.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, draft / "rows.parquet")
            pq.write_table(bought, draft / "bought.parquet")
            for file in draft.iterdir():
                _sync(file)
            self.check_held()
            if final.exists():
                raise LeaseLostError(self.trial_id)
            draft.rename(final)
            _sync(final.parent)

    def rows(self) -> pa.Table:
        """Rows of all finished rounds."""
        return self._read("rows.parquet", ROW_SCHEMA)

    def bought(self) -> pa.Table:
        """Bought ids of all finished rounds, in order of buying."""
        return self._read("bought.parquet", BOUGHT_SCHEMA)

    def batches(self) -> list[tuple[Ids, Labels]]:
        """(ids, labels) of every batch bought so far."""
        table = self.bought()
        batch, ids, labels = (table[name].to_numpy() for name in ("batch", "example_id", "label"))
        return [(ids[batch == b].astype(np.int64), labels[batch == b].astype(np.int64)) for b in np.unique(batch)]

    def write_description(self, description: dict[str, Any]) -> None:
        """Keep what was asked and what it became."""
        write_json(self.folder / "trial.json", description)

    def description(self) -> dict[str, Any]:
        """What ``write_description`` kept."""
        try:
            told: dict[str, Any] = json.loads((self.folder / "trial.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise LedgerError(
                str(self.folder), f"its description cannot be read ({error})", "run the trial again"
            ) from None
        return told

    @contextlib.contextmanager
    def work_dir(self, round_index: int) -> Iterator[Path]:
        """Scratch space of a round. Kept when the round fails, so that training goes on from its checkpoint."""
        folder = self.folder / "work" / f"{round_index:04d}"
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove drafts, rounds after a gap (they are made again), and scratch space of rounds that are finished."""
        finished = self.finished_rounds()
        for draft in (self.folder / "rounds").glob("*.draft"):
            shutil.rmtree(draft)
        for folder in (self.folder / "rounds").glob("[0-9]*"):
            if int(folder.name) >= finished:
                shutil.rmtree(folder)
        for folder in (self.folder / "work").glob("[0-9]*"):
            if int(folder.name) < finished:
                shutil.rmtree(folder)

    def _read(self, name: str, schema: pa.Schema) -> pa.Table:
        tables = [schema.empty_table()]
        for index in range(self.finished_rounds()):
            file = self.folder / "rounds" / f"{index:04d}" / name
            try:
                with pq.ParquetFile(file) as opened:  # a quarter of the time of pq.read_table
                    table = opened.read(use_threads=False)
            except (OSError, pa.ArrowInvalid) as error:
                raise LedgerError(
                    str(file), f"cannot be read ({error})", "delete its round folder and run again"
                ) from None
            tables.append(check_schema(table, schema, str(file)))
        return pa.concat_tables(tables)


class Ledger:
    """A results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def trial(self, trial_id: str) -> TrialLedger:
        """The folder of one trial, there or not."""
        return TrialLedger(self.root / "trials" / trial_id)

    def trials(self) -> list[TrialLedger]:
        """All trials that ever started, by id."""
        return [TrialLedger(path) for path in sorted((self.root / "trials").glob("*")) if path.is_dir()]

    def rows(self) -> pa.Table:
        """Rows of every finished round of every trial."""
        return pa.concat_tables([ROW_SCHEMA.empty_table(), *(trial.rows() for trial in self.trials())])

    def check_writable(self) -> None:
        """Raises LedgerError now rather than after an hour of work."""
        with _writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable-{os.getpid()}"
            probe.write_text("")
            probe.unlink()


def write_json(path: Path, data: Any) -> None:
    """Write a small file atomically."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        draft.replace(path)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LedgerError(
            str(path), f"cannot be written ({reason})", "free space, or choose another --results"
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
