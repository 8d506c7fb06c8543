"""Presets are trainers by name: the published ones have the published values, and are the same trial as written out."""

import csv

import pytest
import yaml
from trials import make_trial

from labelbench_ray.config import Experiment
from labelbench_ray.errors import SpecError, UnknownKeyError, UnknownNameError
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.presets import preset, preset_names, with_presets

CIFAR10 = "labelbench/cifar10/flexmatch/linear"

FIELDS = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "max_epoch": "epochs",
    "patience": "patience",
    "train_batch_size": "train_batch_size",
}
"""Published name: ours. Those whose value depends on another's are compared one by one below."""
OF_ALGORITHM = {
    "uratio": "uratio",
    "p_cutoff": "p_cutoff",
    "ulb_loss_ratio": "ulb_loss_ratio",
    "temperature": "temperature",
    "ulb_warm_up": "ulb_warm_up",
    "ema": "ema_p",
    "ema_p": "ema_p",
    "ent_loss_ratio": "ent_loss_ratio",
    "clip_thresh": "clip_thresh",
    "dist_uniform": "dist_uniform",
    "n_sigma": "n_sigma",
}


@pytest.fixture(scope="module")
def published(test_data):
    file = test_data / "reference" / "labelbench_hyperparameters.csv"
    if not file.is_file():
        pytest.skip(f"no {file.name} in LABELBENCH_TEST_DATA")
    with file.open() as lines:
        return list(csv.DictReader(lines))


def name_of(row):
    algorithm = {"passive": "supervised"}.get(row["trainer"], row["trainer"])
    encoder = "" if row["encoder"] == "clip_vitb32" else row["encoder"]
    parts = ["labelbench", row["dataset"], algorithm, row["head"], encoder, row["variant"]]
    return "/".join(part for part in parts if part)


def test_every_published_configuration_has_a_preset_and_no_preset_is_made_up(published):
    assert len(published) == 63
    assert {name_of(row) for row in published} == set(preset_names())


def test_no_published_column_is_left_out(published):
    in_the_name = {"dataset", "trainer", "encoder", "head", "variant"}
    one_by_one = {"optim_name", "scheduler_name", "warmup_steps", "loss_fn", "smoothing", "mixup", "clip_grad"}
    assert in_the_name | one_by_one | set(FIELDS) | set(OF_ALGORITHM) == set(published[0])


def test_every_preset_has_the_published_values(published):
    for row in published:
        trainer = TRAINERS.build(preset(name_of(row)))
        where = name_of(row)
        assert trainer.name == row["head"]
        for key, field in FIELDS.items():
            assert getattr(trainer, field) == float(row[key]), (where, key)
        assert trainer.optimizer == row["optim_name"].lower(), where
        restarts = row["scheduler_name"] == "CosineLR"
        assert trainer.schedule == ("cosine_restarts" if restarts else "cosine"), where
        assert (trainer.restart_steps if restarts else trainer.warmup_steps) == int(row["warmup_steps"]), where
        assert trainer.warmup_steps == (0 if restarts else int(row["warmup_steps"])), where
        assert trainer.label_smoothing == float(row["smoothing"] or 0), where
        assert (trainer.label_smoothing > 0) == (row["loss_fn"] == "LabelSmoothingCrossEntropy"), where
        assert trainer.mixup == float(row["mixup"] or 0), where
        assert trainer.clip_gradient == (float(row["clip_grad"]) if row["clip_grad"] else None), where
        assert trainer.min_steps == 0, where


def test_every_preset_has_the_published_algorithm(published):
    for row in published:
        algorithm = TRAINERS.build(preset(name_of(row))).algorithm
        assert algorithm.name == {"passive": "supervised"}.get(row["trainer"], row["trainer"])
        for key, field in OF_ALGORITHM.items():
            if row[key]:
                assert getattr(algorithm, field) == yaml.safe_load(row[key]), (name_of(row), key)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (CIFAR10, {"optimizer": "adam", "learning_rate": 3e-3, "weight_decay": 1e-4, "restart_steps": 500}),
        ("labelbench/fmow/supervised/linear", {"label_smoothing": 0.01, "mixup": 0.2, "warmup_steps": 200}),
        ("labelbench/imagenet/flexmatch/linear/coca_vitb32", {"learning_rate": 3e-4, "weight_decay": 1e-5}),
        ("labelbench/caltech256/supervised/shallow/imbalanced", {"weight_decay": 1e-4, "train_batch_size": 500}),
    ],
)
def test_some_presets_by_hand(name, values):
    trainer = TRAINERS.build(preset(name))
    assert {field: getattr(trainer, field) for field in values} == values


def test_a_preset_and_its_values_written_out_are_the_same_trial():
    written = {
        "name": "linear", "optimizer": "adam", "learning_rate": 3.0e-3, "weight_decay": 1.0e-4, "epochs": 20,
        "schedule": "cosine_restarts", "restart_steps": 500, "train_batch_size": 128, "min_steps": 0, "patience": 3,
        "algorithm": {"name": "flexmatch", "p_cutoff": 0.95, "uratio": 5, "ulb_loss_ratio": 1.0},
    }  # fmt: skip
    assert make_trial(trainer={"preset": CIFAR10}).id == make_trial(trainer=written).id
    assert make_trial(trainer={"preset": CIFAR10}).id != make_trial(trainer={"preset": CIFAR10, "epochs": 21}).id


def test_fields_beside_a_preset_override_it():
    trainer = make_trial(trainer={"preset": CIFAR10, "epochs": 7, "algorithm": {"p_cutoff": 0.8}}).trainer
    assert (trainer.epochs, trainer.learning_rate) == (7, 3e-3)
    assert (trainer.algorithm.name, trainer.algorithm.p_cutoff, trainer.algorithm.uratio) == ("flexmatch", 0.8, 5)
    assert make_trial(trainer={"preset": CIFAR10, "algorithm": "supervised"}).trainer.algorithm.name == "supervised"


def test_presets_are_an_axis_like_any_other_and_stand_wherever_a_trainer_does():
    spec = {
        "trainer": [{"preset": [CIFAR10, "labelbench/svhn/flexmatch/linear"], "epochs": [1, 2]}, "shallow"],
        "evaluate": {"trainer": {"preset": CIFAR10}, "at": "last"},
    }
    expanded = with_presets(spec)
    assert [one if isinstance(one, str) else one["weight_decay"] for one in expanded["trainer"]] == [
        1e-4,
        1e-5,
        "shallow",
    ]
    assert expanded["evaluate"]["trainer"]["learning_rate"] == 3e-3
    study = Experiment.from_mapping({
        "name": "axis", "dataset": "digits", "strategy": "random", "seeds": 1,
        "schedule": {"initial": 5, "labels_per_round": 5, "rounds": 2}, **spec,
    })  # fmt: skip
    assert [(one.name, one.epochs, one.weight_decay) for one in study.trainer[:4]] == [
        ("linear", epochs, decay) for decay in (1e-4, 1e-5) for epochs in (1, 2)
    ]


def test_parts_of_a_blend_may_be_presets():
    blend = {"name": "blend", "proxy": {"preset": CIFAR10}, "full": "shallow", "every": 2}
    assert make_trial(trainer=blend).trainer.proxy == make_trial(trainer={"preset": CIFAR10}).trainer


def test_a_yaml_file_of_fields_is_a_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: linear\nlearning_rate: 0.25\noptimizer: sgd\n")
    assert make_trial(trainer={"preset": str(file)}).trainer.learning_rate == 0.25


@pytest.mark.parametrize(
    ("trainer", "error", "told"),
    [
        ({"preset": "labelbench/cifar10/flexmatch/liner"}, UnknownNameError, f"Did you mean: {CIFAR10}"),
        ({"preset": CIFAR10, "name": "shallow"}, SpecError, "is of trainer linear, not of shallow"),
        ({"preset": CIFAR10, "epoch": 3}, UnknownKeyError, "Did you mean: epochs"),
        ({"preset": 3}, SpecError, "expected a name"),
        ({"preset": "nothing_here.yaml"}, SpecError, "nothing_here.yaml cannot be read"),
    ],
)
def test_wrong_presets_are_refused_in_one_line(trainer, error, told):
    with pytest.raises(error) as caught:
        make_trial(trainer=trainer)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_file_that_is_no_trainer_is_refused(tmp_path):
    file = tmp_path / "wrong.yaml"
    for text, told in (("- linear\n", "should hold the fields"), ("a: [", "is not YAML")):
        file.write_text(text)
        with pytest.raises(SpecError, match=told):
            preset(str(file))
