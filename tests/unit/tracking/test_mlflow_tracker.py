import json
import shutil
import sqlite3
import time
from contextlib import closing

import pytest
from small_ledger import commit_rounds, describe_trial, finished_grid

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LedgerError, TrackingError
from labelbench_ray.tracking.connection import address, default_uri, reason
from labelbench_ray.tracking.mlflow import MlflowTracker, Place, create_database, find_place, talking_to
from labelbench_ray.tracking.tracker import sync

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def tracker(results, **options):
    return MlflowTracker(default_uri(results), "small study", **options)


def history(results, run, key):
    from mlflow import MlflowClient

    return [(m.step, m.value) for m in MlflowClient(default_uri(results)).get_metric_history(run.info.run_id, key)]


def content(results):
    """Every row of every table that tells of runs."""
    tables = ["experiments", "runs", "tags", "params", "metrics", "latest_metrics", "datasets", "inputs"]
    with closing(sqlite3.connect(results / "mlflow.db")) as database:
        return {table: sorted(map(repr, database.execute(f"SELECT * FROM {table}"))) for table in tables}


def test_a_grid_becomes_a_parent_with_a_child_per_trial(results, read_runs):
    ledger = finished_grid(results, strategies=("random", "badge"), seeds=2)
    sync(tracker(results), ledger.trials(), "done")
    runs = read_runs(results)
    assert set(runs) == {"small study", *(f"{s} · seed {n}" for s in ("random", "badge") for n in (0, 1))}
    parent, child = runs["small study"], runs["badge · seed 1"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert child.data.params["trainer.optimiser.betas"] == "[0.9, 1]"
    assert child.data.params["seed"] == "1"
    assert child.data.tags["labelbench.numeric_class"] == "cpu-avx2-float32"
    assert child.data.tags["labelbench.cheats"] == "false"
    assert child.inputs.dataset_inputs[0].dataset.name == "blobs"


def test_steps_are_numbers_of_labels(results, read_runs):
    ledger = finished_grid(results, strategies=("badge",), seeds=1, rounds=3)
    sync(tracker(results), ledger.trials(), "done")
    run = read_runs(results)["badge · seed 0"]
    assert history(results, run, "round") == [(20, 0.0), (30, 1.0), (40, 2.0)]
    steps, values = zip(*history(results, run, "test/accuracy"), strict=True)
    assert steps == (20, 30, 40)
    assert values == pytest.approx((0.35, 0.6, 0.9 - 0.5 / 3 - 0.05))


def test_syncing_again_changes_nothing(results):
    ledger = finished_grid(results, seeds=1)
    sync(tracker(results), ledger.trials(), "done")
    before = content(results)
    sync(tracker(results), ledger.trials(), "done")
    assert content(results) == before


def test_a_wiped_database_is_filled_again(results, empty_database, tmp_path):
    ledger = finished_grid(results, strategies=("random",), seeds=2)
    sync(tracker(results), ledger.trials(), "done")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(empty_database, elsewhere / "mlflow.db")
    sync(tracker(elsewhere), ledger.trials(), "done")

    def numbers(folder):
        with closing(sqlite3.connect(folder / "mlflow.db")) as database:
            return sorted(database.execute("SELECT key, value, timestamp, step FROM metrics"))

    assert len(numbers(results)) == 2 * 5 * 5
    assert numbers(elsewhere) == numbers(results)


def test_a_deleted_experiment_is_filled_again(results, read_runs):
    from mlflow import MlflowClient

    ledger = finished_grid(results, strategies=("random",), seeds=1)
    live = tracker(results)
    sync(live, ledger.trials(), "done")
    client = MlflowClient(default_uri(results))
    client.delete_experiment(find_place(default_uri(results), "small study").experiment_id)
    with pytest.raises(TrackingError):
        live.attach([], note="a run that is gone")
    sync(live, ledger.trials(), "done")
    assert len(read_runs(results)) == 2


def test_a_resumed_trial_logs_only_its_new_rounds(results, read_runs):
    ledger = Ledger(results)
    trial = describe_trial(ledger, "badge")
    commit_rounds(trial, 0, 2)
    first = tracker(results)
    first.open()
    with trial.lock():
        first.sync_trial(trial)
    started = read_runs(results)["badge · seed 0"]
    assert started.info.status == "RUNNING"

    commit_rounds(trial, 2, 4)
    trial.mark("done")
    sync(tracker(results), [trial], "done")
    run = read_runs(results)["badge · seed 0"]
    assert run.info.run_id == started.info.run_id
    assert run.info.status == "FINISHED"
    assert history(results, run, "round") == [(20, 0.0), (30, 1.0), (40, 2.0), (50, 3.0)]
    assert len(history(results, run, "test/accuracy")) == 4


def test_a_round_cut_off_half_way_is_completed_without_doubles(results, read_runs, monkeypatch):
    """More metrics than one batch takes, and a crash between two batches."""
    from mlflow import MlflowClient

    from labelbench_ray.tracking import mlflow as module

    trial = describe_trial(Ledger(results), "badge")
    commit_rounds(trial, 0, 1)
    monkeypatch.setattr(module, "_METRICS_PER_BATCH", 2)
    log_batch, calls = MlflowClient.log_batch, []

    def cut_off(self, run_id, **what):
        calls.append(what)
        if len(calls) == 2:
            raise OSError("connection lost")
        return log_batch(self, run_id, **what)

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_batch", cut_off)
        with pytest.raises(TrackingError, match="connection lost"):
            tracker(results).sync_trial(trial)
    tracker(results).sync_trial(trial)
    run = read_runs(results)["badge · seed 0"]
    assert [len(history(results, run, key)) for key in ("test/accuracy", "test/macro_f1", "cost/train_s")] == [1, 1, 1]


def test_params_are_logged_once_and_completed(results, read_runs):
    trial = describe_trial(Ledger(results), "badge")
    first = tracker(results)
    first.sync_trial(trial)
    told = trial.description()
    told["identity"]["trainer"]["learning_rate"] = 0.1  # MLflow refuses another value for a param
    told["identity"]["trainer"]["epochs"] = 5
    trial.write_description(told)
    first.sync_trial(trial)
    params = read_runs(results)["badge · seed 0"].data.params
    assert params["trainer.learning_rate"] == "0.003"
    assert params["trainer.epochs"] == "5"


def test_a_failed_trial_says_why_until_it_is_done(results, read_runs):
    trial = describe_trial(Ledger(results), "badge")
    trial.mark("failed", "class 3 has no example")
    sync(tracker(results), [trial], "failed")
    failed = read_runs(results)["badge · seed 0"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["labelbench.error"] == "class 3 has no example"
    assert "class 3 has no example" in failed.data.tags["mlflow.note.content"]

    trial.mark("done")
    sync(tracker(results), [trial], "done")
    done = read_runs(results)["badge · seed 0"]
    assert done.info.status == "FINISHED"
    assert not {"labelbench.error", "mlflow.note.content"} & set(done.data.tags)


def test_a_trial_that_failed_before_it_could_describe_itself(results, read_runs):
    trial = Ledger(results).trial("abc123")
    trial.mark("failed", "no module named foo")
    sync(tracker(results), [trial, Ledger(results).trial("never-started")], "failed")
    assert set(read_runs(results)) == {"small study", "trial abc123"}


def test_a_killed_trial_is_running_until_the_grid_ends(results, read_runs):
    trial = describe_trial(Ledger(results), "badge")
    live = tracker(results)
    with trial.lock():
        live.sync_trial(trial)
    assert {run.info.status for run in read_runs(results).values()} == {"RUNNING"}
    live.close("interrupted")
    assert {run.info.status for run in read_runs(results).values()} == {"KILLED"}
    with trial.lock():
        tracker(results).sync_trial(trial)  # the trial goes on, and so does its grid
    assert {run.info.status for run in read_runs(results).values()} == {"RUNNING"}


def test_names_tell_what_varies_and_follow_the_ledger(results, read_runs):
    ledger = Ledger(results)
    trial = describe_trial(ledger, "margin", kind="evaluation", trainer="finetune", dataset="cifar10")
    tracker(results).sync_trial(trial)
    assert "finetune of margin · seed 0" in read_runs(results)
    commit_rounds(trial, 0, 1)
    tracker(results, varies=("dataset",)).sync_trial(trial)
    assert "cifar10 · finetune of margin@20 · seed 0" in read_runs(results)


def test_bought_ids_and_description_are_attached_when_a_trial_stops(results, read_runs):
    from mlflow import MlflowClient

    trial = describe_trial(Ledger(results), "badge")
    commit_rounds(trial, 0, 1)
    live = tracker(results)
    with trial.lock():
        live.sync_trial(trial)
    client = MlflowClient(default_uri(results))
    run_id = read_runs(results)["badge · seed 0"].info.run_id
    assert client.list_artifacts(run_id) == []
    for last, state in ((1, "interrupted"), (2, "done")):
        commit_rounds(trial, last - 1, last) if last > 1 else None
        trial.mark(state)
        live.sync_trial(trial)
        table = json.loads((results / "mlflow-artifacts" / run_id / "artifacts" / "bought.json").read_text())
        assert table["columns"] == ["batch", "rank", "example_id", "label"]
        assert table["data"][0] == [1, 0, 20, 2]
        assert len(table["data"]) == 10 * last
    assert {file.path for file in client.list_artifacts(run_id)} == {"bought.json", "trial.json"}


def test_a_view_shows_mean_curves_of_test_metrics(results):
    from mlflow import MlflowClient

    live = tracker(results, varies=("dataset",))
    ledger = finished_grid(results, strategies=("random",), seeds=1)
    live.open()
    assert find_place(default_uri(results)) == Place("1", False, None)
    sync(live, ledger.trials(), "done")
    (results / "report.html").write_text("")
    live.attach([results / "report.html"])
    assert find_place(default_uri(results), "small study") == Place("1", True, live._grid.parent_id)
    stored = json.loads(
        MlflowClient(default_uri(results)).get_experiment("1").tags["mlflow.sharedViewState.labelbench"]
    )
    wanted = ["params.`dataset`", "params.`strategy`", "metrics.`test/accuracy`", "metrics.`test/macro_f1`"]
    assert stored["selectedColumns"] == wanted
    assert [key["groupByData"] for key in stored["groupBy"]["groupByKeys"]] == ["dataset", "strategy"]


def test_the_report_and_a_note_go_to_the_parent(results, read_runs):
    report = results / "report.html"
    live = tracker(results, spec={"name": "small study", "seeds": 3})
    live.open()
    for text in ("old", "new"):
        report.write_text(text)
        live.attach([report], note=f"| {text} |")
    parent = read_runs(results)["small study"]
    folder = results / "mlflow-artifacts" / parent.info.run_id / "artifacts"
    assert (folder / "report.html").read_text() == "new"
    assert "seeds: 3" in (folder / "experiment.yaml").read_text()
    assert parent.data.tags["mlflow.note.content"] == "| new |"


def test_an_unreadable_ledger_is_not_blamed_on_the_server(results):
    trial = describe_trial(Ledger(results), "badge")
    (trial.folder / "trial.json").write_text("{")
    with pytest.raises(LedgerError, match="description"):
        tracker(results).sync_trial(trial)


def test_a_dead_server_is_one_quick_error():
    began = time.monotonic()
    with pytest.raises(TrackingError, match=r"^tracking http://127.0.0.1:9: Connection refused; results are safe"):
        MlflowTracker("http://ann:secret@127.0.0.1:9", "small study").open()
    assert time.monotonic() - began < 60  # MLflow's own patience is minutes


def test_a_database_that_cannot_be_written_is_an_error(results, monkeypatch):
    monkeypatch.chdir(results)  # MLflow makes a folder named "file:" for this form of address
    uri = f"sqlite:///file:{results / 'mlflow.db'}?mode=ro&uri=true"
    with pytest.raises(TrackingError, match="readonly") as caught:
        MlflowTracker(uri, "small study").open()
    assert "\n" not in str(caught.value)


def test_the_environment_and_the_users_choice_stay(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    import os

    with talking_to("sqlite://"):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"


def test_credentials_are_never_shown():
    uri = "https://ann:secret@example.org/mlflow"
    assert address(uri) == "https://example.org/mlflow"
    assert "secret" not in reason(Exception(f"cannot reach {uri}"), uri)


def test_a_database_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    from labelbench_ray.tracking import mlflow as module

    def killed(uri, artifacts):
        (tmp_path / ".mlflow.db.draft").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(module, "_initialize", killed)
        with pytest.raises(KeyboardInterrupt):
            create_database(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
    with talking_to("sqlite://"):
        create_database(tmp_path / "mlflow.db")
    assert find_place(default_uri(tmp_path), "small study") is None
