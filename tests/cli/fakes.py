"""A model that needs no weights, and the outside world of a command under test.

``python -m tests.cli.fakes ask ...`` is ``vlm`` with that model, for tests that need a real process.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from PIL import Image

from tests.render import values
from vlmcli.cli.main import main
from vlmcli.cli.runtime import Runtime
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.types.ask import AskEvent
from vlmcli.types.attribute import Attribution
from vlmcli.types.choose import Choices, Verdict
from vlmcli.types.classify import Classification
from vlmcli.types.compare import Compared
from vlmcli.types.detect import Detections
from vlmcli.types.draw import DrawEvent, Drawn, DrawnToken
from vlmcli.types.embed import EmbedEvent
from vlmcli.types.inspect import Anatomy
from vlmcli.types.knockout import Knockout
from vlmcli.types.lens import Lens
from vlmcli.types.result import ModelInfo
from vlmcli.types.score import Scored
from vlmcli.types.segment import Segmentation
from vlmcli.types.topk import TopK
from vlmcli.types.trace import Trace
from vlmcli.types.zeroshot import Zeroshot


@dataclass
class FakeModel:
    """Answers every question with ``words``, and remembers what it was asked."""

    words: Sequence[str] = ("A", " red", " circle.")
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    info: ModelInfo = values.MODEL

    def read(self, images: Sequence[str]) -> tuple[LoadedImage, ...]:
        return tuple(load_image(image) for image in images)

    def ask(self, images: Sequence[str], prompt: str, **options: Any) -> Iterator[AskEvent]:
        self.calls.append(("ask", (images, prompt), options))
        yield from values.events(*self.words)

    def topk(self, images: Sequence[str], prompt: str, **options: Any) -> TopK:
        self.calls.append(("topk", (images, prompt), options))
        return values.topk(values.position(3, " the"))

    def score(self, images: Sequence[str], prompt: str, answer: str, **options: Any) -> Scored:
        self.calls.append(("score", (images, prompt, answer), options))
        return values.scored("a", " cat")

    def choose(self, images: Sequence[str], prompt: str, options: Sequence[str], **how: Any) -> Choices:
        self.calls.append(("choose", (images, prompt, options), how))
        return values.choices(*options)

    def attribute(self, images: Sequence[str], prompt: str, answer: str, *, tick: Any, **options: Any) -> Attribution:
        self.calls.append(("attribute", (images, prompt, answer), options))
        tick(1, 2)
        tick(2, 2)
        return values.attribution("a", " cat")

    def check(self, images: Sequence[str], question: str, **options: Any) -> Verdict:
        self.calls.append(("check", (images, question), options))
        return values.verdict("yes", "no")

    def draw(self, prompt: str, *, count: int, **options: Any) -> Iterator[DrawEvent]:
        self.calls.append(("draw", (prompt,), {"count": count, **options}))
        yield from values.draw_events(count)

    def trace(self, images: Sequence[str], prompt: str, **options: Any) -> Trace:
        self.calls.append(("trace", (images, prompt), options))
        return values.trace()

    def lens(self, images: Sequence[str], prompt: str, tick: Any = None, **options: Any) -> Lens:
        self.calls.append(("lens", (images, prompt), options))
        tick(1, 2)
        return values.lens()

    def knockout(self, images: Sequence[str], prompt: str, answer: str, tick: Any = None, **options: Any) -> Knockout:
        self.calls.append(("knockout", (images, prompt, answer), options))
        tick(1, 2)
        return values.knockout()


@dataclass
class FakeDual:
    """Scores nothing in particular."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    info: ModelInfo = values.MODEL

    def read(self, images: Sequence[str]) -> tuple[LoadedImage, ...]:
        return tuple(load_image(image) for image in images)

    def zeroshot(self, images: Sequence[str], labels: Sequence[str], **options: Any) -> Zeroshot:
        self.calls.append(("zeroshot", (images, labels), options))
        return values.zeroshot(images=len(images) if isinstance(images, tuple) else 1)

    def embed(self, images: Sequence[str], texts: Sequence[str], **options: Any) -> Iterator[EmbedEvent]:
        self.calls.append(("embed", (images, texts), options))
        skipped = [values.SKIPPED for image in images if image.startswith("bad")]
        made = [values.embedding((0.6, 0.8)) for image in images if not image.startswith("bad")]
        yield from values.embed_events(*made, *skipped, *(values.embedding((1.0, 0.0), text) for text in texts))


@dataclass
class FakeClassifier:
    """Sees a tench in everything."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    info: ModelInfo = values.MODEL

    def read(self, images: Sequence[str]) -> tuple[LoadedImage, ...]:
        return tuple(load_image(image) for image in images)

    def classify(self, images: Sequence[str], **options: Any) -> Classification:
        self.calls.append(("classify", (images,), options))
        return values.classification(images=len(images))


@dataclass
class FakeReader:
    """Reads a grey image wherever it is told to."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    info: ModelInfo = values.MODEL

    def read(self, images: Sequence[str | LoadedImage]) -> tuple[LoadedImage, ...]:
        return tuple(map(self.read_one, images))

    def read_one(self, image: str | LoadedImage) -> LoadedImage:
        if isinstance(image, LoadedImage):
            return image
        return replace(load_image(Image.new("RGB", (6, 4), "grey")), info=replace(values.IMAGE, source=image))


@dataclass
class FakeDetector(FakeReader):
    """Finds a cat and a dog in the first image; nothing where the labels say so."""

    def detect(self, images: Sequence[LoadedImage], labels: Sequence[str], **options: Any) -> Detections:
        sources = tuple(image.info.source for image in images)
        self.calls.append(("detect", (sources, labels), options))
        found = () if "nothing" in labels else (values.CAT, values.DOG)
        return values.detections(*found, images=len(images))


@dataclass
class FakeSegmenter(FakeReader):
    """Draws one mask of whatever it is pointed at; everything is two."""

    def segment(self, image: LoadedImage, labels: Sequence[str] = (), **options: Any) -> Segmentation:
        self.calls.append(("segment", (image.info.source, labels), options))
        return values.segmentation(values.mask("......", ".##...", ".##...", "......", label=next(iter(labels), None)))

    def everything(self, image: LoadedImage, **options: Any) -> Segmentation:
        self.calls.append(("everything", (image.info.source,), options))
        return values.segmentation(
            values.mask("##....", "......", "......", "......"), values.mask("......", "......", "......", "....##")
        )


class EndlessModel(FakeModel):
    """Talks until somebody stops it."""

    def ask(self, images: Sequence[str], prompt: str, **options: Any) -> Iterator[AskEvent]:
        yield values.start()
        while True:
            yield values.token(0, "word ")


class InterruptedModel(FakeModel):
    """Sends its own process what Ctrl-C sends, after two words."""

    def ask(self, images: Sequence[str], prompt: str, **options: Any) -> Iterator[AskEvent]:
        yield values.start()
        yield values.token(0, "A")
        yield values.token(1, " red")
        os.kill(os.getpid(), signal.SIGINT)
        yield values.token(2, " never")


class InterruptedPainter(FakeModel):
    """Draws one image, and is stopped in the middle of the second."""

    def draw(self, prompt: str, **options: Any) -> Iterator[DrawEvent]:
        drawn = 0
        for event in values.draw_events(3):
            yield event
            drawn += isinstance(event, Drawn)
            if drawn == 1 and isinstance(event, DrawnToken):
                raise KeyboardInterrupt


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str
    loaded: list[dict[str, Any]]
    inspected: list[dict[str, Any]] = field(default_factory=list)
    compared: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)


def run(
    *argv: str,
    model: Any = None,
    load: Callable[..., Any] | None = None,
    stdin: BinaryIO | None = None,
    stdout: io.StringIO | None = None,
    **places: Any,
) -> Outcome:
    """Run ``vlm`` with ``argv`` in this process, with ``model`` (or what ``load`` does) for every model.

    ``places`` are the runtime's hub and packages.
    """
    loaded: list[dict[str, Any]] = []

    def record(**options: Any) -> Any:
        loaded.append(options)
        return load(**options) if load else (FakeModel() if model is None else model)

    inspected: list[dict[str, Any]] = []

    def inspect(**options: Any) -> Anatomy:
        inspected.append(options)
        return values.anatomy()

    compared: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def compare(*asked: Any, **options: Any) -> Compared:
        compared.append((asked, options))
        return values.compared()

    out, err = stdout or io.StringIO(), io.StringIO()
    code = main(argv, Runtime(record, stdin, out, err, patience_s=0.0, inspect=inspect, compare=compare, **places))
    return Outcome(code, out.getvalue(), err.getvalue(), loaded, inspected, compared)


MODELS = {"plain": FakeModel, "endless": EndlessModel, "interrupted": InterruptedModel}


if __name__ == "__main__":
    chosen = MODELS[os.environ.get("FAKE_MODEL", "plain")]()
    sys.exit(main(None, replace(Runtime.system(), load=lambda **options: chosen)))
