"""Small experiments on real images, and what must be equal between two runs of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from labelbench_ray.benchmark.state import Ledger

SMALL = {
    "name": "small",
    "dataset": "digits",
    "encoder": "pixels",
    "trainer": "linear",
    "strategy": ["random", "margin", "coreset", "badge", "galaxy"],
    "schedule": {"initial": 20, "labels_per_round": 15, "rounds": 3},
    "seeds": 1,
    "selection": {"tile_rows": 71},  # 1,200 rows: 17 tiles, the last one short; each of 8 shards owns two or more
    "tracking": {"mlflow": "off"},
}


def spec(**changes):
    return {**SMALL, **changes}


def facts(results):
    """All rows but costs, and all bought ids in order, by trial."""
    found = {}
    for trial in Ledger(results).trials():
        rows = [row for row in trial.rows().to_pylist() if row["split"] != "cost"]
        found[trial.trial_id] = (rows, trial.bought().to_pylist())
    return found


def write_spec(folder, **changes):
    file = Path(folder) / "experiment.yaml"
    file.write_text(yaml.safe_dump(spec(**changes)))
    return file


def command(*words):
    return [sys.executable, "-m", "labelbench_ray.cli", *map(str, words)]


def start(folder, *words):
    """The command line as a user runs it, in a process group of its own."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(
        command(*words), cwd=folder, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process, timeout_s=150):
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def cli(folder, *words, timeout_s=150):
    """Run to the end: (exit code, stdout, stderr)."""
    return finish(start(folder, *words), timeout_s)


def last_json(out):
    return json.loads(out[out.index("{") :])
