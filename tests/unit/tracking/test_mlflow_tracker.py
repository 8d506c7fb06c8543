import json
import shutil
import socket
import sqlite3
import time
from contextlib import closing

import pytest
from small_ledger import commit_rounds, describe_trial, finished_grid

from labelbench_ray.benchmark.run_folder import new_run
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LedgerError, TrackingError
from labelbench_ray.tracking.background import BackgroundTracker
from labelbench_ray.tracking.connection import address, default_uri, reason
from labelbench_ray.tracking.mlflow import MlflowTracker, Place, create_database, find_place, talking_to
from labelbench_ray.tracking.tracker import sync

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def tracker(results, **options):
    return MlflowTracker(default_uri(results), "small study", Ledger(results), **options)


def history(results, run, key):
    from mlflow import MlflowClient

    return [(m.step, m.value) for m in MlflowClient(default_uri(results)).get_metric_history(run.info.run_id, key)]


def content(results):
    """Every row of every table, and every file with its time."""
    with closing(sqlite3.connect(results / "mlflow.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {table: sorted(map(repr, database.execute(f'SELECT * FROM "{table}"'))) for table in tables}
    files = (file for file in (results / "mlflow-artifacts").rglob("*") if file.is_file())
    return rows, {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.fixture
def calls(monkeypatch):
    """Names of what MLflow's database was asked, in order."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    asked = []

    def recording(name, method):
        def call(self, *values, **named):
            asked.append(name)
            return method(self, *values, **named)

        return call

    for name in ("create_run", "log_batch", "log_inputs", "update_run_info", "set_tag", "get_run", "_search_runs"):
        monkeypatch.setattr(SqlAlchemyStore, name, recording(name, getattr(SqlAlchemyStore, name)))
    return asked


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
    rows, files = content(results)
    assert len(files) == 2 * 3
    assert (rows, files) == before


@pytest.fixture
def by_calls(monkeypatch):
    """As with a server, or with a version of MLflow whose tables are not known."""
    monkeypatch.setattr("labelbench_ray.tracking.mlflow.direct.KNOWN", "0.0.")


@pytest.mark.usefixtures("by_calls")
def test_a_trial_that_ended_costs_four_calls_and_one_that_is_shown_none(results, calls):
    trials = finished_grid(results, strategies=("random", "badge"), seeds=1).trials()
    live = tracker(results)
    live.open()
    calls.clear()
    for trial in trials:
        live.sync_trial(trial)
    assert calls == ["create_run", "log_inputs", "log_batch", "update_run_info"] * 2
    calls.clear()
    for trial in trials:
        live.sync_trial(trial)
    assert calls == []
    again = tracker(results)
    again.open()
    assert calls == ["_search_runs"] * 2
    for trial in trials:
        again.sync_trial(trial)
    assert calls == ["_search_runs"] * 2


def test_runs_written_at_once_are_those_that_calls_write(results, empty_database, tmp_path, monkeypatch, calls):
    """Every table that tells of runs, for a trial that is done, one that failed and one that measured nonsense."""
    trials = [describe_trial(Ledger(results), strategy) for strategy in ("random", "badge", "margin")]
    for trial, state, rounds in zip(trials, ("done", "failed", "interrupted"), (3, 1, 2), strict=True):
        commit_rounds(trial, 0, rounds, nonsense=state == "interrupted")
        trial.mark(state, "class 3 has no example" if state == "failed" else "")
    trials.append(Ledger(results).trial("undescribed"))
    trials[-1].mark("failed", "no module named foo")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(empty_database, elsewhere / "mlflow.db")
    sync(tracker(results), trials, "failed")
    assert calls.count("log_batch") == 0
    monkeypatch.setattr("labelbench_ray.tracking.mlflow.direct.KNOWN", "0.0.")
    sync(tracker(elsewhere), trials, "failed")
    assert calls.count("log_batch") == 4
    assert told_of_runs(results) == told_of_runs(elsewhere)


def told_of_runs(folder):
    """Rows of the children by table; ids replaced by names."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        names = dict(database.execute("SELECT run_uuid, name FROM runs"))
        names |= dict(database.execute("SELECT dataset_uuid, digest FROM datasets"))
        names |= dict(database.execute("SELECT input_uuid, 'link' FROM inputs"))
        tables = {
            table: list(database.execute(f"SELECT * FROM {table}"))
            for table in ("runs", "tags", "params", "metrics", "latest_metrics", "datasets", "inputs", "input_tags")
        }
    grid = next(run for run, name in names.items() if name == "small study")

    def named(row):
        text = repr(row).replace(str(folder), "")
        for run, name in names.items():
            text = text.replace(run, name)
        return text

    return {table: sorted(named(row) for row in rows if grid not in row) for table, rows in tables.items()}


def test_rounds_that_are_shown_are_not_read_again(results, read_runs):
    """What a look at a trial costs does not grow with its rounds."""
    trial = describe_trial(Ledger(results), "badge")
    commit_rounds(trial, 0, 3)
    live = tracker(results)
    live.sync_trial(trial)
    for index in range(3):
        (trial.folder / "rounds" / f"{index:04d}" / "rows.parquet").write_text("not read")
    commit_rounds(trial, 3, 4)
    live.sync_trial(trial)
    run = read_runs(results)["badge · seed 0"]
    assert [value for _, value in history(results, run, "round")] == [0.0, 1.0, 2.0, 3.0]
    assert run.data.tags["labelbench.numeric_class"] == "cpu-avx2-float32"


def test_a_long_trial_is_shown_in_parts_as_at_once(results, empty_database, tmp_path, monkeypatch, calls):
    trial = describe_trial(Ledger(results), "badge")
    commit_rounds(trial, 0, 5)
    trial.mark("done")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(empty_database, elsewhere / "mlflow.db")
    sync(tracker(results), [trial], "done")
    assert calls.count("log_batch") == 0
    monkeypatch.setattr("labelbench_ray.tracking.mlflow.runs._ROUNDS_AT_ONCE", 2)
    sync(tracker(elsewhere), [trial], "done")
    assert calls.count("log_batch") == 3
    assert told_of_runs(results) == told_of_runs(elsewhere)


def test_two_runs_of_one_trial_become_one(results, read_runs):
    """Two drivers that made one each."""
    trial = describe_trial(Ledger(results), "badge")
    first, second = tracker(results), tracker(results)
    first.open()
    second.open()
    commit_rounds(trial, 0, 1)
    first.sync_trial(trial)
    commit_rounds(trial, 1, 2)
    trial.mark("done")
    second.sync_trial(trial)
    sync(tracker(results), [trial], "done")
    runs = read_runs(results)
    assert set(runs) == {"small study", "badge · seed 0"}
    assert history(results, runs["badge · seed 0"], "round") == [(20, 0.0), (30, 1.0)]
    assert runs["badge · seed 0"].info.status == "FINISHED"


def test_the_machine_is_shown_under_mlflows_names(results, read_runs):
    live = tracker(results)
    live.watch_machine()
    live.watch_machine()  # at once again: there is nothing to say yet
    parent = read_runs(results)["small study"]
    expected = {"cpu_utilization_percentage", "system_memory_usage_percentage", "disk_usage_percentage"}
    assert {f"system/{name}" for name in expected} <= set(parent.data.metrics)
    assert len(history(results, parent, "system/system_memory_usage_percentage")) == 1


def test_a_machine_without_sensors_is_not_shown(results, read_runs, monkeypatch):
    from labelbench_ray.tracking.mlflow import machine

    class Broken:
        def collect_metrics(self):
            raise OSError("no such sensor")

    monkeypatch.setattr(machine, "_monitors", lambda: [Broken()])
    tracker(results).watch_machine()
    assert read_runs(results)["small study"].data.metrics == {}


def test_a_database_removed_in_the_middle_is_filled_again(results, read_runs, empty_database):
    ledger = finished_grid(results, strategies=("random", "badge"), seeds=1)
    first, second = ledger.trials()
    live, warnings = tracker(results), []
    background = BackgroundTracker(live, warnings.append, pass_s=0.01, share=1.0, retry_s=0.01)
    background.open()
    background.sync_trial(first)
    deadline = time.monotonic() + 30
    while not live._grid or "FINISHED" not in [shown.status for shown in live._grid.trials.values()]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (results / "mlflow.db").unlink()
    shutil.copy(empty_database, results / "mlflow.db")
    background.sync_trial(second)
    background.close("done", timeout_s=60)
    assert set(read_runs(results)) == {"small study", "random · seed 0", "badge · seed 0"}
    assert len(warnings) == 1


def test_a_run_deleted_by_a_person_is_made_again(results, read_runs):
    trial = describe_trial(Ledger(results), "badge")
    live = tracker(results)
    live.sync_trial(trial)
    live._grid.client.delete_run(live._grid.trials[trial.trial_id].run_id)
    commit_rounds(trial, 0, 2)
    trial.mark("done")
    with pytest.raises(TrackingError):
        live.sync_trial(trial)
    live.sync_trial(trial)
    assert history(results, read_runs(results)["badge · seed 0"], "round") == [(20, 0.0), (30, 1.0)]


def test_a_server_that_takes_calls_and_never_answers_is_one_error(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(TrackingError, match="no answer within"):
            MlflowTracker(f"http://127.0.0.1:{mute.getsockname()[1]}", "small study", Ledger(tmp_path)).open()


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


@pytest.mark.usefixtures("by_calls")
def test_a_round_cut_off_half_way_is_completed_without_doubles(results, read_runs, monkeypatch):
    """More metrics than one batch takes, and a crash between two batches."""
    from mlflow import MlflowClient

    from labelbench_ray.tracking.mlflow import runs as module

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
    assert [len(history(results, run, key)) for key in ("test/accuracy", "test/macro_f1", "system/train_s")] == [
        1,
        1,
        1,
    ]


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


def test_a_driver_that_ends_leaves_to_another_what_it_runs(results, read_runs):
    """Two drivers on one folder: the first is interrupted, the second goes on and tells how it all ended."""
    ledger = Ledger(results)
    mine, theirs, ended = (describe_trial(ledger, strategy) for strategy in ("random", "badge", "margin"))
    first, second = tracker(results), tracker(results)
    with new_run(results).driven():
        with theirs.lock():
            with mine.lock(), ended.lock():
                for trial in (mine, theirs, ended):
                    first.sync_trial(trial)
            commit_rounds(ended, 0, 2)
            ended.mark("done")  # by the other driver, which is yet to show it
            first.close("interrupted")
            runs = read_runs(results)
            assert {name: run.info.status for name, run in runs.items()} == {
                "small study": "RUNNING",
                "random · seed 0": "KILLED",
                "badge · seed 0": "RUNNING",
                "margin · seed 0": "FINISHED",
            }
            assert runs["small study"].data.tags["labelbench.state"] == "running"
            assert len(history(results, runs["margin · seed 0"], "round")) == 2
        for trial in (mine, theirs):
            trial.mark("done")
            second.sync_trial(trial)
    second.close("done")
    runs = read_runs(results)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["small study"].data.tags["labelbench.state"] == "done"


def test_a_run_whose_trial_is_gone_ends_with_the_grid(results, read_runs):
    trial = describe_trial(Ledger(results), "badge")
    live = tracker(results)
    with trial.lock():
        live.sync_trial(trial)
    shutil.rmtree(trial.folder)
    live.close("done")
    assert read_runs(results)["badge · seed 0"].info.status == "KILLED"


def test_a_sync_beside_a_running_grid_ends_nothing(results, read_runs):
    trial = describe_trial(Ledger(results), "badge")
    with trial.lock():
        sync(tracker(results), [trial], "running")
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
    assert find_place(default_uri(results), "small study") == Place("1", True, live._grid.parent.run_id)
    stored = json.loads(
        MlflowClient(default_uri(results)).get_experiment("1").tags["mlflow.sharedViewState.labelbench"]
    )
    wanted = ["params.`dataset`", "params.`strategy`", "metrics.`test/accuracy`", "metrics.`test/macro_f1`"]
    assert stored["selectedColumns"] == wanted
    [group] = stored["groupBy"]["groupByKeys"]
    runs = live._grid.client.search_runs(["1"], f"tags.`{group['groupByData']}` = 'blobs · random'")
    assert [run.info.run_name for run in runs] == ["blobs · random · seed 0"]


def test_the_report_and_a_note_go_to_the_parent(results, read_runs):
    report = results / "report.html"
    live = tracker(results, spec={"name": "small study", "seeds": 3})
    live.open()
    for text in ("old", "new"):
        report.write_text(text)
        live.attach([report], note=f"| {text} |")
        before = content(results)
        tracker(results).attach([report], note=f"| {text} |")
        assert content(results) == before
    parent = read_runs(results)["small study"]
    folder = results / "mlflow-artifacts" / parent.info.run_id / "artifacts"
    assert (folder / "report.html").read_text() == "new"
    assert "seeds: 3" in (folder / "experiment.yaml").read_text()
    link = f"[report.html](#/experiments/1/runs/{parent.info.run_id}/artifacts/report.html)"
    assert parent.data.tags["mlflow.note.content"] == f"{link}\n\n| new |"


def test_an_unreadable_ledger_is_not_blamed_on_the_server(results):
    trial = describe_trial(Ledger(results), "badge")
    (trial.folder / "trial.json").write_text("{")
    with pytest.raises(LedgerError, match="description"):
        tracker(results).sync_trial(trial)


def test_a_dead_server_is_one_quick_error(tmp_path):
    began = time.monotonic()
    with pytest.raises(TrackingError, match=r"^tracking http://127.0.0.1:9: Connection refused; results are safe"):
        MlflowTracker("http://ann:secret@127.0.0.1:9", "small study", Ledger(tmp_path)).open()
    assert time.monotonic() - began < 60  # MLflow's own patience is minutes


def test_a_database_that_cannot_be_written_is_an_error(results, monkeypatch):
    monkeypatch.chdir(results)  # MLflow makes a folder named "file:" for this form of address
    uri = f"sqlite:///file:{results / 'mlflow.db'}?mode=ro&uri=true"
    with pytest.raises(TrackingError, match="readonly") as caught:
        MlflowTracker(uri, "small study", Ledger(results)).open()
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
    from labelbench_ray.tracking.mlflow import server as module

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
