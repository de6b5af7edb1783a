"""What each kind of question needs of a scene: the words for its slots, and the answer."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from recipes.picturebook.lettering import sample_text
from recipes.picturebook.scenes import COLOURS, SHAPES, Item, Scene, letterings

MAX_COUNT = 6
_APART = 0.12  # of the canvas: closer than that, nobody can say what is left of what
_NEAR_EDGE = 0.04  # of the canvas, to a line between its ninths
_CLEARLY_BIGGER = 1.3
_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six")
_NOUNS = ("object", "object", "shape", "shape", "thing", "item", "figure")
_NAME = re.compile(rf"(?:\b({'|'.join((*COLOURS, 'grey'))}) )?\b({'|'.join((*SHAPES, *dict.fromkeys(_NOUNS)))})\b")
_RELATIONS = {
    "left": ("left of", "to the left of", "on the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right of", "on the right side of"),
    "above": ("above", "above", "over", "higher than", "on top of"),
    "below": ("below", "below", "under", "lower than", "beneath", "underneath"),
}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_BIG = ("biggest", "largest")
_SMALL = ("smallest", "smallest", "littlest", "tiniest")

Filled = tuple[dict[str, str], str, Item | None]
"""Slots for the template, the answer, the item asked about."""


def description(scene: Scene) -> str:
    """One sentence: the kinds of things from left to right, the lettering, the background."""
    kinds: dict[tuple[str, str], int] = {}
    for item in sorted(scene.items, key=lambda i: i.x):
        kinds[item.colour, item.shape] = kinds.get((item.colour, item.shape), 0) + 1
    parts = [counted(number, f"{colour} {shape}") for (colour, shape), number in kinds.items()]
    if scene.lettering is not None:
        noun = "number" if scene.lettering.is_number else "word"
        parts.append(f'the {noun} "{scene.lettering.text}" in {scene.lettering.colour}')
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)
    return f"{listed or 'nothing'} on {with_article(scene.background)} background."


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def counted(number: int, noun: str) -> str:
    return (
        with_article(noun)
        if number == 1
        else f"{_NUMBER_WORDS[number] if number <= MAX_COUNT else number} {plural(noun)}"
    )


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _asked(rng: random.Random, colour: str) -> str:
    """A colour as a question spells it."""
    return "grey" if colour == "gray" and rng.random() < 0.35 else colour


def _noun(rng: random.Random, item: Item, shape: bool = True, colour: bool = True) -> str:
    return f"{_asked(rng, item.colour) + ' ' if colour else ''}{item.shape if shape else rng.choice(_NOUNS)}"


def _reference(rng: random.Random, scene: Scene, item: Item, colour: bool = True, shape: bool = True) -> str | None:
    """Words that mean this item and no other of the scene, from what may be named; None if there are none."""
    same_shape = sum(i.shape == item.shape for i in scene.items)
    same_colour = sum(i.colour == item.colour for i in scene.items)
    same_both = sum((i.shape, i.colour) == (item.shape, item.colour) for i in scene.items)
    ways = (
        [(True, False)] * (2 * (same_shape == 1))
        + [(False, True)] * (same_colour == 1)
        + [(True, True)] * (2 * (same_both == 1))
    )
    ways = [w for w in ways if (not w[0] or shape) and (not w[1] or colour)]
    if not ways and len(scene.items) == 1 and scene.lettering is None:
        ways = [(False, False)]
    if not ways:
        return None
    with_shape, with_colour = rng.choice(ways)
    return "the " + _noun(rng, item, with_shape, with_colour)


def mentions(question: str, scene: Scene) -> list[tuple[int, Item]]:
    """Where a question has named an item that is the only one of its name: the end of the name, and the item."""
    found = []
    for match in _NAME.finditer(question.lower()):
        colour, noun = (match[1] or "").replace("grey", "gray"), match[2]
        alike = [i for i in scene.items if colour in ("", i.colour) and (noun in _NOUNS or noun == i.shape)]
        if len(alike) == 1 and (colour or noun in SHAPES):
            found.append((match.end(), alike[0]))
    return found


def _referable(rng: random.Random, scene: Scene, **what: bool) -> tuple[Item, str] | None:
    for item in rng.sample(scene.items, len(scene.items)):
        reference = _reference(rng, scene, item, **what)
        if reference:
            return item, reference
    return None


def _colour(rng: random.Random, scene: Scene) -> Filled | None:
    if scene.lettering is not None and rng.random() < 0.7:
        noun = "number" if scene.lettering.is_number else "word"
        return {"the": "the " + rng.choice((noun, noun, "text", "writing", "lettering"))}, scene.lettering.colour, None
    if len({i.colour for i in scene.items}) == 1 and len(scene.items) > 1 and rng.random() < 0.3:
        return None
    found = _referable(rng, scene, colour=False)
    return ({"the": found[1]}, found[0].colour, found[0]) if found else None


def _shape(rng: random.Random, scene: Scene) -> Filled | None:
    found = _referable(rng, scene, shape=False)
    return ({"the": found[1]}, found[0].shape, found[0]) if found else None


def _what_is_it(rng: random.Random, scene: Scene) -> Filled | None:
    return ({}, scene.items[0].shape, scene.items[0]) if len(scene.items) == 1 and not scene.lettering else None


def _background(rng: random.Random, scene: Scene) -> Filled | None:
    return {}, scene.background, None


def _kinds(rng: random.Random, scene: Scene) -> tuple[str, Callable[[Item], bool]]:
    """A noun for a kind of thing, mostly one that is there, and whether an item is of that kind."""
    present = rng.choice(scene.items) if scene.items and rng.random() < 0.8 else None
    other = rng.choice(scene.items) if scene.items and rng.random() < 0.5 else None
    colour = (
        present.colour if present else (other.colour if other and rng.random() < 0.5 else rng.choice(list(COLOURS)))
    )
    shape = present.shape if present else (other.shape if other and rng.random() < 0.5 else rng.choice(SHAPES))
    way = rng.random()
    if way < 0.4:
        return f"{_asked(rng, colour)} {shape}", lambda i: i.colour == colour and i.shape == shape
    if way < 0.75:
        return shape, lambda i: i.shape == shape
    return f"{_asked(rng, colour)} {rng.choice(_NOUNS)}", lambda i: i.colour == colour


def _count(rng: random.Random, scene: Scene) -> Filled | None:
    if rng.random() < 0.2:
        noun, belongs = rng.choice(_NOUNS), lambda i: True
    else:
        noun, belongs = _kinds(rng, scene)
    number = sum(belongs(i) for i in scene.items)
    if number > MAX_COUNT or (number < 2 and rng.random() < 0.6):
        return None
    return {"things": plural(noun)}, str(number), None


def _existence(rng: random.Random, scene: Scene) -> tuple[dict[str, str], bool]:
    """Half of the time something is there; a foil shares a colour or a shape with what is."""
    wanted = rng.random() < 0.5
    for _ in range(20):
        noun, belongs = _kinds(rng, scene)
        if not wanted and scene.items and rng.random() < 0.6:
            noun, belongs = _foil(rng, rng.choice(scene.items))
        there = any(belongs(i) for i in scene.items)
        if there == wanted:
            break
    return {"thing": noun, "things": plural(noun), "a": with_article(noun)}, there


def _foil(rng: random.Random, item: Item) -> tuple[str, Callable[[Item], bool]]:
    colour, shape = item.colour, item.shape
    if rng.random() < 0.5:
        colour = rng.choice(list(COLOURS))
    else:
        shape = rng.choice(SHAPES)
    return f"{_asked(rng, colour)} {shape}", lambda i: i.colour == colour and i.shape == shape


def _exists(rng: random.Random, scene: Scene) -> Filled | None:
    slots, there = _existence(rng, scene)
    return slots, _yes(there), None


def _absent(rng: random.Random, scene: Scene) -> Filled | None:
    slots, there = _existence(rng, scene)
    return slots, _yes(not there), None


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _is_colour(rng: random.Random, scene: Scene) -> Filled | None:
    if rng.random() < 0.3:
        subject, truth, item = "the background", scene.background, None
    else:
        found = _referable(rng, scene, colour=False)
        if not found:
            return None
        subject, truth, item = found[1], found[0].colour, found[0]
    near = [i.colour for i in scene.items if i.colour != truth] + [scene.background]
    guess = truth if rng.random() < 0.5 else rng.choice(near if rng.random() < 0.5 else list(COLOURS))
    return {"the": subject, "colour": _asked(rng, guess)}, _yes(guess == truth), item


def _is_shape(rng: random.Random, scene: Scene) -> Filled | None:
    found = _referable(rng, scene, shape=False)
    if not found:
        return None
    item, reference = found
    guess = item.shape if rng.random() < 0.5 else rng.choice(SHAPES)
    return {"the": reference, "a_shape": with_article(guess)}, _yes(guess == item.shape), item


def _count_is(rng: random.Random, scene: Scene) -> Filled | None:
    noun, belongs = _kinds(rng, scene)
    number = sum(belongs(i) for i in scene.items)
    guess = number if rng.random() < 0.5 else number + rng.choice((-2, -1, 1, 2))
    if not 2 <= guess <= MAX_COUNT:
        return None
    shown = rng.choice((str(guess), _NUMBER_WORDS[guess]))
    return {"things": plural(noun), "number": shown}, _yes(guess == number), None


def _more(rng: random.Random, scene: Scene) -> Filled | None:
    if len(scene.items) < 3:
        return None
    first, belongs = _kinds(rng, scene)
    second, also = _kinds(rng, scene)
    a, b = sum(belongs(i) for i in scene.items), sum(also(i) for i in scene.items)
    if first == second or a == b or any(belongs(i) and also(i) for i in scene.items):
        return None
    return {"things": plural(first), "others": plural(second)}, _yes(a > b), None


def _pair(rng: random.Random, scene: Scene) -> tuple[Item, str, Item, str] | None:
    """Two items that can be named, in random order."""
    if len(scene.items) < 2:
        return None
    first, second = rng.sample(scene.items, 2)
    a, b = _reference(rng, scene, first), _reference(rng, scene, second)
    return (first, a, second, b) if a and b else None


def _is_relation(rng: random.Random, scene: Scene) -> Filled | None:
    pair = _pair(rng, scene)
    if not pair:
        return None
    first, a, second, b = pair
    sides = _sides(first, second)
    if not sides:
        return None
    side = rng.choice(sides)
    asked = side if rng.random() < 0.5 else _OPPOSITE[side]
    return {"the": a, "other": b, "relation": rng.choice(_RELATIONS[asked])}, _yes(asked == side), first


def _sides(first: Item, second: Item) -> list[str]:
    """Where the first lies as seen from the second, as far as that is clear."""
    dx, dy = first.x - second.x, first.y - second.y
    sides = ["left" if dx < 0 else "right"] if abs(dx) > _APART else []
    return sides + (["above" if dy < 0 else "below"] if abs(dy) > _APART else [])


def _where(rng: random.Random, scene: Scene) -> Filled | None:
    """In which ninth of the picture something lies; None where it lies near the edge of one."""
    found = _referable(rng, scene)
    if not found:
        return None
    item, reference = found
    if min(abs(v - edge) for v in (item.x, item.y) for edge in (1 / 3, 2 / 3)) < _NEAR_EDGE:
        return None
    row, column = ("top", "", "bottom")[int(item.y * 3)], ("left", "", "right")[int(item.x * 3)]
    return {"the": reference}, f"{row} {column}".strip() or "center", item


def _side(axis: tuple[str, str]) -> Callable[[random.Random, Scene], Filled | None]:
    def fill(rng: random.Random, scene: Scene) -> Filled | None:
        pair = _pair(rng, scene)
        side = [s for s in _sides(pair[0], pair[2]) if s in axis] if pair else []
        return ({"the": pair[1], "other": pair[3]}, side[0], pair[0]) if pair and side else None

    return fill


def _neighbour(rng: random.Random, scene: Scene) -> tuple[Item, dict[str, str]] | None:
    """The only item on one side of another, and the words for that side."""
    if len(scene.items) < 2:
        return None
    anchor = rng.choice(scene.items)
    reference = _reference(rng, scene, anchor)
    side = rng.choice(list(_RELATIONS))
    others = [i for i in scene.items if i is not anchor]
    there = [i for i in others if side in _sides(i, anchor)]
    unclear = [i for i in others if i not in there and _OPPOSITE[side] not in _sides(i, anchor)]
    if reference is None or len(there) != 1 or unclear:
        return None
    return there[0], {"relation": rng.choice(_RELATIONS[side]), "other": reference}


def _at(answer: Callable[[Item], str]) -> Callable[[random.Random, Scene], Filled | None]:
    def fill(rng: random.Random, scene: Scene) -> Filled | None:
        found = _neighbour(rng, scene)
        return (found[1], answer(found[0]), found[0]) if found else None

    return fill


def _full(item: Item) -> str:
    return f"{item.colour} {item.shape}"


_ENDS = {
    "left": ("left", ("leftmost", "further left", "on the left")),
    "right": ("right", ("rightmost", "further right", "on the right")),
    "above": ("top", ("higher", "higher up", "nearer the top", "on top")),
    "below": ("bottom", ("lower", "lower down", "nearer the bottom")),
}


def _which_further(rng: random.Random, scene: Scene) -> Filled | None:
    pair = _pair(rng, scene)
    sides = _sides(pair[0], pair[2]) if pair else []
    if not pair or not sides:
        return None
    first, a, second, b = pair
    side = rng.choice(sides)
    asked = side if rng.random() < 0.5 else _OPPOSITE[side]
    noun, ends = _ENDS[asked]
    winner, words = (first, a) if asked == side else (second, b)
    return {"the": a, "other": b, "side": noun, "end": rng.choice(ends)}, _without_article(words), winner


def _without_article(reference: str) -> str:
    return reference.removeprefix("the ").replace("grey", "gray")


def _extreme(rng: random.Random, scene: Scene) -> tuple[Item, str] | None:
    if len(scene.items) < 2:
        return None
    by_size = sorted(scene.items, key=lambda i: i.radius)
    if rng.random() < 0.5:
        return (by_size[-1], rng.choice(_BIG)) if by_size[-1].radius > _CLEARLY_BIGGER * by_size[-2].radius else None
    return (by_size[0], rng.choice(_SMALL)) if by_size[1].radius > _CLEARLY_BIGGER * by_size[0].radius else None


def _superlative(answer: Callable[[Item], str]) -> Callable[[random.Random, Scene], Filled | None]:
    def fill(rng: random.Random, scene: Scene) -> Filled | None:
        found = _extreme(rng, scene)
        return ({"most": found[1]}, answer(found[0]), found[0]) if found else None

    return fill


def _compared(rng: random.Random, scene: Scene) -> tuple[tuple[Item, str, Item, str], bool, str] | None:
    pair = _pair(rng, scene)
    if not pair or max(pair[0].radius, pair[2].radius) < _CLEARLY_BIGGER * min(pair[0].radius, pair[2].radius):
        return None
    bigger = rng.random() < 0.5
    truth = (pair[0].radius > pair[2].radius) == bigger
    return pair, truth, rng.choice(("bigger", "larger") if bigger else ("smaller", "smaller", "tinier"))


def _is_bigger(rng: random.Random, scene: Scene) -> Filled | None:
    found = _compared(rng, scene)
    if not found:
        return None
    (first, a, _, b), truth, comparison = found
    return {"the": a, "other": b, "comparison": comparison}, _yes(truth), first


def _which_bigger(rng: random.Random, scene: Scene) -> Filled | None:
    found = _compared(rng, scene)
    if not found:
        return None
    (first, a, second, b), truth, comparison = found
    words, item = (a, first) if truth else (b, second)
    return {"the": a, "other": b, "comparison": comparison}, _without_article(words), item


def _letters(rng: random.Random, scene: Scene) -> str:
    noun = "number" if scene.lettering and scene.lettering.is_number else "word"
    return rng.choice((noun, noun, "text"))


def _read(rng: random.Random, scene: Scene) -> Filled | None:
    return ({"letters": _letters(rng, scene)}, scene.lettering.text, None) if scene.lettering else None


def _read_colour(rng: random.Random, scene: Scene) -> Filled | None:
    strings = letterings(scene)
    colours = [string.colour for string in strings]
    alone = [string for string in strings if colours.count(string.colour) == 1]
    if len(strings) < 2 or not alone:
        return None
    chosen = rng.choice(alone)
    noun = rng.choice(("number" if chosen.is_number else "word", "text"))
    return {"letters": noun, "colour": _asked(rng, chosen.colour)}, chosen.text, None


def _says(rng: random.Random, scene: Scene) -> Filled | None:
    if not scene.lettering:
        return None
    guess = scene.lettering.text if rng.random() < 0.5 else sample_text(rng)
    return {"letters": _letters(rng, scene), "guess": guess}, _yes(guess == scene.lettering.text), None


def _has_text(rng: random.Random, scene: Scene) -> Filled | None:
    return {}, _yes(bool(letterings(scene))), None


def _describe(rng: random.Random, scene: Scene) -> Filled | None:
    return {}, description(scene), None


SKILLS: dict[str, Callable[[random.Random, Scene], Filled | None]] = {
    "colour": _colour, "shape": _shape, "what_is_it": _what_is_it, "background": _background,
    "count": _count, "exists": _exists, "absent": _absent, "is_colour": _is_colour, "is_shape": _is_shape,
    "count_is": _count_is, "more": _more, "is_relation": _is_relation,
    "where": _where, "side_x": _side(("left", "right")), "side_y": _side(("above", "below")),
    "what_at": _at(_full), "shape_at": _at(lambda i: i.shape), "colour_at": _at(lambda i: i.colour),
    "which_further": _which_further, "superlative": _superlative(_full),
    "superlative_colour": _superlative(lambda i: i.colour), "superlative_shape": _superlative(lambda i: i.shape),
    "is_bigger": _is_bigger, "which_bigger": _which_bigger,
    "read": _read, "read_colour": _read_colour, "says": _says, "has_text": _has_text, "describe": _describe,
}  # fmt: skip
