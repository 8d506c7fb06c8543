"""Grids of stubs, run by the command line as a user runs them, and what can be read of them in the results folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labelbench_ray.benchmark.results import COST
from labelbench_ray.benchmark.state import Ledger

BENCHMARKS = Path(__file__).resolve().parent

STRATEGIES: tuple[Any, ...] = (
    "random", "confidence", "entropy", "margin", "coreset", "badge", "galaxy", "direct", "bait",
    {"name": "galaxy", "rounds_per_batch": 2},
)  # fmt: skip
"""Ten, so that a hundred seeds are a thousand trials."""

POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user asked for, the same for all modules. Picklable."""

    smoke: bool
    """Tiny grids."""
    short: bool = False
    """The chaos that CI does."""
    folder: Path
    """For studies and their results; it is there."""
    trials: int = 1000
    """Of the overhead and the resume."""
    seconds: float = 0.5
    """Work of each of them."""
    busy: bool = False
    """The work computes; otherwise it waits."""
    cpus: int = os.cpu_count() or 1
    """Trials at a time."""
    seed: int = 0
    """Of the chaos."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """An experiment file of stubs in a folder of its own."""

    folder: Path
    name: str = "grid"

    @property
    def results(self) -> Path:
        """Its results folder."""
        return self.folder / "results" / self.name

    @property
    def file(self) -> Path:
        """Its experiment file."""
        return self.folder / f"{self.name}.yaml"

    def write(self, trials: int, *, rounds: int = 1, rows: int = 200, mlflow: str = "off", **stub: Any) -> "Study":
        """Write the file: ten strategies, as many seeds as it takes, one label a round."""
        self.folder.mkdir(parents=True, exist_ok=True)
        strategies = STRATEGIES[: min(trials, len(STRATEGIES))]
        spec = {
            "name": self.name,
            "dataset": {"name": "stub", "rows": rows},
            "trainer": {"name": "stub", **stub},
            "strategy": list(strategies),
            "schedule": {"initial": 4, "labels_per_round": 1, "rounds": rounds},
            "seeds": -(-trials // len(strategies)),
            "selection": {"tile_rows": 64},
            "tracking": {"mlflow": mlflow},
        }
        self.file.write_text(yaml.safe_dump(spec))
        return self

    def start(self, *words: Any, log: str = "run") -> subprocess.Popen[str]:
        """``labelbench run`` in a process group of its own; what it says goes to files beside the study."""
        command = [sys.executable, "-m", "labelbench_ray.cli", "run", str(self.file), *map(str, words)]
        with (self.folder / f"{log}.out").open("w") as out, (self.folder / f"{log}.err").open("a") as err:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment(), start_new_session=True, text=True, stdout=out, stderr=err
            )

    def run(
        self,
        *words: Any,
        watch: Callable[[subprocess.Popen[str]], None] = lambda _: None,
        limit_s: float = 3000.0,
        log: str = "run",
    ) -> "Ran":
        """The same, to its end; ``watch`` is called every tenth of a second. Raises RuntimeError if it fails."""
        began = time.time()
        process = self.start(*words, log=log)
        try:
            while process.poll() is None:
                if time.time() - began > limit_s:
                    raise RuntimeError(f"not done after {limit_s:g} s")
                watch(process)
                time.sleep(POLL_S)
        finally:
            end(process)
        told = (self.folder / f"{log}.err").read_text()
        if process.returncode:
            raise RuntimeError(f"exit status {process.returncode}: {' '.join(told.split())[-300:]}")
        return Ran(began=began, wall_s=time.time() - began, err=told)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that ended well."""

    began: float
    wall_s: float
    err: str


def environment() -> dict[str, str]:
    """Of a command that finds the stubs, and of every process that it starts."""
    path = [str(BENCHMARKS), str(_plug_ins()), *filter(None, [os.getenv("PYTHONPATH")])]
    quiet = {"PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "disabled", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **quiet, "PYTHONPATH": os.pathsep.join(path)}


def _plug_ins() -> Path:
    """A folder that is to Python what an installed package with the stubs' entry points is."""
    return BENCHMARKS / "grid_plug_ins"


def end(process: "subprocess.Popen[str]", patience_s: float = 10.0) -> None:
    """Stop a command and all of its process group, if it still runs."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sign)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue


def finish_times(results: Path) -> list[float]:
    """When each trial's last round was written, in order."""
    newest = [
        max((file.stat().st_mtime for file in trial.glob("rounds/[0-9]*[0-9]/rows.parquet")), default=None)
        for trial in (results / "trials").glob("*")
    ]
    return sorted(when for when in newest if when is not None)


def facts(results: Path) -> dict[str, tuple[Any, Any]]:
    """All rows but those that measure the machine, and all bought ids in order, by trial."""
    found = {}
    for trial in Ledger(results).trials():
        rows = [row for row in trial.rows().to_pylist() if row["split"] != COST]
        found[trial.trial_id] = (rows, trial.bought().to_pylist())
    return found


def last_json(text: str) -> Mapping[str, Any]:
    """The object that a command printed last."""
    told: Mapping[str, Any] = json.loads(text[text.index("{") :])
    return told


def mean_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least squares slope of y over x; 0 where x does not move, or is empty."""
    if not x:
        return 0.0
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((one - middle_x) ** 2 for one in x)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0
