"""How well it draws what it was not trained on, through vlm's own engine: `python -m recipes.drawing.evaluate`."""

from __future__ import annotations

import argparse
import io
import itertools
import random
from collections.abc import Callable

import torch
from PIL import Image

from recipes.drawing.judge import Verdict, judge
from recipes.drawing.prompts import Order, sample_order
from recipes.picturebook.scenes import draw
from vlmcli.api.dual import DualModel
from vlmcli.api.load import load
from vlmcli.api.painter import PainterModel
from vlmcli.types.draw import Brush, Drawn


def orders(count: int, seed: int) -> list[Order]:
    """Orders of a stream that training never used."""
    return [sample_order(random.Random(f"evaluation-{seed}-{index}")) for index in range(count)]


def true_picture(order: Order) -> Image.Image:
    return draw(order.scene, random.Random(0))


def round_trip(painter: PainterModel, order: Order) -> Image.Image:
    """The true picture, said in words of the code book and developed again."""
    from vlmcli.models.drawing import drawer_of

    janus, drawer = painter.vlm.model, drawer_of(painter.vlm)
    pixels = painter.vlm.processor.image_processor(true_picture(order), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        words = janus.model.vqmodel.encode(pixels.to(janus.dtype)).image_tokens
    canvas = drawer.lay_out(order.prompt, "", None, guided=False)
    return drawer.pictures(canvas, [words.tolist()])[0]


def drawn_with(painter: PainterModel, order: Order, brush: Brush) -> Image.Image:
    """The first picture that ``vlm draw`` makes of the words."""
    (picture,) = (event for event in painter.draw(order.prompt, brush=brush) if isinstance(event, Drawn))
    return Image.open(io.BytesIO(picture.png))


def row(name: str, verdicts: list[Verdict]) -> str:
    """Shares of right pictures; ``where`` of those whose words say it."""
    told = [verdict.where for verdict in verdicts if verdict.where is not None]
    columns = [[getattr(verdict, key) for verdict in verdicts] for key in ("background", "colour", "shape")]
    shares = (f"{100 * sum(column) / len(column):.0f}%" for column in (*columns, told, [v.all for v in verdicts]))
    return f"| {name} | " + " | ".join(shares) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.drawing.evaluate", description=__doc__)
    parser.add_argument("--model", default=None, help="as vlm -m takes it; the built-in one if not given")
    parser.add_argument("--count", type=int, default=200, help="pictures a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=None, help="the checkpoint's own if not given")
    options = parser.parse_args()
    painter, dual = load(options.model, kind="painter"), load(kind="dual", cache=False)
    assert isinstance(painter, PainterModel) and isinstance(dual, DualModel)
    seeds = itertools.count(options.seed)
    makers: dict[str, Callable[[Order], Image.Image]] = {
        "the recipe's own pictures": true_picture,
        "those through the autoencoder": lambda order: round_trip(painter, order),
        "drawn": lambda order: drawn_with(painter, order, Brush(guidance=options.guidance, seed=next(seeds))),
    }
    print("| | background | colour | shape | where | all |\n|---|---|---|---|---|---|")
    asked = orders(options.count, options.seed)
    for name, make in makers.items():
        print(row(name, [judge(dual, make(order), order) for order in asked]), flush=True)


if __name__ == "__main__":
    main()
