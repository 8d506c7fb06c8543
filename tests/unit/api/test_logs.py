"""Finding a trial by what people call it, and reading what was logged of it."""

import itertools

import pytest
from ledgers import write_grid, write_trial

from labelbench_ray.api.logs import find_trial, follow_logs, in_words, read_logs
from labelbench_ray.errors import UnknownTrialError
from labelbench_ray.execution.journal import Journal, event_record
from labelbench_ray.execution.json_lines import append
from labelbench_ray.execution.progress import Event


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_grid(tmp_path_factory.mktemp("results"), ["badge", "margin"], seeds=2, budgets=[20])


def test_a_trial_is_found_by_its_name_its_id_and_the_start_of_its_id(results):
    one = find_trial(results, "badge seed 1")
    assert one.name == "badge seed 1"
    assert find_trial(results, one.trial) == one
    assert find_trial(results, one.trial[:10]) == one


def test_a_wrong_name_is_refused_with_near_ones(results):
    with pytest.raises(UnknownTrialError, match=r"which trial is 'bagde seed 1'\? Did you mean: badge seed 1"):
        find_trial(results, "bagde seed 1")


def test_a_name_of_several_trials_is_refused_with_their_ids(tmp_path):
    trials = [write_trial(tmp_path, "badge", dataset=dataset, budgets=[20]) for dataset in ("digits", "cifar10")]
    with pytest.raises(UnknownTrialError, match="2 trials are called so; give an id") as raised:
        find_trial(tmp_path, "badge seed 0")
    assert all(trial.trial_id in str(raised.value) for trial in trials)
    assert "cifar10" in str(raised.value)


@pytest.fixture
def logged(tmp_path):
    journal = Journal(tmp_path / "runs" / "r")
    journal(Event(trial="a", name="badge seed 0", what="round", at=1.0, num_labeled=20))
    journal(Event(trial="b", name="badge seed 1", what="round", at=2.0, num_labeled=20))
    journal(Event(trial="a", name="badge seed 0", what="failed", at=4.0, error="no"))
    line = {"time": "1970-01-01T00:00:03.000Z", "level": "warning", "event": "log", "trial": "a", "text": "hot"}
    append(tmp_path / "trials" / "a" / "log.jsonl", line)
    return tmp_path


def test_a_trial_s_lines_are_those_of_the_driver_and_its_own_in_order_of_time(logged):
    assert [line["event"] for line in read_logs(logged, "a")] == ["round", "log", "failed"]
    assert [line["trial"] for line in read_logs(logged)] == ["a", "b", "a"]


def test_a_level_leaves_out_what_matters_less(logged):
    assert [line["event"] for line in read_logs(logged, "a", "warning")] == ["log", "failed"]
    assert [line["event"] for line in read_logs(logged, "a", "error")] == ["failed"]


def test_following_gives_what_is_there_and_then_what_is_added(logged):
    added = []

    def add(_):
        added.append(len(added))
        Journal(logged / "runs" / "r").message(f"later {added[-1]}")

    lines = list(itertools.islice(follow_logs(logged, sleep=add), 5))
    assert [line["event"] for line in lines] == ["round", "round", "failed", "message", "message"]
    assert [line["text"] for line in lines[3:]] == ["later 0", "later 1"]


def words(what, **more):
    told = event_record(Event(trial="a", name="badge seed 0", what=what, **more))
    kept = {key: value for key, value in told.items() if value not in ("", None, {})}
    return in_words({"time": "2026-11-22T20:15:03.120Z", **kept})


def test_lines_for_people_say_when_who_and_what():
    costs = {"train_s": 1.5, "evaluate_s": 0.2, "round_s": 2.1, "peak_memory_gib": 1.0}
    assert words("round", round=3, num_labeled=80, test_accuracy=0.912, costs=costs) == (
        "2026-11-22 20:15:03  badge seed 0: round 3, 80 labels, test 91.2%, 2.1 s (train 1.5, evaluate 0.2)"
    )
    assert words("failed", error="no label left") == "2026-11-22 20:15:03  ERROR badge seed 0: failed: no label left"
    assert words("retry", reason="preempted", error="the node left").endswith(
        "WARNING badge seed 0: retry (preempted): the node left"
    )
    assert words("started", host="node-3").endswith("badge seed 0: started on node-3")
    assert words("done").endswith("badge seed 0: done")


def test_a_traceback_is_shown_below_its_line():
    line = {
        "time": "",
        "level": "error",
        "event": "traceback",
        "name": "x",
        "text": "no",
        "traceback": "Trace\n  in f\n",
    }
    assert in_words(line).splitlines()[1:] == ["Trace", "  in f"]


def test_the_driver_s_own_lines_are_told(tmp_path):
    journal = Journal(tmp_path / "runs" / "r")
    journal.write("began", experiment="small", trials=4, done=0)
    journal.write("stage", stage="select", trials=4, rounds=8)
    journal.message("warning: little memory")
    journal.write("ended", state="done")
    told = [in_words(line) for line in read_logs(tmp_path)]
    assert "began small: 4 trials, 0 done (driver " in told[0]
    assert told[1].endswith("select: 4 trials, 8 rounds")
    assert told[2].endswith("WARNING little memory")
    assert told[3].endswith("ended: done")
