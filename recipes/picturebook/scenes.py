"""Procedural scenes: what is in a picture, and the picture itself.

A scene is described first (`sample_scene`) and drawn afterwards (`draw`), so that every question about it has an
answer that is known exactly, and every object a ground-truth box. All randomness comes from the `random.Random`
that is handed in: the same seed gives the same pixels.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from recipes.picturebook.lettering import Lettering, draw_lettering, sample_lettering

# Several anchors a name, the CSS value among them, so that "blue" is a region of colour space and not a point.
COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((255, 0, 0), (220, 40, 40), (230, 25, 75), (214, 39, 40)),
    "green": ((0, 128, 0), (0, 200, 0), (40, 170, 70), (0, 255, 0), (44, 160, 44)),
    "blue": ((0, 0, 255), (40, 80, 220), (30, 100, 240), (31, 90, 200)),
    "yellow": ((255, 255, 0), (250, 220, 40), (255, 225, 25)),
    "orange": ((255, 165, 0), (255, 128, 0), (245, 130, 48)),
    "purple": ((128, 0, 128), (150, 60, 200), (145, 30, 180), (110, 40, 160)),
    "teal": ((0, 128, 128), (0, 150, 150), (20, 140, 135)),
    "brown": ((139, 69, 19), (150, 75, 0), (120, 72, 40), (165, 42, 42)),
    "gray": ((128, 128, 128), (150, 150, 150), (110, 110, 110)),
    "black": ((0, 0, 0), (20, 20, 20), (30, 30, 30)),
    "white": ((255, 255, 255), (250, 250, 250), (242, 242, 242)),
    "pink": ((255, 192, 203), (255, 105, 180), (250, 150, 190)),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "ring", "crescent", "hexagon")
_TURN_DEG = {
    "square": 7,
    "triangle": 12,
    "heart": 12,
    "cross": 8,
    "diamond": 6,
    "star": 36,
    "crescent": 180,
    "hexagon": 30,
}
_RADII = {0: (0.0, 0.0), 1: (0.12, 0.44), 2: (0.1, 0.24), 3: (0.09, 0.2), 4: (0.08, 0.18)}  # by number of things
_JITTER = 10  # of 255, each channel on its own
# Names that lie next to each other when their shades are jittered: never an object on such a ground.
_TOO_CLOSE = {frozenset(p) for p in (("gray", "teal"), ("brown", "red"), ("black", "brown"), ("white", "pink"))}

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Item:
    """One shape: centre in fractions of the canvas, radius in fractions of its shorter side."""

    shape: str
    colour: str
    rgb: RGB
    x: float
    y: float
    radius: float
    turn_deg: float
    stretch: float = 1.0  # height of a diamond over its width


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is known about a picture."""

    width_px: int
    height_px: int
    background: str
    background_rgb: RGB
    items: tuple[Item, ...]
    lettering: Lettering | None = None
    further: tuple[Lettering, ...] = ()  # more strings, on pages that no question is asked about
    outline: bool = False
    supersample: int = 1
    noise: float = 0.0


def letterings(scene: Scene) -> tuple[Lettering, ...]:
    """Every string of the picture."""
    return (*((scene.lettering,) if scene.lettering else ()), *scene.further)


def contrasts(first: str, second: str) -> bool:
    """True where something of the first colour can be told from a ground of the second."""
    return first != second and frozenset((first, second)) not in _TOO_CLOSE


def shade(rng: random.Random, colour: str) -> RGB:
    """A shade that people would still call by this name."""
    anchor = rng.choice(COLOURS[colour])
    r, g, b = (min(255, max(0, c + rng.randint(-_JITTER, _JITTER))) for c in anchor)
    return r, g, b


def box(scene: Scene, item: Item) -> tuple[float, float, float, float]:
    """Ground-truth box (left, top, right, bottom) in pixels of the drawn picture."""
    xs, ys = zip(*outline_of(scene, item), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def sample_scene(rng: random.Random, kind: str | None = None) -> Scene:
    """One scene of a kind: ``single``, ``few`` (2-4 different things), ``crowd`` (counting), ``text`` or ``empty``.

    And, only by name, ``page`` (many strings) or ``collage`` (many things), which teach an encoder more, and ``pile``
    (things that overlap; the later lie above the earlier).
    """
    kind = kind or rng.choices(("single", "few", "crowd", "text", "empty"), (18, 34, 21, 26, 1))[0]
    width, height = _canvas(rng)
    background = "white" if rng.random() < 0.3 else rng.choice(list(COLOURS))
    scene = Scene(
        width, height, background, shade(rng, background), (),
        outline=rng.random() < 0.12, supersample=rng.choice((1, 2)), noise=rng.choice((0, 0, 0, 0, 4, 8)),
    )  # fmt: skip
    if kind == "text":
        scene = replace(scene, lettering=_lettering(rng, scene))
        return scene if rng.random() < 0.65 else _with_items(rng, scene, _different(rng, scene, rng.randint(1, 2)))
    if kind == "crowd":
        return _with_items(rng, scene, _crowd(rng, scene))
    if kind == "page":
        return _page(rng, scene, rng.randint(3, 7))
    if kind == "collage":
        return _with_items(rng, scene, _different(rng, scene, rng.randint(5, 10)), (0.07, 0.22))
    if kind == "pile":
        return _with_items(rng, scene, _different(rng, scene, rng.randint(2, 6)), (0.1, 0.3), apart=0.6)
    count = {"single": 1, "few": rng.randint(2, 4), "empty": 0}[kind]
    return _with_items(rng, scene, _different(rng, scene, count))


def _canvas(rng: random.Random) -> tuple[int, int]:
    side = rng.choice((128, 160, 192, 224, 256, 320, 384))
    if rng.random() < 0.4:
        return side, side
    aspect = math.exp(rng.uniform(-0.6, 0.6))
    return max(96, round(side * math.sqrt(aspect))), max(96, round(side / math.sqrt(aspect)))


def _lettering(rng: random.Random, scene: Scene) -> Lettering:
    colour = rng.choice([c for c in COLOURS if contrasts(c, scene.background)])
    return sample_lettering(rng, colour, shade(rng, colour), scene.width_px, scene.height_px)


def _page(rng: random.Random, scene: Scene, count: int) -> Scene:
    """Up to ``count`` strings that do not touch, small to middling."""
    placed: list[Lettering] = []
    for _ in range(count * 4):
        if len(placed) == count:
            break
        colour = rng.choice([c for c in COLOURS if contrasts(c, scene.background)])
        tried = sample_lettering(rng, colour, shade(rng, colour), scene.width_px, scene.height_px, (0.07, 0.17))
        if not any(_overlap(tried.box, other.box) for other in placed):
            placed.append(tried)
    return replace(scene, further=tuple(placed))


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _different(rng: random.Random, scene: Scene, count: int) -> list[tuple[str, str]]:
    """(colour, shape) pairs, no two the same; sometimes they share a colour or a shape."""
    colours = [c for c in COLOURS if contrasts(c, scene.background)]
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        pair = (rng.choice(colours), rng.choice(SHAPES))
        if pairs and rng.random() < 0.25:
            pair = (pairs[0][0], pair[1]) if rng.random() < 0.5 else (pair[0], pairs[0][1])
        if pair not in pairs:
            pairs.append(pair)
    return pairs


def _crowd(rng: random.Random, scene: Scene) -> list[tuple[str, str]]:
    """Up to seven things of few kinds, so that counting one kind means leaving out the others."""
    colours = [c for c in COLOURS if contrasts(c, scene.background)]
    kinds = [(rng.choice(colours), rng.choice(SHAPES)) for _ in range(rng.randint(1, 3))]
    if len(kinds) > 1 and rng.random() < 0.5:
        kinds[1] = (kinds[1][0], kinds[0][1]) if rng.random() < 0.6 else (kinds[0][0], kinds[1][1])
    first = rng.randint(1, 6)
    pairs = [kinds[0]] * first
    while len(pairs) < 7 and len(kinds) > 1 and rng.random() < 0.72:
        pairs.append(rng.choice(kinds[1:]))
    rng.shuffle(pairs)
    return pairs


def _with_items(
    rng: random.Random,
    scene: Scene,
    pairs: list[tuple[str, str]],
    radii: tuple[float, float] | None = None,
    apart: float = 1.08,
) -> Scene:
    """Place the pairs; what finds no place in 60 tries is left out of the scene.

    ``apart``: the least distance of two centres over the sum of their radii; below 1 things can overlap.
    """
    shorter = min(scene.width_px, scene.height_px)
    span_x, span_y = scene.width_px / shorter, scene.height_px / shorter
    low, high = radii or _RADII.get(len(pairs), (0.075, 0.125))
    if scene.lettering is not None:
        low, high = 0.08, 0.14
    same_size = len(pairs) > 1 and rng.random() < 0.3
    common = rng.uniform(low, high)
    placed: list[Item] = []
    for colour, shape in pairs:
        for attempt in range(60):
            radius = max(low, (common if same_size else rng.uniform(low, high)) * (1 - attempt / 120))
            x, y = rng.uniform(radius * 1.1, span_x - radius * 1.1), rng.uniform(radius * 1.1, span_y - radius * 1.1)
            if _free(scene, placed, x, y, radius, span_x, span_y, apart):
                placed.append(_item(rng, colour, shape, x / span_x, y / span_y, radius))
                break
    return replace(scene, items=tuple(placed))


def _free(
    scene: Scene, placed: list[Item], x: float, y: float, radius: float, span_x: float, span_y: float, apart: float
) -> bool:
    if any(math.hypot(x - p.x * span_x, y - p.y * span_y) < (radius + p.radius) * apart for p in placed):
        return False
    if scene.lettering is None:
        return True
    left, top, right, bottom = scene.lettering.box
    nearest_x = min(max(x, left * span_x), right * span_x)
    nearest_y = min(max(y, top * span_y), bottom * span_y)
    return math.hypot(x - nearest_x, y - nearest_y) > radius * 1.05


def _item(rng: random.Random, colour: str, shape: str, x: float, y: float, radius: float) -> Item:
    limit = _TURN_DEG.get(shape, 0)
    turn = rng.uniform(-limit, limit) if rng.random() < 0.6 else 0.0
    stretch = rng.uniform(1.0, 1.6) if shape == "diamond" else 1.0
    return Item(shape, colour, shade(rng, colour), x, y, radius, turn, stretch)


def _unit_outline(item: Item) -> list[tuple[float, float]]:
    """Outline in a circle of radius 1 around the origin, y pointing down."""
    turns = [2 * math.pi * i / 40 for i in range(40)]
    if item.shape in ("circle", "ring"):
        return [(math.sin(t), -math.cos(t)) for t in turns]
    if item.shape == "square":
        return [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    if item.shape == "diamond":
        return [(0, -1), (1 / item.stretch, 0), (0, 1), (-1 / item.stretch, 0)]
    if item.shape == "cross":
        a, b = 0.32, 0.95
        return [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    if item.shape == "star":
        radii = (1.0, 0.42)
        return [
            (radii[i % 2] * math.sin(math.pi * i / 5), -radii[i % 2] * math.cos(math.pi * i / 5)) for i in range(10)
        ]
    if item.shape == "heart":
        return [
            (
                math.sin(t) ** 3,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16 - 0.12,
            )
            for t in turns
        ]
    if item.shape == "crescent":
        outer = [(math.cos(t), math.sin(t)) for t in (math.radians(a) for a in range(50, 311, 10))]
        tip_x, tip_y = outer[0]
        inner_radius = math.hypot(tip_x - 0.42, tip_y)
        first = math.degrees(math.atan2(-tip_y, tip_x - 0.42)) % 360
        last = math.degrees(math.atan2(tip_y, tip_x - 0.42)) % 360
        steps = [first + (last - first) * i / 20 for i in range(21)]
        return outer + [
            (0.42 + inner_radius * math.cos(math.radians(a)), inner_radius * math.sin(math.radians(a))) for a in steps
        ]
    corners = {"triangle": 3, "hexagon": 6}[item.shape]
    return [(math.sin(2 * math.pi * i / corners), -math.cos(2 * math.pi * i / corners)) for i in range(corners)]


def outline_of(scene: Scene, item: Item, scale_x: float = 1.0, scale_y: float = 1.0) -> list[tuple[float, float]]:
    """The item's outline in pixels of the canvas, times the two scales."""
    turn = math.radians(item.turn_deg)
    size = item.radius * min(scene.width_px, scene.height_px)
    points = []
    for x, y in _unit_outline(item):
        px = item.x * scene.width_px + size * (x * math.cos(turn) - y * math.sin(turn))
        py = item.y * scene.height_px + size * (x * math.sin(turn) + y * math.cos(turn))
        points.append((px * scale_x, py * scale_y))
    return points


def hole_of(scene: Scene, item: Item, scale_x: float = 1.0, scale_y: float = 1.0) -> list[tuple[float, float]]:
    """The hole of a ring, as an outline."""
    return outline_of(scene, replace(item, radius=item.radius * 0.55), scale_x, scale_y)


def owners(scene: Scene, width_px: int, height_px: int) -> Image.Image:
    """Which item each pixel of a canvas of this size shows: 0 for none, n for the n-th; a ring's hole shows none."""
    image = Image.new("L", (width_px, height_px))
    canvas = ImageDraw.Draw(image)
    scales = (width_px / scene.width_px, height_px / scene.height_px)
    for number, item in enumerate(scene.items, start=1):
        canvas.polygon(outline_of(scene, item, *scales), fill=number)
        if item.shape == "ring":
            canvas.polygon(hole_of(scene, item, *scales), fill=0)
    return image


def draw(scene: Scene, rng: random.Random) -> Image.Image:
    """The picture, RGB, of the scene's own size."""
    k = scene.supersample
    image = Image.new("RGB", (scene.width_px * k, scene.height_px * k), scene.background_rgb)
    canvas = ImageDraw.Draw(image)
    edge = (0, 0, 0) if scene.background != "black" else (255, 255, 255)
    for item in scene.items:
        thickness = max(1, round(item.radius * min(scene.width_px, scene.height_px) * 0.06)) * k if scene.outline else 0
        canvas.polygon(
            outline_of(scene, item, k, k), fill=item.rgb, outline=edge if thickness else None, width=max(1, thickness)
        )
        if item.shape == "ring":
            canvas.polygon(hole_of(scene, item, k, k), fill=scene.background_rgb)
    if k > 1:
        image = image.resize((scene.width_px, scene.height_px), Image.Resampling.BOX)
    for lettering in letterings(scene):
        draw_lettering(image, lettering)
    return _with_noise(image, scene.noise, rng) if scene.noise else image


def _with_noise(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    import numpy as np

    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, strength, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype("uint8"))
