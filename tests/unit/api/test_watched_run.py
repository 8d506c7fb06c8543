"""What a run leaves for those who watch: its journal, its trials' logs, and the numbers it counts."""

from collections import Counter

import pytest
from runs import spec

from labelbench_ray.api import grid
from labelbench_ray.api.logs import read_logs
from labelbench_ray.api.status import read_status
from labelbench_ray.config import Experiment
from labelbench_ray.execution.in_process import InProcess

DIVERGING = {"name": "linear", "optimizer": "sgd", "learning_rate": 1e30}
TINY = {"strategy": "random", "schedule": {"initial": 20, "labels_per_round": 15, "rounds": 2}}


class Sums(Counter):
    """Counters by name and labels."""

    def add(self, metric, amount, **labels):
        self[metric.name, *labels.values()] += amount

    def set(self, metric, value, **labels):
        pass


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A grid of one trial that ends and one that cannot; then the same with one seed more. What was counted, by run."""
    folder, counted = tmp_path_factory.mktemp("watched"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcess, "metrics", lambda self, experiment: counted[-1])
        for trainer, seeds in ((["linear", DIVERGING], 1), ("linear", 2)):
            counted.append(Sums())
            study = Experiment.from_mapping(spec(**TINY, trainer=trainer, seeds=seeds))
            grid.run(study, folder / "results", folder / "features", executor="in_process")
    return folder / "results", counted


def test_the_journal_tells_both_runs_from_beginning_to_end(watched):
    results, _ = watched
    lines = read_logs(results)
    told = Counter(line["event"] for line in lines)
    assert told >= Counter(began=2, stage=2, started=3, round=4, done=2, failed=1, ended=2)
    assert [line["state"] for line in lines if line["event"] == "ended"] == ["failed", "done"]
    (failed,) = (line for line in lines if line["event"] == "failed")
    assert (failed["level"], failed["name"], failed["reason"]) == ("error", "random seed 0", "user error")
    assert "learning rate" in failed["error"]


def test_the_trial_that_failed_has_its_traceback_and_the_others_none(watched):
    results, _ = watched
    for trial in read_status(results).trials:
        traces = [line for line in read_logs(results, trial.trial) if line["event"] == "traceback"]
        assert len(traces) == (trial.state == "failed")
        assert all("TrainingError" in line["traceback"] for line in traces)


def test_status_tells_what_the_run_left(watched):
    results, _ = watched
    now = read_status(results)
    assert {state: count for state, count in now.counts.items() if count} == {"done": 2, "failed": 1}
    done = [one for one in now.trials if one.state == "done"]
    assert {(one.num_labeled, one.finished_rounds, one.rounds) for one in done} == {(35, 2, 2)}
    assert now.seconds_left is None


def test_work_is_counted_in_the_run_that_did_it_and_a_cache_hit_in_the_next(watched):
    _, (first, second) = watched
    name = "labelbench_{}_total".format
    assert first[name("images_embedded"),] == 1797
    assert second[name("images_embedded"),] == 0
    assert (first[name("cache_hits"), "views"], second[name("cache_hits"), "views"]) == (0, 3)
    assert (first[name("cache_hits"), "trials"], second[name("cache_hits"), "trials"]) == (0, 1)
    assert (first[name("rounds"), "select"], second[name("rounds"), "select"]) == (2, 2)
    assert (first[name("labels_bought"),], second[name("labels_bought"),]) == (35, 35)
    assert (first[name("failures"),], second[name("failures"),]) == (1, 0)
