"""Hand-built results for the sinks."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace

from PIL import Image

from vlmcli.types.ask import Answer, AskEvent, TokenEvent
from vlmcli.types.attribute import AttributedToken, Attribution, Faithfulness, Grid, Reliance
from vlmcli.types.choose import Choice, Choices, Verdict
from vlmcli.types.classify import Classification, ClassScore
from vlmcli.types.compare import Compared, ComparedPosition, Divergence, Side
from vlmcli.types.detect import Detection, Detections
from vlmcli.types.draw import Brush, DrawEvent, Drawn, DrawnToken, DrawStart, DrawTotals
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals, Skipped, TextInfo
from vlmcli.types.inspect import Anatomy, Method, Part, Stack
from vlmcli.types.knockout import KnockedToken, Knockout, Window
from vlmcli.types.lens import Lens, LensPosition, Neighbour
from vlmcli.types.picture import Picture
from vlmcli.types.result import ImageInfo, ModelInfo, Start, TopToken, Usage
from vlmcli.types.score import Scored, ScoredToken
from vlmcli.types.segment import Mask, Rle, Segmentation
from vlmcli.types.topk import Position, TopK
from vlmcli.types.trace import Figures, Run, Stage, Trace
from vlmcli.types.zeroshot import Score, Zeroshot

MODEL = ModelInfo("tiny", None, "float32", "cpu")
IMAGE = ImageInfo("red.png", "ab" * 32, (640, 480), (96, 96), 64, ("first frame of 12",))
USAGE = Usage(prompt_tokens=70, image_tokens=64, completion_tokens=0)


def top(token: str, probability: float, token_id: int = 7) -> TopToken:
    return TopToken(token_id, token, token.encode(), math.log(probability) if probability else -math.inf)


def token(index: int, text: str, alternatives: tuple[TopToken, ...] = ()) -> TokenEvent:
    return TokenEvent(
        index, 100 + index, text, text, text.encode(errors="replace"), math.log(0.5), alternatives, 0.1 * (index + 1)
    )


def start() -> Start:
    return Start(MODEL, (IMAGE,), USAGE)


def answer(*texts: str, reason: str = "stop") -> Answer:
    tokens = tuple(token(i, text) for i, text in enumerate(texts))
    usage = Usage(70, 64, len(texts))
    return Answer("".join(texts), tokens, reason, MODEL, (IMAGE,), usage, {"total": 12.5}, "as ever")  # type: ignore[arg-type]


def events(*texts: str) -> Iterator[AskEvent]:
    yield start()
    yield from (token(i, text) for i, text in enumerate(texts))
    yield answer(*texts)


def interrupted_events(*texts: str) -> Iterator[AskEvent]:
    """Ctrl-C after the last of ``texts``, from an engine that does not handle it."""
    yield start()
    yield from (token(i, text) for i, text in enumerate(texts))
    raise KeyboardInterrupt


def position(index: int, text: str, follows: str | None = None, count: int = 1, kind: str = "text") -> Position:
    logprob = None if follows is None else math.log(0.25)
    return Position(
        index=index,
        kind=kind,  # type: ignore[arg-type]
        id=index,
        token=text,
        next_id=None if follows is None else index + 1,
        next_token=follows,
        logprob=logprob,
        rank=None if follows is None else 2,
        surprisal=None if logprob is None else -logprob,
        entropy=1.5,
        top=(top(" red", 0.75, 3), top(" blue", 0.25, 4)),
        count=count,
    )


def replace_top(position: Position, *tops: TopToken) -> Position:
    return replace(position, top=tops)


def topk(*positions: Position) -> TopK:
    return TopK(positions, MODEL, (IMAGE,), USAGE, {"total": 3.0})


def scored(*texts: str) -> Scored:
    """An answer of tokens that had a probability of a quarter each, at rank 2."""
    tokens = tuple(
        ScoredToken(i, 100 + i, text, text.encode(errors="replace"), math.log(0.25), 2, 1.5, (top(" red", 0.75),))
        for i, text in enumerate(texts)
    )
    return Scored("".join(texts), tokens, MODEL, (IMAGE,), USAGE, {"total": 3.0})


def choices(*options: str, mass: float = 0.9, orders: int = 1) -> Choices:
    """Each option but the last takes half of what is left."""
    shares = [0.5 ** min(i + 1, len(options) - 1) for i in range(len(options))]
    found = tuple(
        Choice(
            option, math.log(mass * share), math.log(mass * share), share, share, 1, (share,) * orders * (orders > 1)
        )
        for option, share in zip(options, shares, strict=True)
    )
    return Choices(found, mass, MODEL, (IMAGE,), USAGE, {"total": 3.0})


def verdict(*options: str, mass: float = 0.9, orders: int = 1) -> Verdict:
    between = choices(*options, mass=mass, orders=orders)
    return Verdict(between.choices, between.mass, between.model, between.images, between.usage)


def zeroshot(*, sigmoid: bool = True, images: int = 1) -> Zeroshot:
    scores = tuple(
        Score(f"image{i}.png", label, logit, 0.5 if sigmoid else None, softmax)
        for i in range(images)
        for label, logit, softmax in (("a cat", -2.0, 0.1), ("a [bold]dog", 3.0, 0.9))
    )
    infos = tuple(ImageInfo(f"image{i}.png", "00", (8, 8)) for i in range(images))
    return Zeroshot(scores, MODEL, infos, {"total": 1.0})


def detections(*found: Detection, images: int = 1) -> Detections:
    """``found`` in the first of some images, nothing in the others."""
    infos = tuple(ImageInfo(f"image{i}.png", "00", (80, 60)) for i in range(images))
    each = (found, *((),) * (images - 1))
    return Detections(each, ("a cat", "a [bold]dog"), 0.1, None, MODEL, infos, {"total": 1.0})


CAT = Detection("a cat", 0.75, (10.0, 20.0, 40.25, 50.0))
DOG = Detection("a [bold]dog", 0.5, (-3.5, 5.0, 30.0, 64.0))


def mask(*rows: str, label: str | None = None, score: float | None = None) -> Mask:
    """A mask from rows of characters, of which ``#`` are in it."""
    height, width = len(rows), len(rows[0])
    runs, last = [0], "."
    for x in range(width):
        for y in range(height):
            if rows[y][x] != last:
                runs.append(0)
                last = rows[y][x]
            runs[-1] += 1
    inside = [(x, y) for y, row in enumerate(rows) for x, pixel in enumerate(row) if pixel == "#"]
    xs, ys = [x for x, _ in inside], [y for _, y in inside]
    box = (min(xs), min(ys), max(xs) + 1.0, max(ys) + 1.0) if inside else (0.0, 0.0, 0.0, 0.0)
    return Mask(Rle.of_runs((height, width), runs), box, len(inside), 0.9, 0.95, label, score)


def segmentation(*masks: Mask, detector: ModelInfo | None = None) -> Segmentation:
    return Segmentation(masks, MODEL, ImageInfo("image.png", "00", (6, 4)), detector, {"total": 1.0})


def anatomy(method: Method = "A", *roles: str) -> Anatomy:
    """A model of parts that are all alike; ``roles`` are encoder, projector and decoder if none are given."""
    parts = tuple(
        Part(role, f"{role}_model", (f"model.{role}",), Stack(6, 256, 8, 2), 1_500_000, 3_000_000, "float16")  # type: ignore[arg-type]
        for role in roles or ("encoder", "projector", "decoder")
    )
    model = ModelInfo("tiny", None, "float16", "meta")
    return Anatomy(model, "tiny_model", method, parts, None, (16, 14), (128, 128), 1000, 512, (IMAGE,))


def classification(*, images: int = 1, scoring: str | None = "softmax") -> Classification:
    scores = tuple(
        ClassScore(
            f"image{i}.png",
            number,
            label,
            logit,
            sigmoid=share if scoring == "sigmoid" else None,
            softmax=share if scoring == "softmax" else None,
        )
        for i in range(images)
        for number, label, logit, share in ((3, "tench", 4.0, 0.8), (0, "LABEL_0", 2.0, 0.1))
    )
    infos = tuple(ImageInfo(f"image{i}.png", "00", (8, 8)) for i in range(images))
    return Classification(scores, 5, MODEL, infos, {"total": 1.0})


def embedding(vector: tuple[float, ...], text: str | None = None) -> Embedding:
    return Embedding(IMAGE if text is None else TextInfo(text, "cd" * 32, 3), vector)


SKIPPED = Skipped("bad.png", "ImageError", "bad.png is empty", "draw another")


def embed_events(*made: Embedding | Skipped) -> Iterator[EmbedEvent]:
    counts = [sum(isinstance(one, Embedding) and one.kind == kind for one in made) for kind in ("image", "text")]
    skipped = sum(isinstance(one, Skipped) for one in made)
    yield Start(MODEL, (), Usage())
    yield from made
    yield EmbedTotals(counts[0], counts[1], skipped, 2, MODEL, Usage(67, 64), {"total": 2.0})


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    """A stream whose reader leaves after ``characters``."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self._left = characters

    def write(self, text: str) -> int:
        self._left -= len(text)
        if self._left < 0:
            raise BrokenPipeError
        return super().write(text)


def draw_events(count: int = 1, tokens: int = 4) -> Iterator[DrawEvent]:
    """Images of ``tokens`` tokens each, with a probability of 0.5 each."""
    brush = Brush(5.0, 1.0, 1.0, 0, 0.0, 7)
    begun = DrawStart(MODEL, "a red fox", count, (16, 16), (2, 2), tokens, 9, brush)
    yield begun
    for image in range(count):
        drawn = tuple(DrawnToken(image, index, 10 * image + index, math.log(0.5)) for index in range(tokens))
        yield from drawn
        yield Drawn(image, 7 + image, (16, 16), b"PNG of image %d" % image, drawn)
    yield DrawTotals(begun, {"total": 12.5})


def trace() -> Trace:
    """Three stages of an image, one of which cannot be seen, and two tokens."""
    seen = Figures(((1, 3, 32, 32),), "float32", -1.0, 0.25, 2.0, 0)
    stages = (
        Stage("decode", Figures(((48, 64, 3), (48, 64, 3)), "uint8", 0.0, 100.5, 255.0, 0), 3.25),
        Stage("resize", seen, 4.0, 2_000_000),
        Stage("encode", None, note="cannot be seen in this family"),
        Stage("fuse", Figures(((1, 24, 32),), "float32", None, None, None, 768), 0.5, 1_000, "some note"),
        Stage("prefill", Figures(((390,),), "float32", -4.0, math.nan, math.inf, 0), 5.0, 0, token=" red"),
        Stage("step", Figures(((390,),), "float32", -4.0, 0.0, 4.0, 0), 1.5, 0, token="\x1b[31m"),
    )
    runs = (Run("text", 0, 4), Run("image", 4, 16), Run("text", 20, 4))
    return Trace(stages, runs, 32, MODEL, (IMAGE,), USAGE, ("a note",), {"total": 2.0})


def lens(layers: int = 3) -> Lens:
    """A word and a patch; the patch looks like a word from its first layer on."""
    words = tuple((top(" red", 0.5, 3), top(" blue", 0.25, 4)) for _ in range(layers))
    positions = (
        LensPosition(0, "text", 5, "What", words),
        LensPosition(1, "image", 9, "", words, (Neighbour(11, " crimson", 0.5),)),
    )
    agreement = tuple(i / (layers - 1) for i in range(layers))
    notes = ("a lens word is a reading",)
    return Lens(tuple(range(layers)), layers - 1, positions, agreement, MODEL, (IMAGE,), USAGE, notes, {"total": 2.0})


def knockout(box: tuple[float, float, float, float] | None = None) -> Knockout:
    """An answer that half of the windows take away."""
    tokens = (KnockedToken(3, " red", math.log(0.8)),)
    windows = (Window(1, 2, math.log(0.4)), Window(2, 3, math.log(0.9)))
    return Knockout(tokens, windows, Window(1, 3, -math.inf), 16, box, 3, MODEL, (IMAGE,), USAGE, {"total": 2.0})


def compared(same_tokenizer: bool = True) -> Compared:
    """Two sides that part at the second token."""
    side = Side(MODEL, (IMAGE,), USAGE, "What?", " red circle", math.log(0.25), 2)
    other = replace(side, model=replace(MODEL, dtype="bfloat16"), greedy=" red square", logprob=math.log(0.125))
    positions = (
        ComparedPosition(0, "prompt", "text", "What", "?", 0.5, (7, 8), (" is", " was"), (-1.0, -2.0)),
        ComparedPosition(1, "prompt", "image", "", " red", 9.0, (7, 7), ("?", "?"), None),
        ComparedPosition(2, "answer", "text", "?", " red", math.inf, (3, 3), (" red", " red"), (-0.5, -math.inf)),
        ComparedPosition(3, "answer", "text", " red", None, 0.0, (4, 4), (".", "."), None),
    )
    return Compared(
        " red circle",
        (side, other),
        same_tokenizer,
        positions if same_tokenizer else (),
        Divergence(1, (" circle", None)) if same_tokenizer else None,
        () if same_tokenizer else ("the tokenizers differ",),
        {"total": 2.0},
    )


def picture(size: tuple[int, int] = (8, 6), colour: tuple[int, int, int] = (40, 80, 220)) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return Picture(file.getvalue(), "image/png", size, size)


def attribution(
    *texts: str,
    grid: Grid = ((0.0, -0.5), (2.0, 0.1)),
    blank: float = 3.0,
    judged: bool = True,
    notes: tuple[str, ...] = (),
) -> Attribution:
    """An answer of ``texts``, of whose map the second row's first cell is the strongest."""
    reliance = Reliance(blank, 0.25, -0.125)
    tokens = tuple(
        AttributedToken(i, 7 + i, text, text.encode(), math.log(0.5), 1, 1.5, (top(" red", 0.75),), reliance, grid)
        for i, text in enumerate(texts)
    )
    faithfulness = Faithfulness(0.1, 0.9, 0.4, 0.5, steps=4, orders=3) if judged else None
    return Attribution(
        "".join(texts),
        "occlusion",
        None,
        grid,
        tokens,
        0,
        faithfulness,
        picture(),
        MODEL,
        (IMAGE,),
        USAGE,
        notes,
        {"total": 1.0},
    )
