"""Values of options, checked where they are read, so that a mistake costs one line and not a model's loading time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, cast

import typer

from vlmcli.errors import UsageError

Number = TypeVar("Number", int, float)

DTYPES = ("auto", "float32", "bfloat16", "float16")

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_SIZE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})", re.IGNORECASE)
_PIXELS = re.compile(r"(\d{1,18}(?:\.\d+)?(?:e\d\d?)?)\s*([kMG]?)", re.IGNORECASE)
_LAYERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_SCALE = re.compile(r"(\d{1,6})-(\d{1,6})")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def within(low: float, high: float = math.inf, *, above: bool = False) -> Callable[[Number | None], Number | None]:
    """A Typer callback that wants a number from ``low`` (not ``low`` itself with ``above``) to ``high``.

    Typer's own ranges let "nan" pass, and fill the help page. The callback raises typer.BadParameter.
    """
    start = f"greater than {low:g}" if above else f"at least {low:g}"
    wanted = start if math.isinf(high) else f"{start} and at most {high:g}"

    def check(value: Number | None) -> Number | None:
        if value is None or ((low < value if above else low <= value) and value <= high and math.isfinite(value)):
            return value
        raise typer.BadParameter(f"{value} is not {wanted}.")

    return check


def device(text: str) -> str:
    """A device's name. Raises UsageError for anything but auto, cpu, cuda, cuda:N and mps."""
    if _DEVICE.fullmatch(text):
        return text
    raise UsageError(f"no such device: {text!r}", "use auto, cpu, cuda, cuda:N or mps")


def device_map(text: str, device: str | None) -> str:
    """How a model is spread. Raises UsageError for anything but auto, and beside a device that was named."""
    if text != "auto":
        raise UsageError(f"no such device map: {text!r}", "use --device-map auto")
    if device not in (None, "auto"):
        raise UsageError("--device and --device-map exclude each other", "a map chooses the devices")
    return text


def dtype(text: str) -> str:
    """A number format's name. Raises UsageError for one that is not in DTYPES."""
    if text in DTYPES:
        return text
    raise UsageError(f"no such dtype: {text!r}", f"use {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")


def quantize(text: str | None) -> str | None:
    """int8, int4, or None for weights as they are. Raises UsageError."""
    if text is None or text in ("int8", "int4"):
        return text
    raise UsageError(f"weights cannot be quantised to {text!r}", "use int8 or int4")


def threads(number: int | None) -> int | None:
    """A number of threads, or None for torch's own choice. Raises UsageError below 1."""
    if number is None or number >= 1:
        return number
    raise UsageError(f"threads must be at least 1, not {number}")


def pixels(text: str) -> int:
    """A number of pixels such as 64000000, 64M or 0.5G. Raises UsageError for anything else, and for less than 1."""
    match = _PIXELS.fullmatch(text.strip())
    number = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if number < 1:
        raise UsageError(f"--max-pixels cannot be {text!r}", "give a number of pixels such as 64000000 or 64M")
    return number


def size(text: str) -> tuple[int, int]:
    """(width, height) in pixels from text such as 640x480. Raises UsageError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match:
        return int(match[1]), int(match[2])
    raise UsageError(f"--image-size cannot be {text!r}", "give width and height in pixels, such as 640x480")


def point(text: str, option: str) -> tuple[float, float]:
    """(x, y) from text such as 120,80. Raises UsageError for anything else."""
    numbers = _numbers(text)
    if len(numbers) != 2:
        raise UsageError(f"{option} cannot be {text!r}", f"give x and y in pixels, such as {option} 120,80")
    return numbers[0], numbers[1]


def box(text: str) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) in pixels from text such as 10,20,200,300. Raises UsageError for anything else."""
    numbers = _numbers(text)
    if len(numbers) != 4 or min(numbers) < 0:
        raise UsageError(f"--box cannot be {text!r}", "give x0,y0,x1,y1 in pixels, such as --box 10,20,200,300")
    x0, y0, x1, y1 = numbers
    if x0 >= x1 or y0 >= y1:
        raise UsageError(f"--box {text} has no area", "first its upper left corner, then its lower right one")
    return x0, y0, x1, y1


def _numbers(text: str) -> list[float]:
    """Finite numbers with commas between them; none where that is not what the text is."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def position(text: str) -> Literal["last", "all"] | int:
    """A position in the prompt: last, all or an index. Raises UsageError for anything else."""
    if text in ("last", "all"):
        return cast(Literal["last", "all"], text)
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--at cannot be {text!r}", "use last, all or the index of a position") from None


def lens_position(text: str) -> Literal["all", "image", "text", "last"] | int:
    """Positions for a lens: all, image, text, last or an index. Raises UsageError for anything else."""
    if text in ("image", "text"):
        return cast(Literal["image", "text"], text)
    try:
        return position(text)
    except UsageError:
        raise UsageError(f"--at cannot be {text!r}", "use all, image, text, last or the index of a position") from None


def layers(text: str) -> tuple[int, ...]:
    """Numbers and ranges such as 0,4,8-12. Raises UsageError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        match = _LAYERS.fullmatch(part.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"--layers cannot be {text!r}", "give numbers and ranges, such as 0,4,8-12")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(found)


def rating(text: str) -> tuple[str, ...]:
    """The numbers of a scale such as 1-5, as options. Raises UsageError for anything else, and for over 100 numbers."""
    match = _SCALE.fullmatch(text.strip())
    low, high = (int(match[1]), int(match[2])) if match else (0, 0)
    if 0 < high - low < 100:
        return tuple(str(number) for number in range(low, high + 1))
    raise UsageError(f"--rate cannot be {text!r}", "give the lowest and the highest number, such as 1-5")


def template(text: str) -> str:
    """A label's template. Raises UsageError where it does not hold {} exactly once."""
    if text.count("{}") == 1:
        return text
    raise UsageError(f"--template must hold {{}} once: {text!r}", "for example: --template 'a photo of {}'")


def stops(texts: Sequence[str]) -> tuple[str, ...]:
    """Stop strings. Raises UsageError for an empty one, which would stop every answer before it begins."""
    if any(not text for text in texts):
        raise UsageError("--stop is empty")
    return tuple(texts)
