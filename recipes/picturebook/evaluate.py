"""Exact match on scenes of unseen seeds, through vlm's own engine: `python -m recipes.picturebook.evaluate`."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator

from PIL import Image

from recipes.picturebook.phrasing import HELD_OUT
from recipes.picturebook.questions import GROUPS, Turn, ask
from recipes.picturebook.scenes import COLOURS, SHAPES, draw, sample_scene
from recipes.picturebook.skills import with_article
from vlmcli.api.dual import DualModel
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.types.ask import Answer
from vlmcli.types.chat import Sampling

TARGETS = {
    "colour, shape, background": (95, 99),
    "count, yes/no": (92, 97),
    "relations, size": (88, 95),
    "printed words and numbers": (60, 90),
    "phrasings that training never saw": (85, 95),
    "zero-shot, top 1 of 20 labels": (90, 98),
}
LABELS = 20


def questions(group: str, count: int, seed: int) -> Iterator[tuple[Image.Image, Turn]]:
    """``count`` pictures with a question each; the skills of a group in turn, so that each weighs the same."""
    held_out = group not in GROUPS
    skills = tuple(HELD_OUT) if held_out else GROUPS[group]
    made, index = 0, 0
    while made < count:
        rng = random.Random(f"evaluation-{seed}-{group}-{index}")
        index += 1
        scene = sample_scene(rng)
        turn = ask(rng, scene, skills[made % len(skills)], held_out)
        if turn is not None:
            made += 1
            yield draw(scene, rng), turn


def answer_of(model: VlmModel, image: Image.Image, question: str) -> str:
    """The greedy answer's text."""
    *_, last = model.ask(image, question, sampling=Sampling(max_tokens=24))
    assert isinstance(last, Answer)
    return last.text.strip()


def score_questions(model: VlmModel, group: str, count: int, seed: int, show: int) -> tuple[float, dict[str, float]]:
    """Share of exact matches, over all and by skill."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for image, turn in questions(group, count, seed):
        answer = answer_of(model, image, turn.question)
        asked[turn.skill] += 1
        right[turn.skill] += answer == turn.answer
        if answer != turn.answer and sum(asked.values()) - sum(right.values()) <= show:
            print(f"    {turn.question!r}: {answer!r}, not {turn.answer!r}")
    return right.total() / asked.total(), {skill: right[skill] / asked[skill] for skill in asked}


def score_labels(model: DualModel, count: int, seed: int) -> float:
    """Top-1 accuracy among 20 labels such as "a red circle", of pictures with one object."""
    right = 0
    for index in range(count):
        rng = random.Random(f"evaluation-{seed}-labels-{index}")
        scene = sample_scene(rng, "single")
        truth = (scene.items[0].colour, scene.items[0].shape)
        others = [(c, s) for c in COLOURS for s in SHAPES if (c, s) != truth]
        labels = [with_article(f"{c} {s}") for c, s in [truth, *rng.sample(others, LABELS - 1)]]
        scores = model.zeroshot(draw(scene, rng), labels).scores
        right += max(scores, key=lambda s: s.logit).label == labels[0]
    return right / count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.picturebook.evaluate", description=__doc__)
    parser.add_argument("--model", default=None, help="as vlm -m takes it; the embedded model if not given")
    parser.add_argument("--dual", default=None, help="likewise, for zero-shot")
    parser.add_argument("--count", type=int, default=500, help="questions a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers a row")
    options = parser.parse_args()
    print("| | measured | must | aim |\n|---|---|---|---|")
    details: dict[str, dict[str, float]] = {}
    vlm = load(options.model, cache=False)
    assert isinstance(vlm, VlmModel)
    *groups, zeroshot = TARGETS
    for group in groups:
        share, details[group] = score_questions(vlm, group, options.count, options.seed, options.show)
        print(_row(group, share), flush=True)
    dual = load(options.dual, kind="dual")
    assert isinstance(dual, DualModel)
    print(_row(zeroshot, score_labels(dual, options.count, options.seed)), flush=True)
    print("\nBy skill:")
    for group, skills in details.items():
        print(f"- {group}: " + ", ".join(f"{skill} {100 * share:.0f}%" for skill, share in skills.items()))


def _row(group: str, share: float) -> str:
    must, aim = TARGETS[group]
    return f"| {group} | {100 * share:.1f}% | {must}% | {aim}% |"


if __name__ == "__main__":
    main()
