"""Printed words and numbers of one to five characters, in whatever fonts are installed."""

from __future__ import annotations

import functools
import random
import string
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

# Pillow's own font is always there; the others come from the packages that the README names.
_FONT_FILES = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf", "DejaVuSansCondensed.ttf", "LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf",
    "LiberationSerif-Regular.ttf", "LiberationSerif-Bold.ttf", "LiberationMono-Bold.ttf", "FreeSans.ttf",
    "FreeSansBold.ttf", "FreeSerifBold.ttf", "FreeMonoBold.ttf", "OpenSans-Regular.ttf", "OpenSans-Bold.ttf",
    "Roboto-Regular.ttf", "Roboto-Bold.ttf", "Lato-Regular.ttf", "Lato-Bold.ttf",
)  # fmt: skip
_FONT_FOLDERS = ("/usr/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")
CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
WORDS = tuple(Path(__file__).with_name("words.txt").read_text(encoding="utf-8").split())


@dataclass(frozen=True, slots=True)
class Lettering:
    """A printed string: box in fractions of the canvas, font, and where each character stands (fractions too)."""

    text: str
    colour: str
    rgb: tuple[int, int, int]
    box: tuple[float, float, float, float]
    character_boxes: tuple[tuple[float, float, float, float], ...]
    font: str
    size_px: int
    origin_px: tuple[float, float]

    @property
    def is_number(self) -> bool:
        return self.text.isdigit()


@functools.lru_cache(maxsize=1)
def font_names() -> tuple[str, ...]:
    """The fonts of the list that are installed, as paths; the empty name is Pillow's own."""
    found = {p.name: str(p) for folder in _FONT_FOLDERS if Path(folder).is_dir() for p in Path(folder).rglob("*.ttf")}
    return ("", *(found[name] for name in _FONT_FILES if name in found))


@functools.lru_cache(maxsize=4096)
def _font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(name, size_px) if name else ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def sample_text(rng: random.Random) -> str:
    """A number (a third), a common word, or letters at random, of one to five characters."""
    if rng.random() < 0.33:
        length = rng.choices((1, 2, 3, 4, 5), (2, 3, 3, 3, 3))[0]
        return "".join(rng.choice(string.digits) for _ in range(length))
    word = rng.choice(WORDS) if rng.random() < 0.55 else _random_letters(rng)
    return rng.choices((word.upper(), word.lower(), word.capitalize()), (55, 28, 17))[0]


def _random_letters(rng: random.Random) -> str:
    length = rng.choices((1, 2, 3, 4, 5), (2, 2, 4, 4, 4))[0]
    # A lone I or O could be a digit or a stroke; in company the neighbours tell.
    letters = string.ascii_lowercase if length > 1 else "abcdefghjkmnpqrstuvwxyz"
    return "".join(rng.choice(letters) for _ in range(length))


def sample_lettering(
    rng: random.Random,
    colour: str,
    rgb: tuple[int, int, int],
    width_px: int,
    height_px: int,
    character_share: tuple[float, float] = (0.1, 0.22),
) -> Lettering:
    """A string placed at random; a character's width is a share of the canvas's, between the two given."""
    text, name = sample_text(rng), rng.choice(font_names())
    wanted_px = min(0.92, rng.uniform(*character_share) * len(text)) * width_px
    probe = _font(name, 64)
    size_px = max(8, round(64 * wanted_px / max(1.0, probe.getlength(text))))
    size_px = min(size_px, round(0.75 * height_px))
    centred = rng.random() < 0.4
    corner = (0.5, 0.5) if centred else (rng.uniform(0.04, 0.96), rng.uniform(0.04, 0.96))
    return lettering_at(text, colour, rgb, size_px, width_px, height_px, name, corner)


def lettering_at(
    text: str,
    colour: str,
    rgb: tuple[int, int, int],
    size_px: int,
    width_px: int,
    height_px: int,
    font_name: str = "",
    corner: tuple[float, float] = (0.5, 0.5),
) -> Lettering:
    """This string on a canvas of that size; ``corner`` says where in the room that is left, 0.5 is the middle."""
    font = _font(font_name, size_px)
    left, top, right, bottom = font.getbbox(text)
    x = corner[0] * max(0.0, width_px - (right - left))
    y = corner[1] * max(0.0, height_px - (bottom - top))
    origin = (round(x - left), round(y - top))
    boxes = _character_boxes(font, text, origin, width_px, height_px)
    outer = (boxes[0][0], min(b[1] for b in boxes), boxes[-1][2], max(b[3] for b in boxes))
    return Lettering(text, colour, rgb, outer, boxes, font_name, size_px, origin)


def _character_boxes(
    font: ImageFont.FreeTypeFont, text: str, origin: tuple[float, float], width_px: int, height_px: int
) -> tuple[tuple[float, float, float, float], ...]:
    boxes = []
    for i, character in enumerate(text):
        start = origin[0] + font.getlength(text[:i])
        left, top, right, bottom = font.getbbox(character)
        boxes.append(
            (
                (start + left) / width_px,
                (origin[1] + top) / height_px,
                (start + right) / width_px,
                (origin[1] + bottom) / height_px,
            )
        )
    return tuple(boxes)


def draw_lettering(image: Image.Image, lettering: Lettering) -> None:
    """Draw onto the image, in place; the font's own antialiasing."""
    font = _font(lettering.font, lettering.size_px)
    ImageDraw.Draw(image).text(lettering.origin_px, lettering.text, fill=lettering.rgb, font=font)
