import io

import numpy as np
import pytest
from dataset_files import encode, noise_image
from PIL import Image

from labelbench_ray.datasets import decode
from labelbench_ray.datasets.decode import decode_rgb

COLOUR = noise_image(0)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels(format):
    np.testing.assert_array_equal(decode_rgb(encode(COLOUR, format)), np.asarray(COLOUR))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_every_mode_becomes_rgb(mode):
    picture = COLOUR.convert(mode)
    image = decode_rgb(encode(picture))
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
def test_jpeg_gives_what_pillow_gives(mode, options):
    encoded = encode(noise_image(1, size=(40, 30)).convert(mode), "JPEG", quality=90, **options)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)
    image = decode_rgb(encoded)
    assert image.shape == (30, 40, 3)
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert np.abs(image - expected).max() <= 2  # zero where both come with the same libjpeg-turbo


def test_without_torchvisions_decoder_pillow_decodes_jpegs(monkeypatch):
    encoded = encode(noise_image(1, size=(40, 30)), "JPEG", quality=90)
    monkeypatch.setattr(decode, "_jpeg_decoder", lambda: None)
    np.testing.assert_array_equal(decode_rgb(encoded), np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))


def test_a_jpeg_is_shown_as_it_is_stored_whatever_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn it by a quarter
    assert decode_rgb(encode(noise_image(1, size=(40, 30)), "JPEG", exif=exif)).shape == (30, 40, 3)


def test_a_palette_with_transparency_drops_it_quietly():
    palette = COLOUR.convert("P")
    np.testing.assert_array_equal(
        decode_rgb(encode(palette, transparency=bytes([0, 128, 255]))), np.asarray(palette.convert("RGB"))
    )


def test_sixteen_bit_grey_keeps_its_upper_bits():
    levels = np.array([[0, 255, 256, 65535]], np.uint16)
    image = decode_rgb(encode(Image.fromarray(levels)))
    assert image.tolist() == [[[0] * 3, [0] * 3, [1] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty"),
        (None, "empty"),
        (b"not an image", "of no known image format"),
        (encode(COLOUR)[:-40], "truncated"),
        (encode(noise_image(1, size=(40, 30)), "JPEG")[:-100], "truncated"),
        (encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "no fixed range"),
    ],
)
def test_what_cannot_be_decoded_says_why_in_one_line(encoded, reason):
    with pytest.raises(ValueError, match=reason) as error:
        decode_rgb(encoded)
    assert "\n" not in str(error.value)
