"""Against the libraries' own evaluation transforms, on PIL images."""

import numpy as np
import pytest
import torch

from labelbench_ray.encoders.preprocess import Preprocess
from labelbench_ray.seeding import stream

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def smooth_image(height, width):
    from PIL import Image

    coarse = stream(height, "image").integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def levels_apart(ours, theirs):
    """Largest difference in units of one of 256 levels, and the share of values that differ by half a level."""
    apart = (ours - theirs).abs() * torch.tensor(STD).view(3, 1, 1) * 255
    return float(apart.max()), float((apart > 0.5).float().mean())


@pytest.mark.parametrize("fit", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (75, 100), (200, 61)])
def test_equal_to_open_clips_own(fit, interpolation, height, width):
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    asked = PreprocessCfg(size=64, mean=MEAN, std=STD, interpolation=interpolation, resize_mode=fit, fill_color=9)
    image = smooth_image(height, width)
    theirs = image_transform_v2(asked, is_train=False)(Image.fromarray(image))
    ours = Preprocess(size=64, mean=MEAN, std=STD, interpolation=interpolation, fit=fit, fill=9).apply([image])[0]
    largest, share = levels_apart(ours, theirs)
    assert largest < 2.01
    assert share < 0.1


@pytest.mark.parametrize("crop_fraction", [0.875, 1.0])
def test_equal_to_timms_own(crop_fraction):
    from PIL import Image
    from timm.data import create_transform

    image = smooth_image(90, 131)
    theirs = create_transform((3, 64, 64), mean=MEAN, std=STD, interpolation="bicubic", crop_pct=crop_fraction)(
        Image.fromarray(image)
    )
    ours = Preprocess(size=64, mean=MEAN, std=STD, crop_fraction=crop_fraction).apply([image])[0]
    largest, share = levels_apart(ours, theirs)
    assert largest < 2.01
    assert share < 0.1


def test_an_image_that_fits_is_only_normalised():
    image = stream(0, "image").integers(0, 256, (16, 16, 3), dtype=np.uint8)
    prepared = Preprocess(size=16, mean=MEAN, std=STD).apply([image])[0].numpy()
    expected = (image.transpose(2, 0, 1) / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    assert np.allclose(prepared, expected, atol=1e-5)


def test_a_batch_of_one_shape_equals_its_images_alone():
    preprocess = Preprocess(size=24, mean=MEAN, std=STD)
    images = [smooth_image(40, 30) + np.uint8(i) for i in range(5)]
    alone = torch.cat([preprocess.apply([image]) for image in images])
    assert torch.equal(preprocess.apply(images), alone)
    mixed = preprocess.apply([*images, smooth_image(50, 60)])
    assert torch.equal(mixed[:5], alone)


def test_squares_once_normalised_are_what_is_applied():
    preprocess = Preprocess(size=24, mean=MEAN, std=STD)
    images = [smooth_image(40, 30), smooth_image(300, 200)]
    squares = preprocess.squares(images)
    assert (squares.shape, squares.dtype) == ((2, 3, 24, 24), torch.uint8)
    assert torch.equal(preprocess.normalize(squares), preprocess.apply(images))


def test_normalising_is_to_the_bit_that_of_torchvision():
    from torchvision.transforms import functional

    every_level = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    expected = functional.normalize(functional.to_tensor(every_level), MEAN, STD)
    squares = torch.from_numpy(every_level).permute(2, 0, 1).expand(2, -1, -1, -1)
    for normalized in Preprocess(size=16, mean=MEAN, std=STD).normalize(squares):
        assert torch.equal(normalized, expected)


def test_read_only_images_can_be_prepared():
    images = [smooth_image(8, 8), smooth_image(9, 8)]
    for image in images:
        image.flags.writeable = False
    assert Preprocess(size=4, mean=MEAN, std=STD).apply(images).shape == (2, 3, 4, 4)
