"""Pictures are small enough for a page, and of the whole upright image."""

from __future__ import annotations

from io import BytesIO
from random import Random

from PIL import Image

from vlmcli.inputs.image import load_image
from vlmcli.inputs.picture import picture
from vlmcli.types.picture import MAX_SIDE_PX


def test_a_drawing_is_kept_without_loss() -> None:
    image = Image.new("RGB", (30, 20), (1, 2, 3))
    image.putpixel((29, 19), (200, 100, 50))
    made = picture(load_image(image))
    back = Image.open(BytesIO(made.data))
    assert (made.media_type, made.size, made.original) == ("image/png", (30, 20), (30, 20))
    assert back.format == "PNG" and back.tobytes() == image.tobytes()


def test_a_large_one_becomes_smaller_and_keeps_its_shape() -> None:
    loaded = load_image(Image.new("RGB", (3000, 1500)))
    made = picture(loaded)
    assert (made.size, made.original) == ((MAX_SIDE_PX, MAX_SIDE_PX // 2), (3000, 1500))
    assert loaded.pixels.size == (3000, 1500), "what the model sees stays as it is"


def test_a_photograph_becomes_jpeg() -> None:
    noise = Image.frombytes("RGB", (500, 400), Random(0).randbytes(500 * 400 * 3))
    made = picture(load_image(noise))
    assert made.media_type == "image/jpeg" and Image.open(BytesIO(made.data)).format == "JPEG"
    assert len(made.data) < 500 * 400 * 3 / 2
