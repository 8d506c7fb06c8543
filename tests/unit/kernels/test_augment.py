import numpy as np
import pytest
import torch

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.augment import Moments, View, augment_images, augment_vectors, pool_moments
from labelbench_ray.kernels.rand_augment import GRAY, OPERATIONS, apply_operation, cutout
from labelbench_ray.seeding import stream


def some_images(count=12, height=16, width=20):
    return list(stream(0, "images").integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def equal(images, others):
    return all(np.array_equal(a, b) for a, b in zip(images, others, strict=True))


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_a_view_depends_on_seed_id_and_index_alone(kind):
    images, ids, view = some_images(), np.arange(100, 112), View(kind=kind, index=1, seed=5)
    whole = augment_images(images, ids, view, can_flip=True)
    order = np.array([7, 2, 11])
    assert equal(augment_images([images[i] for i in order], ids[order], view, can_flip=True), [whole[i] for i in order])
    for other in (View(kind=kind, index=2, seed=5), View(kind=kind, index=1, seed=6)):
        assert not equal(augment_images(images, ids, other, can_flip=True), whole)
    assert not equal(augment_images(images, ids + 1, view, can_flip=True), whole)


@pytest.mark.parametrize("kind", ["clean", "weak", "strong"])
def test_images_keep_shape_type_and_their_own_values(kind):
    images = [*some_images(2), *some_images(2, 1, 3), *some_images(2, 300, 200)]
    before = [image.copy() for image in images]
    for image in images:
        image.flags.writeable = False
    changed = augment_images(images, np.arange(6), View(kind=kind), can_flip=True)
    assert [(image.shape, image.dtype) for image in changed] == [(image.shape, image.dtype) for image in images]
    assert equal(images, before)


def test_weak_is_one_of_the_shifts_by_an_eighth_and_all_of_them_happen():
    image = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    possible = {padded[r : r + 16, c : c + 16].tobytes(): (r, c) for r in range(5) for c in range(5)}
    ids = np.arange(600)
    seen = [possible[view.tobytes()] for view in augment_images([image] * 600, ids, View(kind="weak"), can_flip=False)]
    assert len(set(seen)) == 25


def test_half_of_the_weak_views_are_mirrored_where_that_is_allowed():
    image = np.zeros((4, 4, 3), np.uint8)  # an eighth of 4 is no shift at all
    image[:, 0] = 255
    weak = View(kind="weak")
    mirrored = [view[0, 3, 0] == 255 for view in augment_images([image] * 400, np.arange(400), weak, can_flip=True)]
    assert 150 < sum(mirrored) < 250
    assert equal(augment_images([image] * 40, np.arange(40), weak, can_flip=False), [image] * 40)


def test_no_global_generator_is_touched():
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    augment_images(some_images(), np.arange(12), View(kind="strong"), can_flip=True)
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_a_clean_view_has_no_seed():
    with pytest.raises(SpecError, match="clean view has no index and no seed, got 1 and 0"):
        View(index=1)
    with pytest.raises(SpecError, match="must not be negative"):
        View(kind="weak", seed=-1)


def test_there_are_the_fourteen_operations_of_fixmatch():
    assert len(OPERATIONS) == 14


# By hand on one colour or one bright pixel: what each operation does at the ends of its range (PIL's definitions).
@pytest.mark.parametrize(
    ("name", "share", "value", "expected"),
    [
        ("identity", 0.3, 100, 100),
        ("brightness", 0.0, 100, 5),
        ("brightness", 1.0, 100, 95),
        ("posterize", 0.0, 0b10110111, 0b10110000),
        ("posterize", 0.999, 0b10110111, 0b10110111),
        ("solarize", 0.0, 100, 155),
        ("solarize", 1.0, 100, 100),
        ("contrast", 0.0, 100, 100),
        ("color", 0.0, 100, 100),
        ("sharpness", 0.0, 100, 100),
        ("autocontrast", 0.0, 100, 100),
        ("equalize", 0.0, 100, 100),
    ],
)
def test_operations_on_one_colour(name, share, value, expected):
    image = torch.full((3, 8, 8), value, dtype=torch.uint8)
    (changed,) = apply_operation(name, image, share).unique().tolist()
    assert abs(changed - expected) <= 1  # torchvision's gray weights sum to 0.9999


@pytest.mark.parametrize(
    ("name", "share", "row", "column"),
    [("translate_x", 1.0, 5, 8), ("translate_x", 0.0, 5, 2), ("translate_y", 1.0, 8, 5), ("translate_y", 0.0, 2, 5)],
)
def test_translations_move_by_up_to_three_tenths(name, share, row, column):
    image = torch.zeros((3, 10, 10), dtype=torch.uint8)
    image[:, 5, 5] = 255
    moved = apply_operation(name, image, share)
    assert moved.nonzero().tolist() == [[channel, row, column] for channel in range(3)]


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y"])
def test_rotation_and_shear_do_nothing_in_the_middle_of_their_range(name):
    image = torch.from_numpy(some_images(1, 16, 16)[0]).permute(2, 0, 1)
    assert torch.equal(apply_operation(name, image, 0.5), image)
    assert not torch.equal(apply_operation(name, image, 0.9), image)


def test_cutout_grays_squares_of_up_to_half_the_width():
    image = torch.zeros((3, 32, 32), dtype=torch.uint8)
    areas = []
    for seed in range(200):
        cut = cutout(image, stream(seed, "cutout"))
        assert set(cut.unique().tolist()) <= {0, GRAY}
        areas.append(int((cut[0] == GRAY).sum()))
    assert max(areas) <= 17 * 17
    assert max(areas) > 12 * 12
    assert image.max() == 0


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
