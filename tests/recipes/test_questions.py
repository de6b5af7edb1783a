"""Questions have one answer, and it is the right one."""

from __future__ import annotations

import random
import re

import pytest

from recipes.picturebook.captions import Claim, sample_claim
from recipes.picturebook.phrasing import HELD_OUT, TRAIN, phrase
from recipes.picturebook.questions import COURSES, GROUPS, READING, ask, sample_turns
from recipes.picturebook.scenes import COLOURS, SHAPES, Scene, sample_scene
from recipes.picturebook.skills import SKILLS, description, mentions
from tests.recipes.test_scenes import item, scene_with

TWO = scene_with(item("circle", "red", x=0.2, radius=0.3), item("star", "blue", x=0.8, radius=0.15))


def answers(skill: str, scene: Scene, tries: int = 60) -> set[tuple[str, str]]:
    """(question, answer) pairs that the skill makes of a scene."""
    turns = (ask(random.Random(seed), scene, skill) for seed in range(tries))
    return {(turn.question, turn.answer) for turn in turns if turn is not None}


@pytest.mark.parametrize("skill", sorted(SKILLS))
def test_every_skill_finds_questions(skill: str) -> None:
    kind = "page" if skill == "read_colour" else None
    found = [ask(random.Random(seed), sample_scene(random.Random(seed), kind), skill) for seed in range(200)]
    assert any(found), f"no scene of 200 had a question of {skill}"


def test_every_skill_has_words_and_every_group_has_skills() -> None:
    assert set(TRAIN) == set(SKILLS)
    assert set(HELD_OUT) <= set(SKILLS)
    assert {skill for group in GROUPS.values() for skill in group} <= set(SKILLS)


def test_held_out_wordings_are_not_trained_on() -> None:
    names = ("the", "other", "a", "thing", "things", "colour", "a_shape", "relation", "most", "comparison", "letters")
    slots = dict.fromkeys((*names, "others", "number", "side", "end", "guess"), "X")
    trained = {
        re.sub(r"[^a-z ]", "", phrase(random.Random(seed), skill, slots).lower())
        for skill in HELD_OUT
        for seed in range(400)
    }
    for skill in HELD_OUT:
        for seed in range(40):
            asked = phrase(random.Random(seed), skill, slots, held_out=True)
            assert re.sub(r"[^a-z ]", "", asked.lower()) not in trained, asked


def test_colours_and_shapes() -> None:
    assert {answer for question, answer in answers("colour", TWO) if "circle" in question.lower()} == {"red"}
    assert {answer for _, answer in answers("shape", TWO)} == {"circle", "star"}
    assert {answer for _, answer in answers("background", TWO)} == {"white"}


def test_relations_see_the_picture_from_the_front() -> None:
    for question, answer in answers("is_relation", TWO):
        first_is_circle = min(_at(question, "circle", "red"), len(question)) < _at(question, "star", "blue")
        left = "left" in question
        assert answer == ("yes" if left == first_is_circle else "no"), question


def _at(question: str, *words: str) -> int:
    return min(at for at in (question.lower().find(w) for w in words) if at >= 0)


def test_sizes() -> None:
    for question, answer in answers("superlative", TWO):
        big = re.search("biggest|largest", question) is not None
        assert answer == ("red circle" if big else "blue star"), question


def test_counts() -> None:
    crowd = scene_with(*(item("heart", "green", x=x, radius=0.1) for x in (0.1, 0.3, 0.5)), item("ring", x=0.8))
    for question, answer in answers("count", crowd):
        if "heart" in question.lower() and "green" in question.lower():
            assert answer == "3", question
        if re.search(r"\brings?\b", question.lower()) and "red" in question.lower():
            assert answer == "1", question


def test_yes_and_no_come_about_equally_often() -> None:
    for skill in ("exists", "absent", "is_colour", "is_relation"):
        found = [ask(random.Random(seed), sample_scene(random.Random(seed)), skill) for seed in range(800)]
        yes = [turn.answer == "yes" for turn in found if turn]
        assert 0.35 < sum(yes) / len(yes) < 0.65, skill


def test_no_reference_is_ambiguous() -> None:
    twins = scene_with(item("circle", "red", x=0.2), item("circle", "red", x=0.7))
    assert not answers("colour", twins) and not answers("is_relation", twins)


def test_where_is_a_ninth_of_the_picture() -> None:
    for x, y, expected in ((0.1, 0.1, "top left"), (0.5, 0.9, "bottom"), (0.9, 0.5, "right"), (0.5, 0.5, "center")):
        scene = scene_with(item("circle", x=x, y=y, radius=0.1))
        assert {answer for _, answer in answers("where", scene)} == {expected}
    assert not answers("where", scene_with(item("circle", x=0.34, y=0.5))), "on the edge of two ninths"


def test_mentions_are_the_names_of_single_items() -> None:
    crowd = scene_with(item("circle", "red"), item("circle", "blue"), item("star", "gray"))

    def named(question: str) -> list[tuple[str, str, str]]:
        found = mentions(question, crowd)
        return [(question[:end].split()[-1], item.colour, item.shape) for end, item in found]

    assert named("Is the Red circle left of the star?") == [("circle", "red", "circle"), ("star", "gray", "star")]
    assert named("Is the grey thing above the blue object?") == [
        ("thing", "gray", "star"),
        ("object", "blue", "circle"),
    ]
    assert named("How many circles? What shape is the circle? Which object is biggest?") == []


@pytest.mark.parametrize("name", list(COURSES))
def test_a_course_asks_what_it_practises(name: str) -> None:
    course = COURSES[name]
    scenes = [sample_scene(random.Random(seed), kind) for seed in range(30) for kind in course.scenes]
    turns = [sample_turns(random.Random(seed), scene, 8, name) for seed, scene in enumerate(scenes)]
    asked = {turn.skill for some in turns for turn in some}
    assert asked == set(course.skills)


def test_description_names_everything() -> None:
    assert description(TWO) == "a red circle and a blue star on a white background."


def test_claims_are_as_true_as_the_scene() -> None:
    assert Claim("a red circle", "red", "circle").holds(TWO)
    assert not Claim("a blue circle", "blue", "circle").holds(TWO)
    assert Claim("a star", shape="star").holds(TWO)
    assert not Claim("two stars", shape="star", number=2).holds(TWO)
    assert not Claim("a red circle on black", "red", "circle", background="black").holds(TWO)
    said = [sample_claim(random.Random(seed), TWO) for seed in range(200)]
    assert 0.5 < sum(claim.holds(TWO) for claim in said) / len(said) < 0.95


def test_turns_are_repeatable_and_answer_in_known_words() -> None:
    known = {*COLOURS, *SHAPES, *map(str, range(7)), "yes", "no", "left", "right", "above", "below"}
    known |= {"top", "bottom", "center"}
    for seed in range(100):
        scene = sample_scene(random.Random(seed))
        turns = sample_turns(random.Random(seed), scene, 8)
        assert turns == sample_turns(random.Random(seed), scene, 8)
        for turn in turns:
            if turn.skill not in (*READING, "describe", "which_further", "which_bigger"):
                assert set(turn.answer.split()) <= known, turn
