"""The chaos of experiments/benchmarks/grid_chaos.py in its short form: trials, a node, server and driver are killed."""

import dataclasses

import psutil
import pytest
from benchmark_parts import part

pytestmark = [pytest.mark.ray, pytest.mark.timeout(290)]


def test_a_grid_under_attack_ends_with_the_ledger_of_a_quiet_one(tmp_path):
    chaos = part("grid_chaos")
    outcome = chaos.chaos(tmp_path, chaos.SHORT)
    assert outcome.wrong == []
    assert outcome.trials == chaos.SHORT.trials
    assert dict(outcome.killed) == dict(chaos.SHORT.kills), "the grid was over before all were killed"
    assert outcome.drivers == 1 + chaos.SHORT.kills["driver"]
    assert left_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_longer_attack_changes_nothing_either(tmp_path, seed):
    chaos = part("grid_chaos")
    outcome = chaos.chaos(tmp_path, dataclasses.replace(chaos.LONG, seed=seed))
    assert outcome.wrong == []
    assert dict(outcome.killed) == dict(chaos.LONG.kills), "the grid was over before all were killed"
    assert left_in(tmp_path) == []


def left_in(folder):
    """Processes that still work in the folder of a test."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in " ".join(process.info["cmdline"] or []):
            found.append(process.info["cmdline"])
    return found
