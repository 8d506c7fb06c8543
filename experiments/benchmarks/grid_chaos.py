"""A grid across nodes while its trials, nodes, MLflow server and driver are killed: is the ledger that of a quiet run?

Who is killed next, and when, is drawn from a seed. Which process that is depends on the moment.
"""

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grid_nodes
from grid_study import Settings, Study, end, environment, facts
from training_rows import Row

from labelbench_ray.benchmark.state import Ledger


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A grid and what happens to it."""

    trials: int
    rounds: int
    seconds: float
    """Of one round's training."""
    kills: Mapping[str, int]
    """How many of each of ``trial``, ``node``, ``notice`` (a node will be killed), ``server`` and ``driver``."""
    between_s: tuple[float, float] = (2.0, 4.0)
    """Least and most time from one kill to the next."""
    nodes: int = 3
    seed: int = 0
    limit_s: float = 600.0
    """After which the grid counts as hung."""

    def victims(self) -> list[str]:
        """Who is killed, in order."""
        drawn = [who for who, count in self.kills.items() for _ in range(count)]
        random.Random(self.seed).shuffle(drawn)
        return drawn


SHORT = Plan(
    trials=40,
    rounds=3,
    seconds=0.6,
    kills={"trial": 2, "node": 1, "server": 1, "driver": 1},
    between_s=(1.5, 3.0),
    limit_s=220.0,
)
"""What CI does, in less than two minutes: long enough that all are killed before it is over."""

TINY = Plan(trials=4, rounds=3, seconds=0.4, kills={"trial": 1}, nodes=1, between_s=(0.5, 1.0), limit_s=120.0)
"""Of a smoke run: a head and a node, no MLflow server."""

LONG = Plan(
    trials=60,
    rounds=10,
    seconds=0.4,
    kills={"trial": 8, "node": 4, "notice": 3, "server": 3, "driver": 4},
    limit_s=1200.0,
)

NOTICE_S = 4.0
"""From the notice that a node will be taken away until it is."""


@dataclass
class Outcome:
    """What came of it."""

    wall_s: float
    killed: Counter[str]
    drivers: int
    """How often the command was started."""
    trials: int
    differing: list[str]
    """Trials whose rows or bought ids are not those of the quiet run, or that only one of the two has."""
    not_done: list[str]
    rewritten: list[str]
    """Rounds that were written again after they were there."""
    endings: Counter[str]
    """Of attempts at trials."""

    @property
    def wrong(self) -> list[str]:
        """All that should not be."""
        told = [f"{trial} differs" for trial in self.differing] + [f"{trial} is not done" for trial in self.not_done]
        return told + [f"{where} was written twice" for where in self.rewritten]


def rows(settings: Settings) -> list[Row]:
    """One: how many things went wrong."""
    plan = replace(TINY if settings.smoke else SHORT if settings.short else LONG, seed=settings.seed)
    outcome = chaos(settings.folder, plan)
    killed = ", ".join(f"{count} x {who}" for who, count in sorted(outcome.killed.items()))
    endings = ", ".join(f"{how} {count}" for how, count in sorted(outcome.endings.items()))
    what = f"chaos: {outcome.trials} trials of {plan.rounds} rounds on {plan.nodes} nodes; trials that differ, "
    return [
        Row(
            key="grid_chaos_wrong",
            what=f"{what}did not end, or rounds written twice",
            unit="",
            value=float(len(outcome.wrong)),
            wanted=0.0,
            details=f"killed {killed}; {outcome.wall_s:.0f} s, {outcome.drivers} drivers; attempts {endings}"
            + "".join(f"; {told}" for told in outcome.wrong[:3]),
            more={f"grid_chaos_killed_{who}": float(count) for who, count in outcome.killed.items()}
            | {"grid_chaos_s": outcome.wall_s, "grid_chaos_trials": float(outcome.trials)},
        )
    ]


def chaos(folder: Path, plan: Plan) -> Outcome:
    """Run the grid quietly in one process, then on nodes with kills, and compare. Raises RuntimeError for a hang."""
    shutil.rmtree(folder / "quiet", ignore_errors=True)
    shutil.rmtree(folder / "chaos", ignore_errors=True)
    quiet = Study(folder=folder / "quiet").write(plan.trials, rounds=plan.rounds)
    with ThreadPoolExecutor(1) as beside, _server_to_kill(folder / "chaos" / "mlflow", plan) as server:
        ran_quietly = beside.submit(quiet.run, "--executor", "in_process")  # while the nodes start
        with grid_nodes.started(plan.nodes) as nodes:
            ran_quietly.result()
            study = Study(folder=folder / "chaos").write(
                plan.trials, rounds=plan.rounds, seconds=plan.seconds, mlflow=server.uri if server else "off"
            )
            run = _Run(plan, study, nodes, server)
            run.to_its_end()
    return run.outcome(facts(quiet.results))


def _server_to_kill(folder: Path, plan: Plan) -> contextlib.AbstractContextManager["Server | None"]:
    """Starting one takes as long as a short grid."""
    return mlflow_server(folder) if plan.kills.get("server") else contextlib.nullcontext()


@dataclass
class Server:
    """An MLflow server that can be killed and started again."""

    folder: Path
    port: int
    process: "subprocess.Popen[Any] | None" = None

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it takes seconds until it answers, for which nobody waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command, env=environment(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def kill(self) -> None:
        """All of its processes."""
        if self.process is not None:
            grid_nodes.kill(grid_nodes.family([self.process.pid]))
            self.process.wait()


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(folder, grid_nodes.free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass
class _Run:
    """The grid under attack."""

    plan: Plan
    study: Study
    nodes: grid_nodes.Nodes
    server: Server | None
    killed: Counter[str] = field(default_factory=Counter)
    drivers: int = 0
    wall_s: float = 0.0
    _written: dict[str, tuple[int, int]] = field(default_factory=dict)
    _rewritten: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.plan.seed)
        self._victims = self.plan.victims()
        self._leaving: dict[Any, float] = {}

    def to_its_end(self) -> None:
        """Start the driver, kill, start what was killed, until a driver ends well."""
        began = time.monotonic()
        self._start_driver()
        next_kill = self._next_kill()
        try:
            while self._driver.poll() != 0:
                if time.monotonic() - began > self.plan.limit_s:
                    raise RuntimeError(f"not done after {self.plan.limit_s:g} s; killed {dict(self.killed)}")
                if self._driver.poll() is not None:
                    self._after_an_exit()
                self._look_at_rounds()
                self._take_away()
                if self._victims and time.monotonic() > next_kill and self._kill(self._victims[0]):
                    self.killed[self._victims.pop(0)] += 1
                    next_kill = self._next_kill()
                time.sleep(0.05)
            self._look_at_rounds()
        finally:
            end(self._driver)
        self.wall_s = time.monotonic() - began

    def outcome(self, quiet: Mapping[str, Any]) -> Outcome:
        """Compare with the facts of a quiet run."""
        found = facts(self.study.results)
        trials = list(Ledger(self.study.results).trials())
        states = {trial.trial_id: trial.status().state for trial in trials}
        return Outcome(
            wall_s=self.wall_s,
            killed=self.killed,
            drivers=self.drivers,
            trials=len(found),
            differing=sorted(trial for trial in {*found, *quiet} if found.get(trial) != quiet.get(trial)),
            not_done=sorted(trial for trial, state in states.items() if state != "done"),
            rewritten=sorted(self._rewritten),
            endings=Counter(str(one.ended) for trial in trials for one in trial.attempts.read()),
        )

    def _start_driver(self) -> None:
        self.drivers += 1
        self._driver = self.study.start("--address", self.nodes.address)

    def _after_an_exit(self) -> None:
        """A driver that was killed is started again; one that ended badly by itself is an error."""
        if self._driver.returncode != -9:
            told = " ".join((self.study.folder / "run.err").read_text().split())[-300:]
            raise RuntimeError(f"the driver ended with {self._driver.returncode}: {told}")
        self._start_driver()

    def _next_kill(self) -> float:
        return time.monotonic() + self._chance.uniform(*self.plan.between_s)

    def _kill(self, who: str) -> bool:
        """Kill one of these; False where there is none just now."""
        running = self.nodes.trial_processes()
        if not running or not self._written:  # the grid has not really begun, or its driver was just killed
            return False
        if who == "trial":
            grid_nodes.kill([self._chance.choice(running)])
        elif who in {"node", "notice"}:
            self._lose(self._chance.choice([node for node in self.nodes.living if node not in self._leaving]), who)
        elif who == "server" and self.server:
            self.server.kill()
            self.server.start()
        else:
            self._driver.kill()
            self._driver.wait()
        return True

    def _lose(self, node: Any, how: str) -> None:
        """Kill a node now, or tell that it will be; another one comes."""
        if how == "node":
            self.nodes.kill(node)
        else:
            self.nodes.drain(node, NOTICE_S)
            self._leaving[node] = time.monotonic() + NOTICE_S
        self.nodes.add()

    def _take_away(self) -> None:
        """Kill the nodes whose notice is over."""
        for node in [node for node, end_s in self._leaving.items() if time.monotonic() > end_s]:
            self.nodes.kill(node)
            del self._leaving[node]

    def _look_at_rounds(self) -> None:
        """A round is written once: its file stays the very same."""
        for file in self.study.results.glob("trials/*/rounds/[0-9]*[0-9]/rows.parquet"):
            with contextlib.suppress(FileNotFoundError):
                status, where = file.stat(), str(file.parent.relative_to(self.study.results))
                seen = self._written.setdefault(where, (status.st_ino, status.st_mtime_ns))
                if seen != (status.st_ino, status.st_mtime_ns):
                    self._rewritten.add(where)
