"""A search space: which values the fields of a trainer may take, refused where the trainer could not take them."""

import pytest
from trials import make_trial

from labelbench_ray.config import Experiment, Tuning
from labelbench_ray.config.search import check_space, default_space, read_space, with_values
from labelbench_ray.config.tuning import SHARES
from labelbench_ray.errors import SpecError, UnknownKeyError
from labelbench_ray.trainers.base import TRAINERS

FLEXMATCH = {"name": "linear", "algorithm": "flexmatch", "epochs": 18, "min_steps": 90, "warmup_steps": 9}


def study(**changes):
    return Experiment.from_mapping({
        "name": "tuned", "dataset": "digits", "trainer": FLEXMATCH, "strategy": "random", "seeds": 1,
        "schedule": {"initial": 5, "labels_per_round": 5, "rounds": 2}, **changes,
    })  # fmt: skip


def test_a_space_is_read_with_parts_of_parts_by_their_dotted_names():
    space = read_space({
        "learning_rate": {"log_uniform": ["1e-4", 0.1]},  # YAML reads 1e-4 as text
        "epochs": {"integers": [5, 20]},
        "algorithm": {"p_cutoff": {"choice": [0.8, 0.95]}},
    })  # fmt: skip
    told = {field: (dimension.kind, dimension.values) for field, dimension in space.items()}
    assert told == {
        "learning_rate": ("log_uniform", (1e-4, 0.1)),
        "epochs": ("integers", (5, 20)),
        "algorithm.p_cutoff": ("choice", (0.8, 0.95)),
    }
    check_space(space, TRAINERS.build(FLEXMATCH))


@pytest.mark.parametrize(
    ("space", "error", "told"),
    [
        ({}, SpecError, "expected `field:"),
        ({"learning_rate": 0.1}, SpecError, "`learning_rate` should be {uniform: [...] | log_uniform"),
        ({"learning_rate": {"loguniform": [1, 2]}}, SpecError, "`learning_rate` should be"),
        ({"learning_rate": {"log_uniform": [0, 1]}}, SpecError, "needs positive numbers"),
        ({"learning_rate": {"uniform": [0.2, 0.1]}}, SpecError, "the lower border first"),
        ({"learning_rate": {"uniform": [0.2]}}, SpecError, "two numbers as borders"),
        ({"epochs": {"integers": [1.5, 3]}}, SpecError, "whole numbers"),
        ({"epochs": {"uniform": [1, 3]}}, SpecError, "valid integer"),
        ({"epochs": {"choice": [1, -1]}}, SpecError, "`epochs` must not be negative, got -1"),
        ({"epochs": {"choice": []}}, SpecError, "choose from a list"),
        ({"learning_rat": {"choice": [1]}}, UnknownKeyError, "Did you mean: learning_rate"),
        ({"algorithm": {"p_cutof": {"choice": [0.9]}}}, UnknownKeyError, "Did you mean: p_cutoff"),
        ({"algoritm": {"p_cutoff": {"choice": [0.9]}}}, UnknownKeyError, "Did you mean: algorithm"),
    ],
)
def test_wrong_spaces_are_refused_in_one_line(space, error, told):
    with pytest.raises(error) as caught:
        check_space(read_space(space), TRAINERS.build(FLEXMATCH))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("trainer", ["linear", "shallow", "finetune", "lora", FLEXMATCH])
def test_every_trainer_can_take_its_default_space(trainer):
    built = TRAINERS.build(trainer)
    check_space(default_space(built), built)


def test_values_are_set_in_a_trainer_and_in_its_parts():
    trainer = with_values(TRAINERS.build(FLEXMATCH), {"algorithm.p_cutoff": 0.7, "learning_rate": 0.5})
    assert (trainer.learning_rate, trainer.algorithm.p_cutoff, trainer.epochs) == (0.5, 0.7, 18)


def test_a_rung_shortens_all_of_a_training():
    tuning = Tuning.of(study(), fraction=0.1, seed=0)
    lengths = [
        (one.epochs, one.min_steps, one.warmup_steps)
        for one in (tuning.trainer_of({"epochs": 27}, rung) for rung in range(len(SHARES)))
    ]
    assert lengths == [(3, 10, 1), (9, 30, 3), (27, 90, 9)]


def test_a_search_is_addressed_by_all_that_changes_its_numbers():
    one = Tuning.of(study(), fraction=0.1, seed=0)
    others = [
        Tuning.of(study(), fraction=0.2, seed=0),
        Tuning.of(study(), fraction=0.1, seed=1),
        Tuning.of(study(search={"learning_rate": {"log_uniform": [1e-3, 0.1]}}), fraction=0.1, seed=0),
        Tuning.of(study(oracle={"name": "uniform_noise", "rate": 0.1}), fraction=0.1, seed=0),
    ]
    assert len({one.id, *(other.id for other in others)}) == 5
    assert Tuning.of(study(seeds=3, strategy="margin", resources={"cpus": 0.5}), fraction=0.1, seed=0).id == one.id


def test_what_is_searched_changes_no_trial():
    search = {"learning_rate": {"log_uniform": [1e-3, 0.1]}}
    assert make_trial(search=search).id == make_trial().id


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trainer": ["linear", "shallow"]}, "a search is for one, and the file has 2 (linear, shallow)"),
        ({"trainer": {"name": "blend", "proxy": "linear", "full": "shallow", "every": 2}}, "has no `epochs`"),
        ({"search": {"learning_rate": {"uniform": [-1.0, 1.0]}}}, "`learning_rate` must be positive"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, told):
    with pytest.raises(SpecError) as caught:
        Tuning.of(study(**changes), fraction=0.1, seed=0)
    assert told in str(caught.value)


def test_a_share_beyond_the_pool_is_refused():
    for fraction in (0.0, 1.5):
        with pytest.raises(SpecError, match="--fraction"):
            Tuning.of(study(), fraction=fraction, seed=0)
