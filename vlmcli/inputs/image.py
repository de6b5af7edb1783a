"""From a path, URL, bytes or PIL image to upright RGB pixels, refusing whatever cannot be decoded safely.

The order is what makes it safe: the bytes' size, then the header's size in pixels, then the pixels.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from vlmcli.errors import ImageError, InputError
from vlmcli.inputs.fetch import fetch
from vlmcli.types.result import ImageInfo

ImageSource = str | bytes | os.PathLike[str] | Image.Image
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 1024 * 1024 * 1024

# Raster formats only: Pillow's EPS and WMF plugins would start other programs.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
_WHITE = (255, 255, 255, 255)
_DAMAGED = "damaged or cut short: its header cannot be read"
_SAVE_ANEW = "open it elsewhere and save it anew"
_LOOKALIKES: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), what, hint)
    for pattern, what, hint in (
        (rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II\*\0|MM\0\*|....ftypavi", _DAMAGED, _SAVE_ANEW),
        (rb"%PDF-", "a PDF document, not an image", "turn a page into one first: pdftoppm -png -r 150 FILE page"),
        (rb"%!PS", "a PostScript drawing, not an image", "turn it into one first: gs -sDEVICE=png16m -o out.png FILE"),
        (rb"....ftyp(hei|hev|mif1|msf1)", "a HEIC image, which is not supported", "convert it first: heif-convert"),
        (
            rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3",
            "a video",
            "take a frame of it: ffmpeg -i FILE -frames:v 1 frame.png",
        ),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image, which is not supported", "convert it first: djxl FILE out.png"),
        (rb"PK\x03\x04", "a ZIP archive, not an image", "unpack it first"),
        (rb"\s*<(!doctype html|html)", "a web page, not an image", "give the address of the image itself"),
        (rb"\s*<(\?xml|!|svg).*?<?svg", "an SVG drawing, not an image", "turn it into one first: rsvg-convert -w 1024"),
    )
)


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """``pixels`` is upright RGB; ``info`` says where it came from, its upright size, and what was changed."""

    pixels: Image.Image
    info: ImageInfo


class Fetcher(Protocol):
    """Fetches a URL's bytes. Raises InputError."""

    def __call__(self, url: str, *, allow_private: bool) -> bytes: ...


def load_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    allow_private_urls: bool = False,
    stdin: Callable[[], BinaryIO] = lambda: sys.stdin.buffer,
    fetcher: Fetcher = fetch,
) -> LoadedImage:
    """Load one image: a path, an http(s) URL, "-" for standard input, a file's bytes, or a PIL image.

    The first frame is taken, turned upright by its EXIF orientation, transparency laid on white, and deeper samples
    scaled to 8 bits; ``info.notes`` says so. ``sha256`` is over the source's bytes (a PIL image's RGB bytes). Raises
    ImageError for what is no image, is damaged, or has more than ``max_pixels``; InputError for what cannot be read.
    """
    if isinstance(source, Image.Image):
        return _from_pil(source, max_pixels)
    if isinstance(source, bytes):
        return _from_bytes(source, "<bytes>", "the given bytes", max_pixels)
    text = os.fspath(source)
    if isinstance(source, str) and text == "-":
        return _from_bytes(_read_limited(stdin(), "standard input"), "-", "standard input", max_pixels)
    if isinstance(source, str) and "://" in text:
        return _from_bytes(fetcher(text, allow_private=allow_private_urls), text, text, max_pixels)
    return _from_bytes(_read_file(Path(text)), text, text, max_pixels)


def _from_pil(image: Image.Image, max_pixels: int) -> LoadedImage:
    name = getattr(image, "filename", "") or "<image>"
    _check_size(image.size, str(name), max_pixels)
    with _as_image_error(str(name)), _strict_pillow():
        Image.MAX_IMAGE_PIXELS = max_pixels
        pixels, notes = _to_rgb(image)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return LoadedImage(pixels, ImageInfo(str(name), digest, pixels.size, notes=notes))


def _from_bytes(data: bytes, source: str, name: str, max_pixels: int) -> LoadedImage:
    """Decode a file's bytes; ``name`` is what messages call it."""
    if not data:
        raise ImageError(f"{name} is empty")
    with _as_image_error(name), _strict_pillow():
        image = _open(data, name, max_pixels)
        Image.MAX_IMAGE_PIXELS = max_pixels  # for what only shows while decoding, such as an icon's inner picture
        frames = _frames_note(image)
        pixels, notes = _to_rgb(image)
    digest = hashlib.sha256(data).hexdigest()
    return LoadedImage(pixels, ImageInfo(source, digest, pixels.size, notes=frames + notes))


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return _read_limited(stream, str(path))
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a directory, not an image", f"name the images in it: {path}/*.jpg") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no file name: {error}") from error


def _read_limited(stream: BinaryIO, name: str) -> bytes:
    data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{name} is larger than {MAX_FILE_BYTES // 2**30} GiB, too large for an image")
    return data


def _open(data: bytes, name: str, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header and check the size it tells. Raises ImageError, with a guess at what the bytes are instead."""
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        if size := _told_size(data):
            _check_size(size, name, max_pixels)
        what, hint = _what_else(data)
        raise ImageError(f"{name} is {what}", hint) from error
    _check_size(image.size, name, max_pixels)
    return image


def _told_size(data: bytes) -> tuple[int, int] | None:
    """Read the size from a PNG or GIF header that Pillow refused, as it does for 0 pixels; formats' specifications."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    elif data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
    else:
        return None
    return width, height


def _what_else(data: bytes) -> tuple[str, str]:
    """Say what bytes that are no readable image seem to be, and what to do with them."""
    head = data[:1024]
    for pattern, what, hint in _LOOKALIKES:
        if pattern.match(head):
            return what, hint
    if _is_text(head):
        return "text, not an image", "name an image file; a text goes into the prompt"
    return "not an image that can be read", "JPEG, PNG, WebP, AVIF, GIF, TIFF and BMP can be"


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", errors="replace")
    odd = sum(not (character.isprintable() or character.isspace()) or character == "\ufffd" for character in text)
    return odd <= 1  # a character may be cut at the end of the head


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width <= 0 or height <= 0:
        raise ImageError(f"{name} has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} pixels, {width * height / 1e6:,.1f} million; "
            f"the limit is {max_pixels / 1e6:,.1f} million",
            f"make it smaller, or raise the limit: --max-pixels {width * height}",
        )


def _frames_note(image: Image.Image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format == "MPO":  # the further pictures of an MPO are previews and depth maps
        return ()
    return (f"{frames} {'pages' if image.format == 'TIFF' else 'frames'}: only the first is used",)


def _to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the image as upright 8-bit RGB, and notes on what a user would not expect."""
    image.load()
    upright, turned = _upright(image)
    eight_bit, scaled = _eight_bits(upright)
    pixels, laid = _opaque(eight_bit)
    return pixels, turned + scaled + laid


def _upright(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation not in range(2, 9):
            return image, ()
        return ImageOps.exif_transpose(image), (f"turned upright (EXIF orientation {orientation})",)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return image, ("its EXIF data is damaged: shown as it is stored",)


def _eight_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Scale one-channel images with deeper samples (16-bit, 32-bit, float) to 8 bits; Pillow itself would clip them."""
    if image.mode.startswith("I;16"):
        return _scaled(image, 0.0, 65535.0), ("16-bit samples scaled to 8 bits",)
    if image.mode not in ("I", "F"):
        return image, ()
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(f"its samples range from {low} to {high}", "save it with finite samples")
    if low >= 0 and high <= 255 and (image.mode == "I" or high > 1):
        return _scaled(image, 0.0, 255.0), ()
    if low < 0 or high > 1:
        return _scaled(image, low, high), (f"samples from {low:g} to {high:g} stretched to 8 bits",)
    return _scaled(image, 0.0, 1.0), ()


def _scaled(image: Image.Image, low: float, high: float) -> Image.Image:
    factor = 255.0 / (high - low) if high > low else 0.0
    samples = image if image.mode == "F" else image.convert("I").convert("F")
    samples.info.pop("transparency", None)  # a value of the deep samples, meaningless after scaling
    return samples.point(lambda value: value * factor + (0.5 - low * factor)).convert("L")


def _opaque(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Lay transparency on white, as a page would show it; a mere drop of the alpha channel shows what was hidden."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return image.convert("RGB"), ()
    unmultiplied = image.convert({"RGBa": "RGBA", "La": "LA"}.get(image.mode, image.mode))
    rgba = unmultiplied.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB"), ()
    page = Image.new("RGBA", rgba.size, _WHITE)
    return Image.alpha_composite(page, rgba).convert("RGB"), ("transparent parts shown on white",)


@contextmanager
def _as_image_error(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged or oversized data into one ImageError that names the file."""
    try:
        yield
    except ImageError as error:
        raise error if error.message.startswith(name) else ImageError(f"{name}: {error.message}", error.hint) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} unpacks to more pixels than its header says, and more than the limit") from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory") from error
    except Exception as error:  # decoders raise nearly anything on bytes that were tampered with
        reason = str(error).strip() or type(error).__name__
        raise ImageError(f"{name} is damaged or cut short: {reason}", _SAVE_ANEW) from error


_pillow_lock = threading.Lock()


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Set Pillow's process-wide switches for one image, and put them back.

    Its own pixel limit is off, for ours comes with a better message; truncated files fail whatever another library
    asked for; warnings about odd metadata stay quiet.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before
