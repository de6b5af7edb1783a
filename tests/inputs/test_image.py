"""Images: whatever a user may hand over comes out as upright RGB, or as one line that names the file."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from vlmcli.errors import ImageError, InputError
from vlmcli.inputs.image import load_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")
    )


def fails(data: bytes, tmp_path: Path, name: str = "picture.jpg", **options: int) -> ImageError:
    """Load ``data`` from a file, and return the error, which must name the file in one line."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        load_image(path, **options)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 3
    return caught.value


# Sources


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    picture = noise()
    data = encode(picture)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    loaded = [
        load_image(str(path)),
        load_image(path),
        load_image(data),
        load_image(picture),
        load_image("-", stdin=lambda: io.BytesIO(data)),
        load_image("https://example.org/a.png", fetcher=lambda url, allow_private: data),
    ]
    assert {one.pixels.tobytes() for one in loaded} == {picture.tobytes()}
    assert {one.info.original for one in loaded} == {(64, 48)}
    assert [one.info.source for one in loaded] == [
        str(path),
        str(path),
        "<bytes>",
        "<image>",
        "-",
        "https://example.org/a.png",
    ]


def test_sha256_is_over_the_bytes_of_the_source() -> None:
    picture = noise()
    data = encode(picture)
    assert load_image(data).info.sha256 == hashlib.sha256(data).hexdigest()
    assert load_image(picture).info.sha256 == hashlib.sha256(picture.tobytes()).hexdigest()


@pytest.mark.parametrize("allowed", [True, False])
def test_permission_for_private_urls_reaches_the_fetcher(allowed: bool) -> None:
    seen = []

    def fetcher(url: str, *, allow_private: bool) -> bytes:
        seen.append((url, allow_private))
        return encode(noise())

    load_image("http://localhost/a.png", allow_private_urls=allowed, fetcher=fetcher)
    assert seen == [("http://localhost/a.png", allowed)]


def test_a_file_called_minus_can_still_be_read_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "-").write_bytes(encode(noise()))
    assert load_image(tmp_path / "-").pixels.size == (64, 48)


def test_the_given_pil_image_is_left_as_it_was() -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    load_image(picture)
    assert picture.mode == "RGBA"
    assert picture.getpixel((0, 0)) == (255, 0, 0, 0)


# What becomes of the pixels


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO"])
def test_formats(kind: str) -> None:
    loaded = load_image(encode(Image.new("RGB", (32, 32), RED), kind))
    red, green, blue = loaded.pixels.getpixel((16, 16))
    assert loaded.pixels.mode == "RGB"
    assert red > 245 and green < 10 and blue < 10
    assert loaded.info.notes == ()


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "RGBX", "La", "RGBa", "PA"]
)
def test_every_mode_of_pil_becomes_rgb(mode: str) -> None:
    gray = Image.linear_gradient("L").resize((32, 32))
    base = gray.convert("RGB") if mode == "HSV" else gray
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode)
    picture = base.convert(through).convert(mode) if through else base.convert(mode)
    loaded = load_image(picture)
    assert loaded.pixels.mode == "RGB"
    top, bottom = loaded.pixels.getpixel((16, 0)), loaded.pixels.getpixel((16, 31))
    assert max(top) < 40 and min(bottom) > 215, f"{mode}: black at the top and white below, got {top} and {bottom}"


def test_cmyk_jpeg_keeps_its_colours() -> None:
    loaded = load_image(encode(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG"))
    red, green, blue = loaded.pixels.getpixel((8, 8))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_16_bits_are_scaled_and_not_clipped(mode: str) -> None:
    order = ">" if mode.endswith("B") else "<"
    picture = Image.frombytes(mode, (3, 1), struct.pack(f"{order}HHH", 0, 32896, 65535))
    loaded = load_image(picture)
    assert [loaded.pixels.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]
    assert any("16-bit" in note for note in loaded.info.notes)


def test_16_bit_png_and_tiff_files_are_scaled() -> None:
    picture = Image.frombytes("I;16", (3, 1), struct.pack("<HHH", 0, 32896, 65535))
    for kind in ("PNG", "TIFF"):
        loaded = load_image(encode(picture, kind))
        assert [loaded.pixels.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [((0.0, 0.5, 1.0), [0, 128, 255]), ((0.0, 127.5, 255.0), [0, 128, 255]), ((-10.0, 0.0, 10.0), [0, 128, 255])],
)
def test_float_samples_are_scaled_by_their_range(samples: tuple[float, ...], expected: list[int]) -> None:
    picture = Image.frombytes("F", (3, 1), struct.pack("<fff", *samples))
    loaded = load_image(encode(picture, "TIFF"))
    assert [loaded.pixels.getpixel((x, 0))[0] for x in range(3)] == expected


def test_infinite_samples_are_refused(tmp_path: Path) -> None:
    picture = Image.frombytes("F", (2, 1), struct.pack("<ff", 0.0, float("inf")))
    assert "inf" in fails(encode(picture, "TIFF"), tmp_path).message


def test_a_flat_float_image_does_not_divide_by_zero() -> None:
    picture = Image.frombytes("F", (2, 1), struct.pack("<ff", 1e6, 1e6))
    assert load_image(picture).pixels.size == (2, 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
def test_transparent_parts_become_white_and_are_noted(mode: str) -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 255))
    loaded = load_image(picture.convert(mode))
    assert loaded.pixels.getpixel((0, 0)) == WHITE
    assert loaded.pixels.getpixel((1, 0)) == (0, 0, 0)
    assert any("white" in note for note in loaded.info.notes)


def test_palette_with_alpha_becomes_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*GREEN, *BLUE])
    picture.putpixel((1, 0), 1)
    loaded = load_image(encode(picture, transparency=bytes([0, 255])))
    assert loaded.pixels.getpixel((0, 0)) == WHITE
    assert loaded.pixels.getpixel((1, 0)) == BLUE


@pytest.mark.parametrize(("mode", "key"), [("RGB", RED), ("L", 76)])
def test_a_transparent_colour_becomes_white(mode: str, key: object) -> None:
    picture = Image.new("RGB", (2, 1), RED).convert(mode)
    picture.putpixel((1, 0), 0 if mode == "L" else (0, 0, 0))
    loaded = load_image(encode(picture, transparency=key))
    assert [loaded.pixels.getpixel((x, 0)) for x in range(2)] == [WHITE, (0, 0, 0)]


def test_an_alpha_channel_that_hides_nothing_is_no_news() -> None:
    loaded = load_image(Image.new("RGBA", (2, 2), (1, 2, 3, 255)))
    assert loaded.pixels.getpixel((0, 0)) == (1, 2, 3)
    assert loaded.info.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_undone(orientation: int, kind: str) -> None:
    upright = Image.new("RGB", (32, 16), BLUE)
    upright.paste(RED, (0, 0, 16, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the transpose that stores it this way round
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(
        upright.transpose(Image.Transpose(undo)), kind, exif=exif, **({} if kind == "PNG" else {"quality": 95})
    )
    loaded = load_image(data)
    assert loaded.info.original == loaded.pixels.size == (32, 16)
    corners = [loaded.pixels.getpixel(place) for place in ((4, 3), (28, 3), (4, 13), (28, 13))]
    assert [pixel[0] > pixel[2] for pixel in corners] == [True, False, False, False]
    assert any(f"orientation {orientation}" in note for note in loaded.info.notes)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encode(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 8)
    assert load_image(data).pixels.size == (64, 48)


@pytest.mark.parametrize(
    ("kind", "word"), [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"), ("TIFF", "pages")]
)
def test_the_first_of_several_frames_is_used_and_noted(kind: str, word: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    loaded = load_image(data)
    red, green, _ = loaded.pixels.getpixel((4, 4))
    assert red > 245 and green < 10
    assert loaded.info.notes == (f"3 {'pages' if kind == 'TIFF' else 'frames'}: only the first is used",)


# What is refused


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: .*missing\.png"):
        load_image(tmp_path / "missing.png")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory"):
        load_image(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000])
def test_impossible_file_names(name: str) -> None:
    with pytest.raises(InputError):
        load_image(name)


def test_an_empty_file_and_empty_standard_input(tmp_path: Path) -> None:
    assert "empty" in fails(b"", tmp_path).message
    with pytest.raises(ImageError, match="standard input is empty"):
        load_image("-", stdin=io.BytesIO)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"What is in this picture?\n", "text"),
        ("Grüße aus Köln ".encode() * 300, "text"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "video"),
        (b"  <!DOCTYPE html><html>", "web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"PK\x03\x04\x14\0", "ZIP"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "damaged"),
        (bytes(range(256)), "not an image"),
    ],
)
def test_what_else_it_may_be(data: bytes, word: str, tmp_path: Path) -> None:
    error = fails(data, tmp_path)
    assert word in error.message
    assert error.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(kind: str, share: float, tmp_path: Path) -> None:
    data = encode(noise((200, 200)), kind)
    error = fails(data[: int(len(data) * share)], tmp_path)
    assert "cut short" in error.message


def test_a_truncated_file_is_refused_whatever_another_library_asked_for(tmp_path: Path) -> None:
    data = encode(noise((200, 200)), "JPEG")
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        fails(data[: len(data) // 2], tmp_path)
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True, "a process-wide switch was not put back"
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def test_bytes_without_a_file_are_called_that() -> None:
    with pytest.raises(ImageError, match="the given bytes"):
        load_image(b"nonsense")


@pytest.mark.parametrize("cut", [None, 33])
def test_a_huge_header_is_refused_before_decoding(cut: int | None, tmp_path: Path) -> None:
    error = fails(png_header(50_000, 50_000)[:cut], tmp_path, "huge.png")
    assert "50000 x 50000" in error.message
    assert "64.0 million" in error.message
    assert "--max-pixels" in (error.hint or "")


def test_the_limit_is_the_callers_and_exact(tmp_path: Path) -> None:
    data = encode(Image.new("RGB", (100, 10)))
    assert load_image(data, max_pixels=1000).pixels.size == (100, 10)
    fails(data, tmp_path, max_pixels=999)
    with pytest.raises(ImageError):
        load_image(Image.new("RGB", (100, 10)), max_pixels=999)


def test_pillows_own_limit_never_shows(recwarn: pytest.WarningsRecorder) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = 10
    try:
        assert load_image(encode(Image.new("RGB", (100, 100)))).pixels.size == (100, 100)
        assert Image.MAX_IMAGE_PIXELS == 10, "a process-wide limit was not put back"
    finally:
        Image.MAX_IMAGE_PIXELS = before
    assert not list(recwarn)


def test_an_icon_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    inner = encode(Image.new("RGB", (300, 300)))
    icon = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    assert "limit" in fails(icon, tmp_path, "a.ico", max_pixels=1000).message


@pytest.mark.parametrize(("width", "height"), [(0, 100), (100, 0), (0, 0)])
def test_no_pixels(width: int, height: int, tmp_path: Path) -> None:
    assert f"({width} x {height})" in fails(png_header(width, height), tmp_path).message
    gif = b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"
    assert "cut short" in fails(gif, tmp_path).message or "no pixels" in fails(gif, tmp_path).message
    with pytest.raises(ImageError, match="no pixels"):
        load_image(Image.new("RGB", (width, height)))


def test_a_postscript_file_never_reaches_its_interpreter(tmp_path: Path) -> None:
    picture = encode(noise(), "EPS")
    assert "PostScript" in fails(picture, tmp_path, "a.eps").message
