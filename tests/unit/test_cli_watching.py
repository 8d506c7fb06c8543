"""`labelbench status` and `labelbench logs` as a user sees them."""

import json

import pytest
from ledgers import write_trial

from labelbench_ray.cli import watching
from labelbench_ray.execution.journal import Journal
from labelbench_ray.execution.progress import Event


@pytest.fixture
def results(tmp_path):
    """One done, one failed, one that a killed driver left."""
    done = write_trial(tmp_path, "badge", budgets=[20, 40])
    write_trial(tmp_path, "margin", budgets=[20], state="failed", error="lower the learning rate")
    write_trial(tmp_path, "random", budgets=[20], state="running")
    journal = Journal(tmp_path / "runs" / "r")
    told = {"trial": done.trial_id, "name": "badge seed 0"}
    journal(Event(**told, what="round", num_labeled=40, test_accuracy=0.75, costs={"round_s": 2.0}))
    journal(Event(**told, what="retry", reason="preempted", error="the node left"))
    return tmp_path


def test_status_shows_counts_and_failures_and_with_all_every_trial(call, results):
    code, out, err = call("status", results)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{results.name}: 3 trials: 1 done, 1 failed, 1 interrupted"
    assert "lower the learning rate" in out
    assert "badge seed 0" not in out
    assert "no trial runs now; the same `labelbench run` goes on" in out
    _, out, _ = call("status", results, "--all")
    assert {"badge seed 0", "margin seed 0", "random seed 0"} <= {
        " ".join(line.split()[1:4]) for line in out.splitlines()
    }
    assert "75.0%" in out


def test_status_as_json_has_counts_and_every_trial(call, results):
    code, out, _ = call("status", results, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["counts"] == {"waiting": 0, "running": 0, "done": 1, "failed": 1, "interrupted": 1}
    assert sorted(trial["state"] for trial in told["trials"]) == ["done", "failed", "interrupted"]
    assert told["seconds_left"] is None


def test_watch_repeats_until_no_trial_runs(call, results, monkeypatch):
    looks = []
    held = write_trial(results, "coreset", budgets=[20], state="running").lock()
    held.__enter__()

    def sleep(seconds):
        looks.append(seconds)
        held.__exit__(None, None, None)

    monkeypatch.setattr(watching.time, "sleep", sleep)
    code, out, _ = call("status", results, "--watch", "--every-s", "2")
    assert (code, looks) == (0, [2.0])
    assert out.count("4 trials: ") == 2
    assert "coreset seed 0" in out
    assert "\x1b" not in out, "no terminal, no repainting"


def test_logs_of_the_grid_and_of_a_trial_by_words(call, results):
    code, out, err = call("logs", results)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2
    _, out, _ = call("logs", results, "badge", "seed", "0", "--level", "warning")
    assert out.endswith("WARNING badge seed 0: retry (preempted): the node left\n")
    assert call("logs", results, "margin seed 0")[1] == ""


def test_logs_as_json_are_lines(call, results):
    _, out, _ = call("logs", results, "--json")
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["round", "retry"]


def test_logs_of_a_wrong_trial_end_with_2_and_a_suggestion(call, results):
    code, out, err = call("logs", results, "bagde", "seed", "0")
    assert (code, out) == (2, "")
    assert "Did you mean: badge seed 0" in err
    assert err.count("\n") == 1
