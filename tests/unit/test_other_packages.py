"""A strategy of another installed package: listed, valid, chosen by, and run in grids, also on Ray's workers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import write_spec

PACKAGE = Path(__file__).resolve().parents[1] / "plugin_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where pip put it: a folder of its own, so that this environment stays as it is."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(PACKAGE, folder / "source")  # setuptools builds beside what it builds
    words = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    words += ["--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def labelbench(installed, tmp_path):
    """The command, in an environment that has the other package."""
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    def run_it(*words):
        command = [sys.executable, "-m", "labelbench_ray.cli", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    return run_it


def test_it_is_listed_shown_and_valid(labelbench):
    assert "longest" in json.loads(labelbench("list", "strategy", "--json").stdout)["strategy"]
    shown = json.loads(labelbench("show", "strategy", "longest", "--json").stdout)
    assert shown["parameters"] == [{"name": "power", "type": "float", "default": "2.0"}]
    assert labelbench("validate", "strategy", "longest").stdout == "strategy longest is valid\n"


def test_it_chooses_from_a_pool_of_one_s_own(labelbench, tmp_path):
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    features[[3, 17, 38]] *= 100
    np.savez(tmp_path / "pool.npz", features=features)
    words = ["--strategy", "longest", "--budget", 3, "--out", "next.csv"]
    done = labelbench("select", "--features", "pool.npz", *words, "--set", "strategy.power=1")
    assert done.returncode == 0, done.stderr
    chosen = [line.split(",")[0] for line in (tmp_path / "next.csv").read_text().splitlines()[1:]]
    assert sorted(chosen, key=int) == ["3", "17", "38"]


def run_grid(labelbench, tmp_path, *words):
    write_spec(tmp_path, strategy=["random", {"name": "longest", "power": [1.0, 2.0]}], seeds=1)
    done = labelbench("run", "experiment.yaml", *words, "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    return outcome["num_ran"], outcome["failed"]


def test_it_runs_in_a_grid(labelbench, tmp_path):
    assert run_grid(labelbench, tmp_path, "--executor", "in_process") == (3, [])


@pytest.mark.ray
@pytest.mark.slow  # starts a cluster of its own
def test_it_runs_on_ray_s_workers_and_selects_in_actors(labelbench, tmp_path):
    words = ("--num-cpus", 3, "--set", "selection.shards=2", "--set", "selection.through=actors")
    assert run_grid(labelbench, tmp_path, *words) == (3, [])
