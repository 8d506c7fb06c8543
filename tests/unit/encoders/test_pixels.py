import numpy as np
import pytest

from labelbench_ray.encoders.pixels import Pixels
from labelbench_ray.errors import SpecError
from labelbench_ray.seeding import stream


def test_a_grey_image_of_its_size_is_itself_scaled():
    grey = stream(0, "image").integers(0, 256, (8, 8, 1), dtype=np.uint8).repeat(3, axis=2)
    loaded = Pixels().load()
    assert loaded.width == 64
    assert np.allclose(loaded.encode([grey])[0], grey[..., 0].ravel() / 255, atol=1e-6)


def test_colour_keeps_three_channels():
    image = stream(1, "image").integers(0, 256, (4, 4, 3), dtype=np.uint8)
    encoded = Pixels(size=4, grayscale=False).load().encode([image])[0]
    assert np.allclose(encoded, image.transpose(2, 0, 1).ravel() / 255)


def test_size_must_be_positive():
    with pytest.raises(SpecError, match="`size` must be positive, got 0"):
        Pixels(size=0)
