"""Does the map point at the object that was asked about? `python -m recipes.picturebook.pointing`.

The pointing game (Zhang et al. 2016, arXiv 1608.00507) on drawn scenes of several things, whose boxes are known: a
map has a hit where the middle of its largest cell lies in the box. And image reliance: what the image adds to answers
about colours, and to the answer to a question that needs no image.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from recipes.picturebook.questions import ask
from recipes.picturebook.scenes import box, draw, sample_scene
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.types.attribute import METHODS, Attribution, Grid, Method

MUST = {"occlusion": 90, "ablation": 80}
BEST_ONE_PASS = 70
RELIANCE_RATIO = 10
NO_IMAGE_NEEDED = "Is a red star blue?"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Case:
    """A picture of several things, a question about one of them, and its box in pixels."""

    image: Image.Image
    skill: str
    question: str
    box: Box

    def hit(self, row: int, column: int, grid: Grid) -> bool:
        """Whether the middle of this cell lies in the box."""
        x = (column + 0.5) / len(grid[0]) * self.image.width
        y = (row + 0.5) / len(grid) * self.image.height
        left, top, right, bottom = self.box
        return left <= x <= right and top <= y <= bottom


def cases(count: int, seed: int, skills: tuple[str, ...] = ("colour", "shape")) -> Iterator[Case]:
    """Scenes of two to four things, asked about in turn by these skills."""
    made, index = 0, 0
    while made < count:
        rng = random.Random(f"pointing-{seed}-{index}")
        index += 1
        scene = sample_scene(rng, "few")
        turn = ask(rng, scene, skills[made % len(skills)]) if len(scene.items) > 1 else None
        if turn is not None and turn.about is not None:
            made += 1
            yield Case(draw(scene, rng), turn.skill, turn.question, box(scene, turn.about))


def chance(case: Case, grid: Grid) -> float:
    """How often a random map of this shape has a hit."""
    cells = [(row, column) for row in range(len(grid)) for column in range(len(grid[0]))]
    return sum(case.hit(row, column, grid) for row, column in cells) / len(cells)


def point(model: VlmModel, all_cases: list[Case], methods: list[Method], cells: int) -> None:
    """Print the table's rows, by method: the share of hits, and what it must be."""
    shapes: list[Grid] = []
    for method in methods:
        hits, shapes = 0, []
        for case in all_cases:
            result = model.attribute(case.image, case.question, method=method, grid=cells, judge=False)
            hits += case.hit(*result.peak, result.grid)
            shapes.append(result.grid)
        must = f"{MUST[method]}%" if method in MUST else ""
        print(f"| {method} | {100 * hits / len(all_cases):.1f}% | {must} |", flush=True)
    rng = random.Random(0)
    pairs = list(zip(all_cases, shapes, strict=True))
    drawn = sum(case.hit(rng.randrange(len(g)), rng.randrange(len(g[0])), g) for case, g in pairs) / len(pairs)
    expected = math.fsum(chance(case, g) for case, g in pairs) / len(pairs)
    print(f"| a random map | {100 * drawn:.1f}% (chance: {100 * expected:.1f}%) | |", flush=True)


def rely(model: VlmModel, count: int, seed: int) -> tuple[float, float]:
    """Mean reliance, in nats a token, of answers about colours and of those to the question that needs no image."""
    colours, others = [], []
    for case in cases(count, seed, ("colour",)):
        colours.append(_cheap(model, case, case.question).reliance)
        others.append(_cheap(model, case, NO_IMAGE_NEEDED).reliance)
    return math.fsum(colours) / count, math.fsum(map(abs, others)) / count


def _cheap(model: VlmModel, case: Case, question: str) -> Attribution:
    return model.attribute(case.image, question, method="attention", judge=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.picturebook.pointing", description=__doc__)
    parser.add_argument("--model", default=None, help="as vlm -m takes it; the embedded model if not given")
    parser.add_argument("--count", type=int, default=200, help="scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", type=int, default=16, help="cells along the longer side")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    model = load(options.model, cache=False)
    assert isinstance(model, VlmModel)
    print(f"{options.count} scenes\n\n| method | the maximum lies in the box | must |\n|---|---|---|", flush=True)
    point(model, list(cases(options.count, options.seed)), options.methods, options.grid)
    colours, others = rely(model, options.count, options.seed)
    print(f"\nreliance on the image: {colours:.3f} nats a token in answers about colours,")
    print(f"{others:.3f} in answers to {NO_IMAGE_NEEDED!r}: {colours / max(others, 1e-9):.0f} times as much")
    print(f"(must: {RELIANCE_RATIO} times; of the methods with one pass, the best {BEST_ONE_PASS}%)")


if __name__ == "__main__":
    main()
