"""What every semi-supervised algorithm promises the training loops."""

import dataclasses

import pytest
import torch
from logit_batches import SEMI_SUPERVISED, batch_of, random_batch, seeded

from labelbench_ray.errors import SpecError, UnknownKeyError
from labelbench_ray.trainers.algorithms.base import Batch, Targets, loss_of_rows
from labelbench_ray.trainers.base import ALGORITHMS

each = pytest.mark.parametrize("name", SEMI_SUPERVISED)
STEPS = 20
EVERYTHING_MASKED = {
    "flexmatch": {"last_label_N": torch.zeros(6, dtype=torch.int64), "counts": torch.tensor([0, 2, 2, 2, 2])},
    "freematch": {"threshold": torch.tensor(1.0)},
    "softmatch": {"mean": torch.tensor(1.0), "variance": torch.tensor(1e-12)},
    "dash": {"labeled_loss": torch.tensor(0.1)},
}


def start(name, num_classes=4, device="cpu", **parameters):
    algorithm = ALGORITHMS.build({"name": name, **parameters})
    return algorithm, algorithm.start(6, 6, num_classes, device)


def unlabeled_loss(algorithm, state, batch, trained_UC):
    targets = algorithm.targets(batch, state)
    loss = loss_of_rows(trained_UC, targets).mean()
    sums = algorithm.strong_sums(trained_UC, targets)
    return loss if sums is None else loss + algorithm.batch_loss(sums, state)


@each
def test_a_batch_that_is_masked_whole_gives_zero_and_a_zero_gradient(name):
    algorithm, state = start(name)
    state |= {key: value.clone() for key, value in EVERYTHING_MASKED.get(name, {}).items()}
    trained = torch.randn(6, 4, generator=seeded(), requires_grad=True)
    sure = 9 * torch.eye(4)[:3]
    batch = batch_of(torch.zeros(6, 4), labeled=sure, labels=[0, 1, 2], step=STEPS - 1, steps=STEPS)
    loss = unlabeled_loss(algorithm, state, batch, trained)
    loss.backward()
    assert loss.item() == 0.0
    assert trained.grad.abs().max().item() == 0.0


@each
@pytest.mark.parametrize(("num_rows", "num_classes"), [(1, 4), (6, 1), (1, 1)])
def test_one_row_and_one_class_stay_finite(name, num_rows, num_classes):
    algorithm, state = start(name, num_classes)
    trained = torch.randn(num_rows, num_classes, generator=seeded(), requires_grad=True)
    for step in range(STEPS):
        batch = random_batch(seeded(step), num_rows, num_classes, num_labeled=1, step=step, steps=STEPS)
        loss = unlabeled_loss(algorithm, state, batch, trained)
        (gradient,) = torch.autograd.grad(loss, trained)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(value).all() for value in state.values())


@each
def test_nothing_looks_at_a_value_so_that_a_gpu_never_waits(name):
    # Tensors of the device "meta" have shapes and no values: whoever asks for one is refused.
    algorithm, state = start(name, device="meta")
    strong = torch.zeros(6, 4, device="meta", requires_grad=True)
    for step in (0, STEPS - 1):
        batch = random_batch(seeded(), step=step, steps=STEPS)
        away = Batch(*(part.to("meta") if isinstance(part, torch.Tensor) else part for part in batch))
        assert unlabeled_loss(algorithm, state, away, strong).device.type == "meta"


@each
def test_the_state_changes_in_place(name):
    algorithm, state = start(name)
    before = dict(state)
    algorithm.targets(random_batch(seeded(), steps=STEPS), state)
    assert state.keys() == before.keys()
    assert all(state[key] is before[key] for key in state)


@each
def test_the_order_of_rows_does_not_matter(name):
    (algorithm, state), (_, turned_state) = start(name), start(name)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for step in range(STEPS):
        batch = random_batch(seeded(step), step=step, steps=STEPS)
        turned = batch._replace(ids_U=batch.ids_U[order], logits_UC=batch.logits_UC[order])
        targets, other = algorithm.targets(batch, state), algorithm.targets(turned, turned_state)
        torch.testing.assert_close(Targets(*(part[order] for part in targets)), other)
    torch.testing.assert_close(state, turned_state)


@each
def test_a_state_taken_up_again_goes_on_as_if_nothing_had_happened(name):
    algorithm, state = start(name)
    batches = [random_batch(seeded(step), step=step, steps=STEPS) for step in range(STEPS)]
    for batch in batches[:7]:
        algorithm.targets(batch, state)
    copied = {key: value.clone() for key, value in state.items()}
    for batch in batches[7:]:
        one, other = algorithm.targets(batch, state), algorithm.targets(batch, copied)
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@each
def test_many_trainings_at_once_give_what_each_gives_alone(name):
    algorithm, _ = start(name)
    alone = [start(name)[1] for _ in range(3)]
    stacked = {key: torch.stack([state[key] for state in alone]) for key in alone[0]}
    for step in range(STEPS):
        batches = [random_batch(seeded(100 * step + trial), step=step, steps=STEPS) for trial in range(3)]
        expected = [algorithm.targets(batch, state) for batch, state in zip(batches, alone, strict=True)]
        tensors = [torch.stack(parts) for parts in list(zip(*batches, strict=True))[:4]]

        def targets(state, *parts, step=step):
            return algorithm.targets(Batch(*parts, step, STEPS), state)

        got = torch.func.vmap(targets)(stacked, *tensors)
        torch.testing.assert_close(got, Targets(*(torch.stack(parts) for parts in zip(*expected, strict=True))))


OUT_OF_RANGE = {
    "uratio": [0],
    "ulb_loss_ratio": [float("nan"), -1.0],
    "num_weak_views": [-1],
    "num_strong_views": [0],
    "p_cutoff": [0.0, 1.5],
    "temperature": [0.0],
    "ulb_warm_up": [-1],
    "ema_p": [1.0, -0.1],
    "ent_loss_ratio": [-1.0],
    "n_sigma": [0.0],
    "gamma": [1.0, float("inf")],
    "c": [0.0],
    "rho_min": [0.0],
    "num_decays": [0],
    "warm_up_share": [1.0],
}


@each
def test_refuses_every_field_out_of_range_by_its_name(name):
    numbers = [field.name for field in dataclasses.fields(ALGORITHMS.get(name)) if field.type is not bool]
    for field in numbers:
        for value in OUT_OF_RANGE[field]:
            with pytest.raises(SpecError, match=f"`{field}`"):
                ALGORITHMS.build({"name": name, field: value})


@each
def test_refuses_a_field_it_does_not_have(name):
    with pytest.raises(UnknownKeyError, match="misspelt"):
        ALGORITHMS.build({"name": name, "misspelt": 1})
