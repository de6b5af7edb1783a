"""A colour for each label: as far from the others as colours can be, the same wherever the label stands."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping

Colour = tuple[int, int, int]

# Okabe and Ito's eight for all kinds of colour vision (2008), without black.
_FIRST: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_GOLDEN = 0.618034
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


def colours(labels: Iterable[str]) -> Mapping[str, Colour]:
    """Labels, in the order in which they are met -> their colours."""
    return {label: _colour(number) for number, label in enumerate(dict.fromkeys(labels))}


def _colour(number: int) -> Colour:
    if number < len(_FIRST):
        return _FIRST[number]
    # Steps of the golden section never come back to a hue that was there.
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(paper: Colour) -> Colour:
    """Black or white, whichever has the better contrast (relative luminance, WCAG 2.2)."""
    linear = [c / 3294 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in paper]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else WHITE
