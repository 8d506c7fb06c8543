"""Against Pillow, which defines the operations, image by image and to the bit; then ends of their ranges by hand."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from labelbench_ray.kernels.rand_augment import (
    GRAY,
    NUM_DRAWS,
    RANGES,
    apply_operations,
    cutout,
    rand_augment,
)
from labelbench_ray.seeding import stream


def noise(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(rng, height, width):
    return np.array(Image.fromarray(rng.integers(20, 200, (3, 4, 3), dtype=np.uint8)).resize((width, height)))


def as_tensor(images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def affine(picture, *matrix):
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


BY_PILLOW = {
    "autocontrast": lambda picture, _: ImageOps.autocontrast(picture),
    "brightness": lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor),
    "color": lambda picture, factor: ImageEnhance.Color(picture).enhance(factor),
    "contrast": lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor),
    "equalize": lambda picture, _: ImageOps.equalize(picture),
    "identity": lambda picture, _: picture,
    "posterize": lambda picture, bits: ImageOps.posterize(picture, int(bits)),
    "rotate": lambda picture, degrees: picture.rotate(degrees),
    "sharpness": lambda picture, factor: ImageEnhance.Sharpness(picture).enhance(factor),
    "shear_x": lambda picture, share: affine(picture, 1, share, 0, 0, 1, 0),
    "shear_y": lambda picture, share: affine(picture, 1, 0, 0, share, 1, 0),
    "solarize": lambda picture, share: ImageOps.solarize(picture, share * 255),
    "translate_x": lambda picture, share: affine(picture, 1, 0, share * picture.width, 0, 1, 0),
    "translate_y": lambda picture, share: affine(picture, 1, 0, 0, 0, 1, share * picture.height),
}


def by_pillow(name, image, share):
    lowest, highest = RANGES[name]
    return np.array(BY_PILLOW[name](Image.fromarray(image), lowest + share * (highest - lowest)))


def test_there_are_the_fourteen_operations_of_fixmatch():
    assert set(RANGES) == set(BY_PILLOW)
    assert len(RANGES) == 14


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("paint", [noise, smooth])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (3, 50), (61, 44)])
def test_a_batch_under_one_operation_is_what_pillow_makes_of_each_image(name, paint, height, width):
    rng = stream(3, name, height)
    images, shares = [paint(rng, height, width) for _ in range(9)], rng.random(9)
    changed = apply_operations(as_tensor(images), [name] * 9, shares).permute(0, 2, 3, 1).numpy()
    expected = np.stack([by_pillow(name, image, share) for image, share in zip(images, shares, strict=True)])
    np.testing.assert_array_equal(changed, expected)


def test_each_image_of_a_batch_has_its_own_operation_and_magnitude():
    rng = stream(4, "mixed")
    names = list(rng.permutation(list(RANGES) * 3))
    images, shares = [smooth(rng, 20, 24) for _ in names], rng.random(len(names))
    changed = apply_operations(as_tensor(images), names, shares).permute(0, 2, 3, 1).numpy()
    expected = [by_pillow(name, image, share) for name, image, share in zip(names, images, shares, strict=True)]
    np.testing.assert_array_equal(changed, np.stack(expected))


# By hand on one colour: what each operation does at the ends of its range (1 from 0.05 * 21 and 0.95 * 99 cut off).
@pytest.mark.parametrize(
    ("name", "share", "value", "expected"),
    [
        ("identity", 0.3, 100, 100),
        ("brightness", 0.0, 100, 5),
        ("brightness", 1.0, 99, 94),
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
    image = torch.full((1, 3, 8, 8), value, dtype=torch.uint8)
    assert apply_operations(image, [name], np.array([share])).unique().tolist() == [expected]


@pytest.mark.parametrize(
    ("name", "share", "row", "column"),
    [("translate_x", 1.0, 5, 2), ("translate_x", 0.0, 5, 8), ("translate_y", 1.0, 2, 5), ("translate_y", 0.0, 8, 5)],
)
def test_translations_move_by_up_to_three_tenths(name, share, row, column):
    image = torch.zeros((1, 3, 10, 10), dtype=torch.uint8)
    image[..., 5, 5] = 255
    moved = apply_operations(image, [name], np.array([share]))
    assert moved.nonzero().tolist() == [[0, channel, row, column] for channel in range(3)]


def test_every_operation_is_drawn_alike_often_and_twice():
    draws = np.full((1400, NUM_DRAWS), 0.5)
    draws[:, 0] = draws[:, 2] = np.repeat((np.arange(14) + 0.5) / 14, 100)
    draws[:, 4:] = 0  # a square of no size
    image = as_tensor([smooth(stream(5, "image"), 12, 12)])
    twice = rand_augment(image.expand(1400, -1, -1, -1), draws)[::100]
    half = np.full(1, 0.5)
    by_name = [apply_operations(apply_operations(image, [name], half), [name], half) for name in RANGES]
    assert torch.equal(twice, torch.cat(by_name))


def test_cutout_grays_squares_of_up_to_half_the_width():
    images = torch.zeros((200, 3, 32, 32), dtype=torch.uint8)
    draws = stream(0, "cutout").random((200, 3))
    cut = cutout(images, draws)
    assert set(cut.unique().tolist()) <= {0, GRAY}
    areas = (cut[:, 0] == GRAY).sum(dim=(1, 2))
    assert 12 * 12 < areas.max() <= 17 * 17
    assert images.max() == 0
    whole = cut[int(areas.argmax()), 0]
    assert (whole.amax(0) > 0).sum() * (whole.amax(1) > 0).sum() == areas.max()


def test_cutout_is_the_square_that_was_drawn():
    (cut,) = cutout(torch.full((1, 3, 8, 16), 9, dtype=torch.uint8), np.array([[0.5, 0.25, 0.75]]))
    expected = torch.full((3, 8, 16), 9, dtype=torch.uint8)
    expected[:, 0:4, 10:14] = GRAY  # half of half of 16 wide, about row 2 and column 12
    assert torch.equal(cut, expected)
