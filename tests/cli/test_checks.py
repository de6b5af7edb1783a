"""Values of options: the good pass unchanged, the bad are usage errors."""

from __future__ import annotations

import math

import pytest
import typer

from vlmcli.cli import checks
from vlmcli.errors import UsageError


@pytest.mark.parametrize("value", [0.1, 0.5, 1.0, None])
def test_within_passes(value: float | None) -> None:
    assert checks.within(0.0, 1.0, above=True)(value) == value


@pytest.mark.parametrize("value", [0.0, -1.0, 1.1, math.nan, math.inf])
def test_within_refuses(value: float) -> None:
    with pytest.raises(typer.BadParameter, match="greater than 0 and at most 1"):
        checks.within(0.0, 1.0, above=True)(value)


@pytest.mark.parametrize(
    ("text", "number"), [("64M", 64_000_000), ("64000000", 64_000_000), ("0.5g", 500_000_000), ("1e6", 10**6)]
)
def test_pixels(text: str, number: int) -> None:
    assert checks.pixels(text) == number


@pytest.mark.parametrize(("text", "options"), [("1-3", ("1", "2", "3")), (" 9-10 ", ("9", "10"))])
def test_ratings(text: str, options: tuple[str, ...]) -> None:
    assert checks.rating(text) == options


@pytest.mark.parametrize(("text", "size"), [("640x480", (640, 480)), (" 1X1 ", (1, 1))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert checks.size(text) == size


@pytest.mark.parametrize(
    ("check", "text"),
    [
        *((checks.pixels, text) for text in ("", "0", "-5", "64X", "M", "nan", "1e", "0.1", "1e999")),
        *((checks.size, text) for text in ("", "640", "640x", "0x10", "-1x5", "640x480x3", "1e3x5", "1234567x1")),
        *((checks.device, text) for text in ("gpu", "cuda:", "cuda:x", "CPU ", "cuda:1\n")),
        *((checks.dtype, text) for text in ("fp16", "int8", "")),
        *((checks.position, text) for text in ("first", "1.5", "")),
        *((checks.template, text) for text in ("a photo", "{} and {}", "{")),
    ],
)
def test_refused(check: object, text: str) -> None:
    assert callable(check)
    with pytest.raises(UsageError):
        check(text)


@pytest.mark.parametrize("text", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:13"])
def test_devices(text: str) -> None:
    assert checks.device(text) == text


@pytest.mark.parametrize(("text", "value"), [("last", "last"), ("all", "all"), ("3", 3), ("-1", -1)])
def test_positions(text: str, value: object) -> None:
    assert checks.position(text) == value


def test_threads_and_stops() -> None:
    assert checks.threads(None) is None
    assert checks.threads(2) == 2
    assert checks.stops(["a", "\n"]) == ("a", "\n")
    with pytest.raises(UsageError):
        checks.threads(0)
    with pytest.raises(UsageError):
        checks.stops(["a", ""])
