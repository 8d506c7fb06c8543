"""What a grid will take: nothing is known at first, then what was measured, here, elsewhere or on purpose."""

import json
import shutil
import signal

import pytest
from runs import spec

from labelbench_ray.api import grid
from labelbench_ray.api.forecasting import calibration
from labelbench_ray.api.forecasting.calibration import calibrate, read_calibration
from labelbench_ray.api.forecasting.forecast import forecast, this_machine
from labelbench_ray.api.forecasting.prices import load_prices
from labelbench_ray.api.planning import plan
from labelbench_ray.config import Experiment
from labelbench_ray.errors import FeatureStoreError, NoResultsError, PlatformError, SpecError, UnschedulableError

SCHEDULE = {"initial": 20, "labels_per_round": 15, "rounds": 3}
EVALUATE = {"trainer": {"name": "linear", "weight_decay": 0.5}, "at": "last"}


def study(**changes):
    return Experiment.from_mapping(spec(**{"strategy": ["random", "margin"], "schedule": SCHEDULE, **changes}))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder where one seed of the study, evaluations with it, has been run: features in it, results in `old`."""
    folder = tmp_path_factory.mktemp("measured")
    grid.run(study(evaluate=EVALUATE), folder / "old", folder / "features", executor="in_process")
    return folder


def told_of(experiment, folder, results="results", **asked):
    return forecast(plan(experiment, folder / results, folder / "features"), load_prices(), **asked)


def stages(told):
    return {stage.name: stage for stage in told.stages}


def test_before_anything_was_measured_everything_is_unknown_and_nothing_is_written(tmp_path):
    told = told_of(study(evaluate=EVALUATE), tmp_path, label_price=0.1)
    assert set(stages(told)) == {"embed", "select", "evaluate"}
    for stage in told.stages:
        assert not stage.figure.known
        assert not stage.one.known
        assert stage.memory_gib is None
        assert stage.disk.unknown or stage.name == "embed"
    assert stages(told)["select"].num_rounds == 6
    assert stages(told)["embed"].num_to_do == 1200 + 200 + 397
    assert all(one.compute is None and one.labels == pytest.approx(0.1 * 50) for one in told.selection_costs)
    assert list(tmp_path.iterdir()) == []


def test_more_seeds_are_known_from_those_that_were_run(measured, tmp_path):
    shutil.copytree(measured / "features", tmp_path / "features")
    shutil.copytree(measured / "old", tmp_path / "results")
    told = told_of(study(evaluate=EVALUATE, seeds=3), tmp_path)
    assert told.figure.complete
    assert set(told.figure.origins) == {"measured here"}
    assert "embed" not in stages(told)
    select, evaluate = stages(told)["select"], stages(told)["evaluate"]
    assert (select.num_to_do, select.num_done, select.num_rounds) == (4, 2, 12)
    assert (evaluate.num_to_do, evaluate.num_done) == (4, 2)
    rows = [one for source in told.history.sources for one in source.rounds if one.model == "linear"]
    one_of_each = sum(one.train_s + one.evaluate_s + (one.select_s or 0.0) for one in rows)
    assert select.figure.seconds == pytest.approx(2 * one_of_each)
    assert select.hours("CPU") == pytest.approx(select.figure.seconds / 3600)
    assert select.memory_gib > 0
    assert select.disk.known > 0
    assert select.disk.unknown == ()
    assert select.wall_s <= select.figure.seconds
    assert told.wall_s == pytest.approx(select.wall_s + evaluate.wall_s)


def test_another_folder_is_named_as_the_source(measured):
    told = told_of(study(), measured, history=[measured / "old"])
    assert set(told.figure.origins) == {f"measured in {measured / 'old'}"}


def test_more_labels_are_scaled(measured):
    told = told_of(study(schedule={**SCHEDULE, "rounds": 5}), measured, history=[measured / "old"])
    origins = told.figure.origins
    assert origins[f"scaled from one measured in {measured / 'old'}"] == 2 * 2
    assert told.figure.complete


def test_a_finished_grid_takes_nothing(measured):
    told = told_of(study(), measured, results="old")
    assert told.plan.nothing_to_do
    assert told.figure.seconds == 0.0
    assert told.wall_s == 0.0


def test_a_trial_that_is_half_done_counts_what_is_left(measured, tmp_path):
    shutil.copytree(measured / "old", tmp_path / "results")
    for rounds in (tmp_path / "results" / "trials").glob("*/rounds/0002"):
        shutil.rmtree(rounds)
    told = forecast(plan(study(), tmp_path / "results", measured / "features"), load_prices())
    select = stages(told)["select"]
    assert (select.num_to_do, select.num_rounds) == (2, 2)


def test_the_pool_ends_the_schedule(measured):
    long = study(strategy="random", schedule={"initial": 1150, "labels_per_round": 100, "rounds": 9})
    told = told_of(long, measured, history=[measured / "old"])
    assert sum(told.figure.origins.values()) == 2 + 3  # two trainings and looks at all rows, one selection


def test_costs_are_of_every_machine_that_holds_the_grid_the_cheapest_first(measured):
    told = told_of(study(), measured, history=[measured / "old"])
    assert [cost.high for _, cost in told.costs] == sorted(cost.high for _, cost in told.costs)
    assert told.machine.name == "c6a.4xlarge"
    ((_, cost),) = [pair for pair in told.costs if pair[0].name == "c6a.4xlarge"]
    assert cost.high == pytest.approx(told.figure.seconds / 3600 / 16 * 0.612)
    assert told.cost_of_stage(stages(told)["select"]).low == pytest.approx(cost.low)
    on_gpus = told_of(study(resources={"gpus": 0.5}, cluster={"cpus": 8, "gpus": 1, "at_most": 2}), measured)
    assert {machine.gpus > 0 for machine, _ in on_gpus.costs} == {True}


def test_cluster_says_how_many_run_at_a_time(measured):
    grown = study(seeds=20, cluster={"cpus": 3, "at_most": 5})
    told = told_of(grown, measured, history=[measured / "old"])
    select = stages(told)["select"]
    assert select.at_a_time == 15
    assert select.wall_s < select.figure.seconds / 10
    few = study(seeds=20, cluster={"cpus": 3, "at_most": 5}, resources={"max_concurrent": 4})
    assert stages(told_of(few, measured))["select"].at_a_time == 4


def test_what_cluster_can_never_hold_is_refused_naming_the_resource_and_the_largest_node(measured):
    too_large = study(resources={"cpus": 16}, cluster=[{"cpus": 4, "at_most": 9}, {"cpus": 8, "at_most": 1}])
    with pytest.raises(UnschedulableError, match="needs 16 CPU, but the largest node there can be has 8 CPU"):
        told_of(too_large, measured)


def test_a_machine_that_is_too_small_is_a_warning_for_the_cluster_may_be_elsewhere(measured):
    told = told_of(study(resources={"cpus": 4000}), measured)
    assert told.warnings == [
        "this machine cannot hold a trial of stage select: say in `cluster` which nodes there will be"
    ]
    assert told.wall_s is None


def test_selecting_with_each_model_is_priced_side_by_side(measured):
    told = told_of(study(evaluate=EVALUATE), measured, history=[measured / "old"], label_price=0.1)
    alone, then, full = told.selection_costs
    assert alone.selecting_with == "linear"
    assert then.selecting_with == "linear, then linear(weight_decay=0.5) once"
    assert full.selecting_with == "linear(weight_decay=0.5)"
    assert [one.num_trainings for one in (alone, then, full)] == [3, 4, 3]
    assert [one.labels for one in (alone, then, full)] == [pytest.approx(5.0)] * 3
    assert alone.total.high == pytest.approx(alone.compute.high + 5.0)
    assert then.figure.seconds > alone.figure.seconds
    # It was trained on 50 labels; selection with it never ran.
    assert full.figure.origins["unknown"] == 2 * 2
    assert full.figure.known
    mean = sum(told_of(study(strategy=name), measured, history=[measured / "old"]).figure.seconds
               for name in ("random", "margin")) / 2  # fmt: skip
    assert alone.figure.seconds == pytest.approx(mean)


def test_a_model_on_another_encoder_is_looked_up_and_named_with_it(measured):
    other = {**EVALUATE, "encoder": {"name": "pixels", "size": 4}}
    _, then, full = told_of(study(evaluate=other), measured, history=[measured / "old"]).selection_costs
    assert full.selecting_with == "linear(weight_decay=0.5) on pixels(size=4)"
    assert not full.figure.known
    assert then.figure.origins["unknown"] == 2


def test_a_grid_of_one_model_has_no_table_of_models(measured):
    assert told_of(study(), measured).selection_costs == []


def test_wrong_input_is_refused(measured, tmp_path):
    with pytest.raises(SpecError, match="--label-price: must not be negative, got -1"):
        told_of(study(), measured, label_price=-1.0)
    with pytest.raises(NoResultsError, match="no trials in it"):
        told_of(study(), measured, history=[tmp_path])


# Calibration


def measure(experiment, folder, limit_s=100.0, machine=None, results="results", tell=lambda _: None):
    told = told_of(experiment, folder, results)
    return calibrate(told.plan, told.history, machine or this_machine("cpu"), limit_s, tell)


def test_a_calibration_makes_a_plan_complete_and_touches_no_results(tmp_path):
    experiment, said = study(evaluate=EVALUATE, seeds=2), []
    assert measure(experiment, tmp_path, tell=said.append) == 3
    assert not (tmp_path / "results").exists()
    assert [line.split(":")[0] for line in said if line.startswith("calibrated")] == [
        "calibrated linear and random on digits",
        "calibrated linear(weight_decay=0.5) on digits",
        "calibrated linear and margin on digits",
    ]
    told = told_of(experiment, tmp_path)
    assert told.figure.complete
    assert set(told.figure.origins) == {"measured by calibration", "scaled from one measured by calibration"}
    assert stages(told)["select"].disk.known > 0
    assert "embed" not in stages(told), "views that were embedded are kept"
    assert measure(experiment, tmp_path) == 0, "what is known is not measured again"


def test_calibrating_goes_on_with_what_the_results_do_not_tell(measured, tmp_path):
    shutil.copytree(measured / "features", tmp_path / "features")
    shutil.copytree(measured / "old", tmp_path / "results")
    assert measure(study(strategy=["random", "margin", "coreset"]), tmp_path) == 1
    (only,) = read_calibration(tmp_path / "features")
    assert only.strategy == "coreset"


def test_both_models_of_a_blend_are_measured(measured, tmp_path):
    shutil.copytree(measured / "features", tmp_path / "features")
    blend = {"name": "blend", "proxy": "linear", "full": {"name": "shallow", "min_steps": 5, "epochs": 1}, "every": 2}
    assert measure(study(strategy="random", trainer=blend), tmp_path) == 2
    assert told_of(study(strategy="random", trainer=blend), tmp_path).figure.complete


def test_an_alarm_ends_it_also_within_a_round_and_keeps_what_is_measured(measured, tmp_path, monkeypatch):
    shutil.copytree(measured / "features", tmp_path / "features")
    first_round, calls = calibration._first_round, []

    def too_slow(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            signal.raise_signal(signal.SIGALRM)
        return first_round(*arguments)

    monkeypatch.setattr(calibration, "_first_round", too_slow)
    said, before = [], signal.getsignal(signal.SIGALRM)
    assert measure(study(), tmp_path, tell=said.append) == 1
    assert said[-1].startswith("calibration stopped after 100 s, 1 of 2 measured")
    assert len(read_calibration(tmp_path / "features")) == 1
    assert signal.getsignal(signal.SIGALRM) == before


def test_ctrl_c_keeps_what_is_measured(measured, tmp_path, monkeypatch):
    shutil.copytree(measured / "features", tmp_path / "features")

    def tell(message):
        if message.startswith("calibrated"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        measure(study(), tmp_path, tell=tell)
    assert len(read_calibration(tmp_path / "features")) == 1


def test_a_machine_that_cannot_hold_a_trial_cannot_calibrate_it(tmp_path):
    with pytest.raises(PlatformError, match=r"a trial of linear needs 4 CPU, this machine has 2 CPU.*; calibrate on"):
        measure(study(resources={"cpus": 4}), tmp_path, machine={"CPU": 2.0, "GPU": 0.0})


def test_a_group_of_workers_is_told_and_left_out(measured, tmp_path):
    shutil.copytree(measured / "features", tmp_path / "features")
    group, said = {"name": "finetune", "through": "ray_train", "num_workers": 2}, []
    assert measure(study(strategy="random", trainer=["linear", group]), tmp_path, tell=said.append) == 1
    assert said[0].startswith("not calibrated: finetune(num_workers=2): it starts a group of workers; name results")


def test_a_trial_that_fails_is_told_and_the_others_go_on(measured, tmp_path):
    shutil.copytree(measured / "features", tmp_path / "features")
    diverges = {"name": "shallow", "optimizer": "sgd", "learning_rate": 1e30, "min_steps": 60, "epochs": 1}
    said = []
    assert measure(study(strategy="random", trainer=[diverges, "linear"]), tmp_path, tell=said.append) == 1
    assert said[0].startswith("not calibrated: shallow(")
    assert "the loss is NaN or infinite" in said[0]


def test_a_limit_must_be_positive(tmp_path):
    with pytest.raises(SpecError, match="--calibrate-limit-s: must be positive, got 0"):
        measure(study(), tmp_path, limit_s=0)


@pytest.mark.parametrize("text", ["{", "[]", '{"rounds": [{"dataset": 1}]}'])
def test_a_calibration_that_cannot_be_read_says_what_to_do(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(FeatureStoreError, match=r"calibration\.json: is no calibration .*; delete it"):
        read_calibration(tmp_path)


def test_the_feature_folder_tells_how_long_embedding_takes(measured, tmp_path):
    """The clean views of the study are stored: its strong ones cost as much a row, and are as wide."""
    flexmatch = {"name": "linear", "algorithm": "flexmatch", "min_steps": 5, "epochs": 1}
    told = told_of(study(strategy="random", trainer=flexmatch), measured)
    embed = stages(told)["embed"]
    entries = [json.loads(path.read_text()) for path in (measured / "features").glob("*/shard-*.json")]
    seconds = sum(entry["seconds"]["wall"] for entry in entries)
    assert embed.figure.seconds == pytest.approx(2 * 1200 * seconds / (1200 + 200 + 397))
    assert embed.figure.origins == {"measured in the feature store": 1}
    assert embed.disk.known == 2 * 1200 * 64 * 2
