"""An image with boxes, masks and labels on it, readable whatever the image's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from vlmcli.render.escape import one_line
from vlmcli.render.pictures.colours import Colour, colours, ink_on
from vlmcli.render.pictures.masks import mask_image
from vlmcli.types.detect import Box, Detection
from vlmcli.types.segment import Mask

LEAST_SIDE_PX = 480
"""The longer side of an annotated picture: a smaller image is enlarged, or a label would cover it."""

_OPACITY = 0.45
_LABEL_CHARACTERS = 48


@dataclass(frozen=True, slots=True)
class _Pen:
    """What is drawn with on an image: line width and letters grow with it."""

    draw: ImageDraw.ImageDraw
    size: tuple[int, int]
    scale: float

    @property
    def width_px(self) -> int:
        return max(2, round(max(self.size) / 320))

    @property
    def letters_px(self) -> int:
        return max(14, round(max(self.size) / 45))

    def box(self, box: Box, colour: Colour) -> tuple[float, float, float, float]:
        """Draw what lies in the image of a box of the original; return where."""
        x0, y0, x1, y1 = (value * self.scale for value in box)
        right, bottom = self.size[0] - 1, self.size[1] - 1
        left, top = min(max(x0, 0), right), min(max(y0, 0), bottom)
        place = (left, top, min(max(x1 - 1, left), right), min(max(y1 - 1, top), bottom))
        self.draw.rectangle(place, outline=colour, width=self.width_px)
        return place

    def label(self, text: str, place: tuple[float, float, float, float], colour: Colour) -> None:
        """A text on its colour: above the place, or in it where there is no room, never out of the picture."""
        font = ImageFont.load_default(self.letters_px)
        x0, y0, x1, y1 = self.draw.textbbox((0, 0), text, font=font)
        margin = max(2, self.letters_px // 6)
        width, height = x1 - x0 + 2 * margin, y1 - y0 + 2 * margin
        left = max(0, min(place[0], self.size[0] - width))
        top = place[1] - height if place[1] >= height else min(place[1], self.size[1] - height)
        self.draw.rectangle((left, top, left + width - 1, top + height - 1), fill=colour)
        self.draw.text((left + margin - x0, top + margin - y0), text, font=font, fill=ink_on(colour))


def with_boxes(image: Image.Image, found: Sequence[Detection], labels: Sequence[str] = ()) -> Image.Image:
    """An upright RGB image with a box, label and score for each detection, the best on top.

    ``labels``: those that were looked for; a label has one colour in all pictures of a run.
    """
    picture, pen = _canvas(image)
    palette = colours((*labels, *(detection.label for detection in found)))
    places = [(detection, pen.box(detection.box, palette[detection.label])) for detection in reversed(found)]
    for detection, place in places:
        pen.label(_text(detection.label, detection.score), place, palette[detection.label])
    return picture


def with_masks(image: Image.Image, masks: Sequence[Mask]) -> Image.Image:
    """An upright RGB image with the masks in colours, by label where there are any, else each in its own."""
    picture, _ = _canvas(image)
    palette = _palette(masks)
    for number, mask in reversed(list(enumerate(masks))):
        shape = mask_image(mask.rle).resize(picture.size, Image.Resampling.NEAREST)
        veil = shape.point(lambda value: round(value * _OPACITY))
        picture.paste(palette[_name(mask, number)], (0, 0), veil)
    pen = _Pen(ImageDraw.Draw(picture), picture.size, picture.width / image.width)
    for number, mask in reversed(list(enumerate(masks))):
        if mask.label is not None and mask.area:
            colour = palette[_name(mask, number)]
            pen.label(_text(mask.label, mask.score), pen.box(mask.box, colour), colour)
    return picture


def _canvas(image: Image.Image) -> tuple[Image.Image, _Pen]:
    """A copy to draw on, as large as labels need; whole factors keep the pixels of a small image sharp."""
    factor = max(1, -(-LEAST_SIDE_PX // max(image.size)))
    size = (image.width * factor, image.height * factor)
    picture = image.convert("RGB").resize(size, Image.Resampling.NEAREST) if factor > 1 else image.convert("RGB").copy()
    return picture, _Pen(ImageDraw.Draw(picture), size, float(factor))


def _palette(masks: Sequence[Mask]) -> Mapping[str, Colour]:
    return colours(_name(mask, number) for number, mask in enumerate(masks))


def _name(mask: Mask, number: int) -> str:
    return str(number) if mask.label is None else mask.label


def _text(label: str, score: float | None) -> str:
    short = one_line(label)
    short = short if len(short) <= _LABEL_CHARACTERS else short[: _LABEL_CHARACTERS - 1] + "…"
    return short if score is None else f"{short} {score:.2f}"
