from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.passes import images_of_a_pass, with_passes_of

FINETUNE = {"name": "finetune", "train_batch_size": 10}


def build(told):
    return TRAINERS.build(told, "trainer")


def test_a_pass_is_the_share_of_the_batch_of_a_worker_unless_it_is_smaller():
    assert images_of_a_pass(build(FINETUNE)) == 10
    assert images_of_a_pass(build({**FINETUNE, "micro_batch_size": 4})) == 4
    assert images_of_a_pass(build({**FINETUNE, "num_workers": 3, "through": "ray_train"})) == 4
    flexmatch = build({**FINETUNE, "algorithm": {"name": "flexmatch", "uratio": 2}})
    assert images_of_a_pass(flexmatch) == 30, "labelled and unlabelled images pass together"
    assert images_of_a_pass(build("linear")) is None


def test_passes_get_smaller_and_never_larger_and_nothing_else_changes():
    trainer = build(FINETUNE)
    assert with_passes_of(trainer, None) is trainer
    assert with_passes_of(trainer, 10) is trainer
    smaller = with_passes_of(trainer, 3)
    assert (smaller.micro_batch_size, smaller.train_batch_size) == (3, 10)
    assert with_passes_of(build("linear"), 3) == build("linear")


def test_of_a_blend_only_what_has_passes_is_changed():
    blend = build({"name": "blend", "proxy": "linear", "full": FINETUNE, "every": 2})
    assert images_of_a_pass(blend) == 10
    smaller = with_passes_of(blend, 5)
    assert smaller.full.micro_batch_size == 5
    assert (smaller.proxy, smaller.every, smaller.full_from) == (blend.proxy, blend.every, blend.full_from)
