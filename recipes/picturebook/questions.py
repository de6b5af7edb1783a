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
    "is_shape": 4, "count_is": 5, "more": 5, "is_relation": 18, "side_x": 10, "side_y": 6, "what_at": 14,
    "shape_at": 10, "colour_at": 10, "which_further": 8, "superlative": 9, "superlative_colour": 9,
    "superlative_shape": 9, "is_bigger": 12, "which_bigger": 8, "where": 6, "has_text": 1, "describe": 3,
}  # fmt: skip
_TEXT_WEIGHTS = {
    "read": 30, "colour": 8, "background": 4, "shape": 2, "exists": 3, "absent": 1, "count": 2, "says": 2,
    "has_text": 2, "describe": 4,
}  # fmt: skip
_PAGE_WEIGHTS = {"read_colour": 12, "background": 1, "exists": 1, "count": 1, "has_text": 1}


@dataclass(frozen=True, slots=True)
class Course:
    """A few skills practised on their own: kinds of scenes and skills, each with its weight."""

    scenes: dict[str, int]
    skills: dict[str, int]


COURSES = {
    "lookups": Course(
        {"few": 6, "text": 2, "page": 2},
        {
            "colour": 8, "shape": 8, "is_colour": 3, "is_shape": 3, "exists": 4, "read": 6, "read_colour": 4,
            "background": 1,
        },
    ),
    "relations": Course(
        {"few": 1},
        {
            "where": 12, "side_x": 8, "side_y": 8, "which_further": 8, "is_relation": 12, "what_at": 8, "shape_at": 6,
            "colour_at": 6, "superlative": 5, "superlative_colour": 5, "superlative_shape": 5, "is_bigger": 8,
            "which_bigger": 8, "colour": 2, "shape": 2,
        },
    ),
    "counting": Course(
        {"crowd": 8, "few": 2},
        {
            "count": 14, "count_is": 6, "more": 6, "exists": 3, "where": 2, "superlative": 2, "is_relation": 3,
            "what_at": 3,
        },
    ),
    "comparisons": Course(
        {"few": 8, "crowd": 2},
        {
            "is_relation": 16, "side_x": 10, "side_y": 4, "which_further": 8, "is_bigger": 12, "which_bigger": 4,
            "more": 6, "count_is": 4, "count": 6,
        },
    ),
    "finish": Course(
        {"crowd": 5, "few": 3, "text": 2, "single": 1},
        {
            "count": 44, "count_is": 24, "more": 16, "is_bigger": 10, "is_relation": 8, "side_x": 6, "side_y": 3,
            "what_at": 8, "shape_at": 5, "colour_at": 3, "which_further": 6, "superlative": 5, "superlative_colour": 8,
            "superlative_shape": 10, "which_bigger": 6, "colour": 3, "shape": 4, "exists": 6, "absent": 3,
            "is_colour": 4, "is_shape": 4, "read": 20, "has_text": 8, "where": 3, "background": 1, "describe": 2,
            "what_is_it": 1,
        },
    ),
}  # fmt: skip
"""What is learned alone before it is mixed with everything else: mixed from the start, it is hardly learned at all.

The last course holds every skill: one that it left out (``has_text``, say) was forgotten within a thousand steps.
"""


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


def sample_turns(rng: random.Random, scene: Scene, count: int, course: str | None = None) -> list[Turn]:
    """Several questions about one scene, harder skills more often; with ``course`` only what it practises."""
    turns: list[Turn] = []
    for _ in range(count * 4):
        if len(turns) == count:
            break
        weights = COURSES[course].skills if course else _weights(scene)
        skill = rng.choices(list(weights), list(weights.values()))[0]
        turn = ask(rng, scene, skill)
        if turn is not None:
            turns.append(turn)
    return turns


def _weights(scene: Scene) -> dict[str, int]:
    if scene.further:
        return _PAGE_WEIGHTS
    return _TEXT_WEIGHTS if scene.lettering is not None else _WEIGHTS
