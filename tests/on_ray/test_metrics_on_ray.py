"""A grid on a real Ray: the node's metrics port shows what the driver counted, and the results folder what happened."""

import re
import time
import urllib.request
from collections import Counter

import pytest
from runs import spec

from labelbench_ray.api import grid
from labelbench_ray.api.logs import read_logs
from labelbench_ray.api.status import read_status
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Experiment
from labelbench_ray.execution.metrics import METRICS

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

PATIENCE_S = 40
"""Ray's processes report every ten seconds."""


def run(tmp_path):
    diverging = {"name": "linear", "optimizer": "sgd", "learning_rate": 1e30}
    changes = {"name": "watched", "trainer": ["linear", diverging], "strategy": ["random", "margin"]}
    return grid.run(Experiment.from_mapping(spec(**changes)), tmp_path / "results", tmp_path / "features")


def exposed():
    """Samples of this test's experiment, as {(name, {label: value}): value}, from the node's metrics port."""
    import ray

    (node,) = ray.nodes()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    found = {}
    for name, labels, value in re.findall(r"^(ray_labelbench_\w+)\{([^}]*)\} (\S+)$", text, flags=re.MULTILINE):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if told.get("experiment") == "watched":
            ours = frozenset((key, told[key]) for key in ("stage", "state", "step", "kind", "reason") if key in told)
            found[name, ours] = float(value)
    return found


def wait_for(name, value):
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        found = exposed()
        if sum(amount for (metric, _), amount in found.items() if metric == name) == value:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{name} never became {value}: {exposed()}")


def test_the_metrics_port_shows_what_a_grid_did_and_the_folder_tells_it(tmp_path):
    outcome = run(tmp_path)
    assert len(outcome.failed) == 2
    found = wait_for("ray_labelbench_rounds_total", 2 * 3)

    def value(name, **labels):
        return found[f"ray_labelbench_{name}", frozenset(labels.items())]

    assert value("trials", stage="select", state="done") == 2
    assert value("trials", stage="select", state="failed") == 2
    assert value("trials", stage="select", state="running") == 0
    assert value("failures_total") == 2
    assert value("labels_bought_total") == 2 * (20 + 15 + 15)
    assert value("images_embedded_total") == 1797
    seconds = _costs(outcome.results)
    for step in ("train", "evaluate", "select"):
        assert value("stage_seconds_total", step=step) == pytest.approx(seconds[f"{step}_s"])
    assert {name for name, _ in found} <= {metric.exposed for metric in METRICS}

    now = read_status(outcome.results)
    assert (now.counts["done"], now.counts["failed"], now.seconds_left) == (2, 2, None)
    assert {trial.attempts for trial in now.trials} == {1}
    events = [line["event"] for line in read_logs(outcome.results)]
    assert events[0] == "began"
    assert Counter(events) >= Counter(started=4, round=6, done=2, failed=2)
    assert events[-1] == "ended"
    for trial in now.trials:
        traces = [line for line in read_logs(outcome.results, trial.trial) if line["event"] == "traceback"]
        assert len(traces) == (trial.state == "failed")
        assert all("learning rate" in line["text"] for line in traces)


def _costs(results):
    sums = Counter()
    for row in Ledger(results).rows().to_pylist():
        if row["split"] == "cost":
            sums[row["metric"]] += row["value"]
    return sums
