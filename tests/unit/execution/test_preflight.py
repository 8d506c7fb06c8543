import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelbench_ray.config import Experiment, NodeType, Resources, Selection, Share
from labelbench_ray.errors import LabelBenchError, UnschedulableError
from labelbench_ray.execution.preflight import Unit, check_schedulable, concurrency, nodes_there_can_be, pack, unit_of


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
    selection = Selection(shards=8, actors=3, through="actors")
    unit = unit_of(trainer_of(), "selection", selection, Resources(select=Share(cpus=0.5)))
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
    actors = Selection(shards=2, through="actors")
    unit = unit_of(trainer_of(blend), "selection", actors, Resources(select=Share(cpus=0.5)))
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
        UnschedulableError, match=r"one trial needs 1 CPU, 1 GPU, but the largest node there can be has 4 CPU, 0 GPU"
    ):
        check_schedulable(Unit("inline", {"CPU": 1.0, "GPU": 1.0}), nodes)
    with pytest.raises(UnschedulableError, match=r"one worker needs 8 CPU"):
        check_schedulable(Unit("coordinated", {}, ({"CPU": 8.0},)), nodes)
    with pytest.raises(
        UnschedulableError,
        match=r"4 bundles at a time \(12 CPU\), but the 2 node\(s\) there can be have 6 CPU together",
    ):
        check_schedulable(Unit("coordinated", {}, ({"CPU": 3.0},) * 4), nodes)
    check_schedulable(Unit("inline", {"CPU": 4.0}), nodes)


def test_each_stage_holds_what_is_set_for_it():
    gpu = {"custom": {"accelerator_type:A100": 0.001}, "gpus": 0.25}
    resources = Resources(
        cpus=2.0, memory_gib=4.0, **gpu, train=Share(cpus=4.0, gpus=1.0), evaluate=Share(cpus=3.0, gpus=0.5)
    )
    own = {"CPU": 2.0, "GPU": 0.25, "memory": 4.0 * 2**30, "accelerator_type:A100": 0.001}
    assert unit_of(trainer_of(), "selection", Selection(), resources) == Unit("inline", own)
    assert unit_of(trainer_of(), "evaluation", Selection(), resources) == Unit("inline", {"CPU": 3.0, "GPU": 0.5})
    group = {"name": "finetune", "through": "ray_train", "num_workers": 2}
    assert unit_of(trainer_of(group), "evaluation", Selection(), resources).workers == ({"CPU": 4.0, "GPU": 1.0},) * 2
    spread = unit_of(trainer_of(), "selection", Selection(shards=2, through="actors"), resources)
    assert spread == Unit("sharded", own, ({"CPU": 1.0, "GPU": 0.25},) * 2)
    without = Resources(cpus=2.0, **gpu)
    assert unit_of(trainer_of(), "evaluation", Selection(), without) == unit_of(
        trainer_of(), "selection", Selection(), without
    )


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"gpus": 1.0, "evaluate": {"cpus": 2.0}}, "`evaluate.gpus: 0` does not go with `gpus: 1`"),
        ({"train": {"gpus": 1.0}}, "`train.gpus: 1` does not go with `gpus: 0`"),
        ({"custom": {"GPU": 1.0}}, "'GPU' is set by `cpus`, `gpus` or `memory_gib`"),
        ({"custom": {"tpu": -1.0}}, "`tpu` must be positive"),
        ({"train": {"cpu": 1.0}}, "resources.train: unknown key 'cpu'. Did you mean: cpus?"),
        ({"memory_gib": 0.0}, "memory_gib"),
        ({"gpus": 1.5}, "`gpus: 1.5` must be a fraction of one GPU or a whole number"),
    ],
)
def test_resources_that_make_no_sense_are_refused(told, match):
    spec = {"dataset": "digits", "trainer": "linear", "strategy": "random", "seeds": 1}
    schedule = {"initial": 5, "labels_per_round": 5, "rounds": 2}
    with pytest.raises(LabelBenchError) as refused:
        Experiment.from_mapping({"name": "x", **spec, "schedule": schedule, "resources": told})
    assert match in str(refused.value)


def test_memory_and_custom_resources_are_packed_like_processors():
    unit = Unit("inline", {"CPU": 1.0, "memory": 3.0 * 2**30, "tpu": 0.5})
    assert concurrency(unit, [{"CPU": 8.0, "memory": 16.0 * 2**30, "tpu": 4.0}]) == 5
    assert concurrency(unit, [{"CPU": 8.0, "memory": 64.0 * 2**30, "tpu": 1.0}]) == 2
    with pytest.raises(
        UnschedulableError, match=r"needs 1 CPU, 3 GiB memory, 0.5 tpu, .* has 8 CPU, 2 GiB memory, 0 t"
    ):
        check_schedulable(unit, [{"CPU": 8.0, "memory": 2.0 * 2**30}])


def test_several_trials_share_a_gpu():
    assert concurrency(Unit("inline", {"CPU": 1.0, "GPU": 0.25}), [{"CPU": 16.0, "GPU": 2.0}]) == 8
    assert concurrency(Unit("inline", {"CPU": 1.0, "GPU": 0.6}), [{"CPU": 16.0, "GPU": 2.0}] * 2) == 4


def test_nodes_that_an_autoscaler_may_add_count_once():
    workers = NodeType(cpus=8.0, gpus=1.0, memory_gib=32.0, at_most=3)
    head = {"CPU": 2.0, "GPU": 0.0, "memory": 8.0 * 2**30}
    assert nodes_there_can_be([head], [workers]) == [head] + [workers.bundle] * 3
    running = {"CPU": 8.0, "GPU": 1.0, "memory": 30.5 * 2**30, "node:10.0.0.7": 1.0}
    assert nodes_there_can_be([head, running], [workers]) == [head, running] + [workers.bundle] * 2
    unit = Unit("inline", {"CPU": 4.0, "GPU": 0.5})
    assert concurrency(unit, nodes_there_can_be([head], [workers])) == 6
    check_schedulable(Unit("coordinated", {}, ({"CPU": 8.0},) * 3), nodes_there_can_be([head], [workers]))


amounts = st.sampled_from([0.5, 1.0, 2.0, 3.0])


@given(st.lists(amounts, min_size=1, max_size=5), st.lists(amounts, min_size=1, max_size=4))
def test_what_is_packed_never_needs_more_than_there_is(bundles, sizes):
    units = [Unit("inline", {"CPU": bundle}) for bundle in bundles]
    if pack(units, [{"CPU": size} for size in sizes]):
        assert sum(bundles) <= sum(sizes)
    else:
        assert max(bundles) > min(sizes) or sum(bundles) > max(sizes)
