import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelbench_ray.config import Experiment, Resources, Selection
from labelbench_ray.errors import UnschedulableError
from labelbench_ray.execution.preflight import Unit, check_schedulable, concurrency, pack, unit_of


def trainer_of(trainer="linear"):
    spec = {
        "name": "x", "dataset": "digits", "trainer": trainer, "strategy": "random",
        "schedule": {"initial": 5, "labels_per_round": 5, "rounds": 2}, "seeds": 1,
    }  # fmt: skip
    return Experiment.from_mapping(spec).trainer[0]


def test_a_plain_trial_is_one_bundle():
    unit = unit_of(trainer_of(), "selection", Selection(), Resources(cpus=2.0))
    assert unit == Unit("inline", {"CPU": 2.0})


def test_actors_are_reserved_beside_their_trial():
    selection = Selection(shards=8, actors=3, through="actors", cpus_per_actor=0.5)
    unit = unit_of(trainer_of(), "selection", selection, Resources())
    assert unit == Unit("sharded", {"CPU": 1.0}, ({"CPU": 0.5},) * 3)
    assert unit_of(trainer_of(), "evaluation", selection, Resources()) == Unit("inline", {"CPU": 1.0})


def test_a_trial_that_launches_workers_holds_nothing():
    finetune = {"name": "finetune", "through": "ray_train", "num_workers": 2}
    unit = unit_of(trainer_of(finetune), "evaluation", Selection(), Resources(gpus=1.0))
    assert unit == Unit("coordinated", {}, ({"CPU": 1.0, "GPU": 1.0},) * 2)
    assert unit.bundles == list(unit.workers)


def test_a_blend_counts_a_group_where_one_of_its_models_starts_one():
    finetune = {"name": "finetune", "through": "ray_train", "num_workers": 2}
    blend = {"name": "blend", "proxy": "linear", "full": finetune, "every": 2}
    actors = Selection(shards=2, through="actors", cpus_per_actor=0.5)
    unit = unit_of(trainer_of(blend), "selection", actors, Resources())
    assert unit == Unit("coordinated", {}, ({"CPU": 1.0},) * 2 + ({"CPU": 0.5},) * 2)
    inline = {**blend, "full": {"name": "finetune"}}
    assert unit_of(trainer_of(inline), "selection", Selection(), Resources(cpus=2.0)) == Unit("inline", {"CPU": 2.0})


def test_bundles_are_packed_on_single_nodes():
    nodes = [{"CPU": 2.0}, {"CPU": 2.0}]
    assert pack([Unit("inline", {"CPU": 2.0})] * 2, nodes)
    assert not pack([Unit("inline", {"CPU": 3.0})], nodes)
    assert concurrency(Unit("sharded", {"CPU": 1.0}, ({"CPU": 1.0},)), nodes) == 2
    assert concurrency(Unit("inline", {"CPU": 0.5}), nodes, limit=3) == 3


def test_the_resource_and_the_largest_node_are_named():
    nodes = [{"CPU": 2.0}, {"CPU": 4.0}]
    with pytest.raises(
        UnschedulableError, match=r"one trial needs 1 CPU, 1 GPU, but the largest node has 4 CPU, 0 GPU"
    ):
        check_schedulable(Unit("inline", {"CPU": 1.0, "GPU": 1.0}), nodes)
    with pytest.raises(UnschedulableError, match=r"one worker needs 8 CPU"):
        check_schedulable(Unit("coordinated", {}, ({"CPU": 8.0},)), nodes)
    with pytest.raises(
        UnschedulableError, match=r"4 bundles at a time \(12 CPU\), but the 2 node\(s\) together have 6 CPU"
    ):
        check_schedulable(Unit("coordinated", {}, ({"CPU": 3.0},) * 4), nodes)
    check_schedulable(Unit("inline", {"CPU": 4.0}), nodes)


amounts = st.sampled_from([0.5, 1.0, 2.0, 3.0])


@given(st.lists(amounts, min_size=1, max_size=5), st.lists(amounts, min_size=1, max_size=4))
def test_what_is_packed_never_needs_more_than_there_is(bundles, sizes):
    units = [Unit("inline", {"CPU": bundle}) for bundle in bundles]
    if pack(units, [{"CPU": size} for size in sizes]):
        assert sum(bundles) <= sum(sizes)
    else:
        assert max(bundles) > min(sizes) or sum(bundles) > max(sizes)
