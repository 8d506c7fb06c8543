import numpy as np
import pytest
import torch

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels import augment
from labelbench_ray.kernels.augment import Moments, View, augment_batch, augment_vectors, pool_moments
from labelbench_ray.seeding import stream


def some_images(count=12, height=16, width=20):
    return torch.from_numpy(stream(0, "images").integers(0, 256, (count, 3, height, width), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_a_view_depends_on_seed_id_and_index_alone(kind):
    images, ids, view = some_images(), np.arange(100, 112), View(kind=kind, index=1, seed=5)
    whole = augment_batch(images, ids, view, can_flip=True)
    for other in (View(kind=kind, index=2, seed=5), View(kind=kind, index=1, seed=6)):
        assert not torch.equal(augment_batch(images, ids, other, can_flip=True), whole)
    assert not torch.equal(augment_batch(images, ids + 1, view, can_flip=True), whole)


@pytest.mark.parametrize("kind", ["weak", "strong"])
@pytest.mark.parametrize(("height", "width"), [(16, 20), (33, 7), (97, 97)])
def test_no_batching_changes_a_bit(kind, height, width, monkeypatch):
    images, ids, view = some_images(20, height, width), np.arange(100, 120), View(kind=kind, seed=5)
    whole = augment_batch(images, ids, view, can_flip=True)
    alone = [augment_batch(images[i : i + 1], ids[i : i + 1], view, can_flip=True) for i in range(20)]
    assert torch.equal(whole, torch.cat(alone))
    order = torch.from_numpy(stream(1, "order").permutation(20)[:13])
    assert torch.equal(augment_batch(images[order], ids[order], view, can_flip=True), whole[order])
    monkeypatch.setattr(augment, "BLOCK_VALUES", 7 * images[0].numel())
    assert torch.equal(augment_batch(images, ids, view, can_flip=True), whole)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment_batch(channels_last, ids, view, can_flip=True), whole)


@pytest.mark.parametrize("kind", ["clean", "weak", "strong"])
@pytest.mark.parametrize(("height", "width"), [(16, 20), (1, 3), (2, 2), (300, 200)])
def test_images_keep_shape_type_and_their_own_values(kind, height, width):
    images = some_images(4, height, width)
    before = images.clone()
    changed = augment_batch(images, np.arange(4), View(kind=kind), can_flip=True)
    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", ["clean", "weak", "strong"])
def test_a_batch_of_none_stays_one(kind):
    assert augment_batch(some_images(0), np.arange(0), View(kind=kind), can_flip=True).shape == (0, 3, 16, 20)


def test_weak_is_one_of_the_shifts_by_an_eighth_and_all_of_them_happen():
    image = np.arange(16 * 16, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    possible = {padded[:, r : r + 16, c : c + 16].tobytes(): (r, c) for r in range(5) for c in range(5)}
    batch = torch.from_numpy(image).expand(600, -1, -1, -1)
    views = augment_batch(batch, np.arange(600), View(kind="weak"), can_flip=False)
    assert len({possible[view.numpy().tobytes()] for view in views}) == 25


def test_half_of_the_weak_views_are_mirrored_where_that_is_allowed():
    images = torch.zeros((400, 3, 4, 4), dtype=torch.uint8)  # an eighth of 4 is no shift at all
    images[:, :, :, 0] = 255
    weak, ids = View(kind="weak"), np.arange(400)
    mirrored = augment_batch(images, ids, weak, can_flip=True)[:, 0, 0, 3] == 255
    assert 150 < mirrored.sum() < 250
    assert torch.equal(augment_batch(images, ids, weak, can_flip=False), images)


def test_no_global_generator_is_touched():
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    augment_batch(some_images(), np.arange(12), View(kind="strong"), can_flip=True)
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_a_clean_view_has_no_seed():
    with pytest.raises(SpecError, match="clean view has no index and no seed, got 1 and 0"):
        View(index=1)
    with pytest.raises(SpecError, match="must not be negative"):
        View(kind="weak", seed=-1)


def test_weak_vectors_are_clean():
    vectors = np.ones((2, 3), np.float16)
    assert np.array_equal(augment_vectors(vectors, np.arange(2), View(kind="weak"), None), vectors)


def test_strong_vectors_are_dropout_and_noise_once_standardised():
    rng = stream(1, "vectors")
    vectors = (rng.standard_normal((2000, 8)) * np.arange(1, 9) + 50).astype(np.float32)
    pool = pool_moments(InMemory(vectors))
    strong = augment_vectors(vectors, np.arange(2000), View(kind="strong"), pool)
    standard, changed = ((rows - pool.mean_D) / pool.deviation_D for rows in (vectors, strong))
    dropped = np.abs(changed) < np.abs(changed - 2 * standard)
    noise = np.where(dropped, changed, changed - 2 * standard)
    clear = np.abs(standard) > 0.5  # where dropped and kept cannot be confused
    assert abs(dropped[clear].mean() - 0.5) < 0.02
    assert abs(noise[clear].std() - 0.1) < 0.005
    some = augment_vectors(vectors[5:9], np.arange(5, 9), View(kind="strong"), pool)
    assert np.array_equal(some, strong[5:9])


def test_moments_are_those_of_all_rows():
    vectors = (stream(2, "vectors").standard_normal((20_000, 3)) + 1000).astype(np.float32)
    moments = pool_moments(InMemory(vectors))
    assert np.allclose(moments.mean_D, vectors.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert np.allclose(moments.deviation_D, vectors.std(axis=0, dtype=np.float64), rtol=1e-5)
    assert isinstance(moments, Moments)


class InMemory:
    def __init__(self, rows):
        self.rows = rows
        self.shape = rows.shape

    def slice(self, first, last):
        return self.rows[first:last]
