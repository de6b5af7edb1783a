"""Colour only where it is wanted."""

from __future__ import annotations

import io

import pytest

from tests.render.values import Tty
from vlmcli.render.terminal import Terminal


@pytest.mark.parametrize(
    ("stream", "environment", "colour"),
    [
        (Tty(), {"TERM": "xterm"}, True),
        (Tty(), {"TERM": "dumb"}, False),
        (Tty(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Tty(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "0"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour(stream: io.StringIO, environment: dict[str, str], colour: bool) -> None:
    assert Terminal.of(stream, environment).colour is colour


def test_style_without_colour_is_the_text_itself() -> None:
    plain = Terminal(colour=False)
    assert (plain.bold("a"), plain.dim("a"), plain.red("a")) == ("a", "a", "a")


def test_unicode_follows_the_encoding() -> None:
    assert Terminal.of(io.TextIOWrapper(io.BytesIO(), "utf-8"), {}).unicode
    assert not Terminal.of(io.TextIOWrapper(io.BytesIO(), "ascii"), {}).unicode
