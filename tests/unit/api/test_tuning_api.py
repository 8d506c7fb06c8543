"""`labelbench tune` from Python and from the command line: what it reads, what it writes, how it goes on."""

import json

import pytest
import yaml
from runs import write_spec
from tuning_data import SealedTest, TestSplitReadError, rows_of, study

from labelbench_ray.api import grid, tuning
from labelbench_ray.cli import main
from labelbench_ray.config import Tuning
from labelbench_ray.errors import LedgerError, PlatformError, SpecError, TrainingError
from labelbench_ray.execution.tuning_ledger import TuningLedger
from labelbench_ray.execution.tuning_measure import Bench
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.presets import preset

TINY = {
    "strategy": "random",
    "schedule": {"initial": 20, "labels_per_round": 15, "rounds": 2},
    "search": {"weight_decay": {"log_uniform": [1e-4, 1.0]}},
}


def tune(tmp_path, experiment=None, **options):
    options = {"configurations": 4, "fraction": 0.2, "executor": "in_process", **options}
    return tuning.tune(experiment or study(), tmp_path / "results", tmp_path / "features", **options)


def test_the_test_split_is_never_read(tmp_path):
    with pytest.raises(TestSplitReadError):
        SealedTest().labels("test")
    with pytest.raises(TestSplitReadError):
        grid.embed(study(), tmp_path / "features", executor="in_process")
    assert tune(tmp_path).best


def test_only_the_labelled_share_is_ever_trained_on(tmp_path, monkeypatch):
    seen = []
    fit = TRAINERS.get("linear").fit
    monkeypatch.setattr(TRAINERS.get("linear"), "fit", lambda self, data: seen.append(data) or fit(self, data))
    tune(tmp_path)
    assert {len(data.ids_L) for data in seen} == {24}
    assert {tuple(data.ids_L) for data in seen} == {tuple(seen[0].ids_L)}
    truth = SealedTest().labels("train")
    assert all((data.labels_L == truth[data.ids_L]).all() for data in seen)
    assert {data.validation_labels for data in seen} == {None}


def test_the_preset_is_the_best_trainer_with_all_its_fields(tmp_path):
    outcome = tune(tmp_path)
    best = outcome.best
    trainer = TRAINERS.build(preset(str(outcome.preset)))
    assert (trainer.learning_rate, trainer.epochs) == (best.values["learning_rate"], best.values["epochs"])
    assert trainer == Tuning.of(study(), 0.2, 0).trainer_of(best.values, 2)
    text = outcome.preset.read_text()
    assert f"{best.value:.4f}" in text
    assert str(outcome.preset) in text
    (same,) = study(trainer={"preset": str(outcome.preset)}).trainer
    assert same == trainer


def test_a_second_run_measures_nothing_and_says_the_same(tmp_path):
    told = []
    first, second = tune(tmp_path), tune(tmp_path, tell=told.append)
    assert (first.num_measured > 4, second.num_measured) == (True, 0)
    assert second.ranking == first.ranking
    assert "nothing to do" in told[-1]


def test_measurements_of_another_kind_of_machine_are_told(tmp_path, monkeypatch):
    told = []
    tune(tmp_path, tell=told.append)
    assert not any("another kind" in line for line in told)
    monkeypatch.setattr("labelbench_ray.execution.tuning.numeric_class", lambda device: "abacus")
    tune(tmp_path, tell=told.append)
    assert any("another kind of machine" in line for line in told)


def test_ctrl_c_keeps_what_is_measured_and_a_second_run_goes_on(tmp_path, monkeypatch):
    whole = tune(tmp_path / "whole")
    measure, calls = Bench.measure, []

    def interrupted(self, *asked):
        calls.append(asked)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return measure(self, *asked)

    with monkeypatch.context() as patched:
        patched.setattr(Bench, "measure", interrupted)
        stopped = tune(tmp_path / "stopped")
    assert (stopped.interrupted, stopped.num_measured) == (True, 4)
    assert stopped.preset.is_file()
    resumed = tune(tmp_path / "stopped")
    assert resumed.num_measured == whole.num_measured - 4
    ledgers = [TuningLedger(tmp_path / name / "results", Tuning.of(study(), 0.2, 0)) for name in ("whole", "stopped")]
    assert rows_of(ledgers[0]) == rows_of(ledgers[1])


def test_early_stopping_sees_the_validation_labels_that_it_is_given(tmp_path):
    trainer = {"name": "linear", "algorithm": "flexmatch", "epochs": 9, "patience": 2, "train_batch_size": 16}
    assert tune(tmp_path, study(trainer=trainer), configurations=2).best


def test_what_fails_is_told_and_a_search_in_which_all_fail_is_an_error(tmp_path):
    diverging = {"name": "linear", "optimizer": "sgd", "epochs": 5}
    some = {"learning_rate": {"choice": [0.01, 1e30]}}
    outcome = tune(tmp_path / "some", study(trainer=diverging, search=some), configurations=6)
    assert outcome.best
    assert outcome.failed
    assert all("learning rate" in why for _, why in outcome.failed)
    with pytest.raises(TrainingError, match=r"no configuration could be trained .*learning rate"):
        tune(tmp_path / "all", study(trainer=diverging, search={"learning_rate": {"choice": [1e30]}}))


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(PlatformError, match=r"pip install 'labelbench_ray\[tune\]'"):
        tune(tmp_path)


def test_mistakes_are_told_before_any_work(tmp_path):
    with pytest.raises(SpecError, match="--fraction"):
        tune(tmp_path, fraction=2.0)
    assert not (tmp_path / "results").exists()
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match="choose another --results"):
        tune(tmp_path)
    assert not (tmp_path / "features").exists()


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run_it(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run_it


def test_the_command_prints_the_best_and_writes_a_preset_that_runs(call, tmp_path):
    file = write_spec(tmp_path, **TINY)
    words = ["tune", file, "--executor", "in_process", "--configurations", "4"]
    code, out, err = call(*words)
    assert code == 0
    assert out.startswith("configuration  trained  validation accuracy  weight_decay\n")
    assert "best: `trainer: {preset: results/small/tuned.yaml}`" in out
    assert "tune: 4/4 trials, 12/12 rounds" in err
    told = json.loads(call(*words, "--json")[1])
    assert told["num_measured"] == 0
    assert told["ranking"][0]["verdict"] == "finished"
    tuned = write_spec(tmp_path, strategy="random", trainer={"preset": "results/small/tuned.yaml"})
    assert call("validate", "experiment", tuned)[0] == 0
    assert yaml.safe_load((tmp_path / "results/small/tuned.yaml").read_text())["name"] == "linear"


def test_mistakes_end_with_2_and_one_line(call, tmp_path):
    file = write_spec(tmp_path, **{**TINY, "search": {"weight_decai": {"choice": [1]}}})
    code, out, err = call("tune", file, "--executor", "in_process")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Did you mean: weight_decay" in err
