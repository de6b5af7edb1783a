"""Questions about a scene, with answers that follow from its description alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from recipes.picturebook.phrasing import HELD_OUT, phrase
from recipes.picturebook.scenes import Item, Scene
from recipes.picturebook.skills import SKILLS

READING = ("read", "read_colour")
"""Skills whose answers stand in the picture, character by character."""

GROUPS = {
    "colour, shape, background": ("colour", "shape", "what_is_it", "background"),
    "count, yes/no": ("count", "exists", "absent", "is_colour", "is_shape", "count_is", "more", "has_text"),
    "relations, size": (
        "is_relation", "side_x", "side_y", "what_at", "shape_at", "colour_at", "which_further",
        "superlative", "superlative_colour", "superlative_shape", "is_bigger", "which_bigger",
    ),
    "printed words and numbers": ("read",),
}  # fmt: skip

_WEIGHTS = {
    "colour": 8, "shape": 9, "what_is_it": 4, "background": 4, "count": 14, "exists": 8, "absent": 4, "is_colour": 4,
    "is_shape": 4, "count_is": 4, "more": 3, "is_relation": 14, "side_x": 5, "side_y": 5, "what_at": 14, "shape_at": 10,
    "colour_at": 10, "which_further": 8, "superlative": 9, "superlative_colour": 9, "superlative_shape": 9,
    "is_bigger": 9, "which_bigger": 6, "has_text": 1, "describe": 3,
}  # fmt: skip
_TEXT_WEIGHTS = {
    "read": 30, "colour": 8, "background": 4, "shape": 2, "exists": 3, "absent": 1, "count": 2, "says": 2,
    "has_text": 2, "describe": 4,
}  # fmt: skip
_PAGE_WEIGHTS = {"read_colour": 12, "background": 1, "exists": 1, "count": 1, "has_text": 1}
_LOOKUPS = {
    "colour": 8, "shape": 8, "is_colour": 3, "is_shape": 3, "exists": 4, "read": 6, "read_colour": 4, "background": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, the one right answer, and the item it is about (None where it is about none or several)."""

    skill: str
    question: str
    answer: str
    about: Item | None = None


def ask(rng: random.Random, scene: Scene, skill: str, held_out: bool = False) -> Turn | None:
    """A question of this skill about this scene; None where the scene has no such question."""
    if held_out and skill not in HELD_OUT:
        return None
    filled = SKILLS[skill](rng, scene)
    if filled is None:
        return None
    slots, answer, about = filled
    return Turn(skill, phrase(rng, skill, slots, held_out), answer, about)


def sample_turns(rng: random.Random, scene: Scene, count: int, lookups: bool = False) -> list[Turn]:
    """Several questions about one scene, harder skills more often; with ``lookups`` those that need one thing alone."""
    turns: list[Turn] = []
    for _ in range(count * 4):
        if len(turns) == count:
            break
        weights = _LOOKUPS if lookups else _weights(scene)
        skill = rng.choices(list(weights), list(weights.values()))[0]
        turn = ask(rng, scene, skill)
        if turn is not None:
            turns.append(turn)
    return turns


def _weights(scene: Scene) -> dict[str, int]:
    if scene.further:
        return _PAGE_WEIGHTS
    return _TEXT_WEIGHTS if scene.lettering is not None else _WEIGHTS
