"""Figures as people read them."""

from __future__ import annotations

import pytest

from vlmcli.render.terminal import Terminal
from vlmcli.render.words import bar, count, size

PLAIN = Terminal()


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.01, 0.5, 0.999, 1.0])
def test_a_bar_grows_with_its_share(share: float) -> None:
    assert len(bar(share, PLAIN)) <= 20
    assert bool(bar(share, PLAIN)) == (share > 0)
    assert bar(share, Terminal(unicode=False)).isascii()


@pytest.mark.parametrize(
    ("number", "text"), [(None, "-"), (12, "12"), (1_500, "1.5k"), (8_100_000, "8.1M"), (2_200_000_000, "2.2B")]
)
def test_count(number: int | None, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (98_362_432, "98.4 MB"), (15_000_000_000, "15.0 GB")]
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text
