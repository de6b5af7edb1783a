"""What goes to stderr beside a result: notes unless the user wants quiet, details where they want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from vlmcli.errors import VlmError
from vlmcli.render.escape import one_line
from vlmcli.render.terminal import Terminal
from vlmcli.types.ask import Answer, AskEvent, TokenEvent
from vlmcli.types.choose import Choices
from vlmcli.types.draw import DrawEvent, DrawStart, DrawTotals
from vlmcli.types.embed import Embedding, EmbedEvent, Skipped
from vlmcli.types.result import ImageInfo, ModelInfo, Start, Usage

_LEAST_MASS = 0.5
"""Below it, an answer that is none of the options is likelier than all of them together."""


@dataclass(frozen=True, slots=True)
class Notes:
    """Writer of single lines, each safe for a terminal."""

    stream: TextIO
    quiet: bool = False
    verbose: bool = False

    def note(self, text: str) -> None:
        """Something that the user should know."""
        if not self.quiet:
            self._line(one_line(text))

    def error(self, error: VlmError) -> None:
        """What went wrong and what to do about it, in one line, also when quiet."""
        self._failure("error:", error.message, error.hint)

    def start(self, event: AskEvent) -> None:
        """What is known before the first token."""
        if isinstance(event, Start):
            self.images(event.images)
            self.inputs(event.model, event.images, event.usage)

    def embed(self, event: EmbedEvent) -> None:
        """What there is to say of an event of embedding; an item that is skipped is named also when quiet."""
        if isinstance(event, Start):
            self.inputs(event.model, ())
        elif isinstance(event, Skipped):
            self._failure("skipped:", event.message, event.hint)
        elif isinstance(event, Embedding):
            if isinstance(event.of, ImageInfo):
                self.images([event.of])
                self._detail("image", f"{event.of.source}: {_image_text(event.of)}")
        else:
            self.timings(event.timings_ms)

    def draw(self, event: DrawEvent) -> None:
        """What there is to say of an event of drawing."""
        if isinstance(event, DrawStart):
            self.inputs(event.model, (), Usage(event.prompt_tokens))
            brush, (columns, rows) = event.brush, event.grid
            self._detail("image", f"{event.size[0]}x{event.size[1]}, {columns} x {rows} words, {event.tokens} tokens")
            self._detail("brush", f"guidance {brush.guidance:g}, temperature {brush.temperature:g}, seed {brush.seed}")
        elif isinstance(event, DrawTotals):
            self.timings(event.timings_ms)

    def images(self, images: Iterable[ImageInfo]) -> None:
        """What was special about each image, for everybody."""
        for image in images:
            for text in image.notes:
                self.note(f"{image.source}: {text}")

    def inputs(self, model: ModelInfo, images: Iterable[ImageInfo], usage: Usage | None = None) -> None:
        """What has to be known about a model, for everybody; and which model reads what (verbose)."""
        for text in model.notes:
            self.note(f"{model.id}: {text}")
        revision = f" at {model.revision}" if model.revision else ""
        self._detail("model", f"{model.id}{revision} ({model.dtype} on {model.device})")
        for image in images:
            self._detail("image", f"{image.source}: {_image_text(image)}")
        if usage is not None and usage.prompt_tokens:
            self._detail("prompt", f"{usage.prompt_tokens} tokens, {usage.image_tokens} of them from images")

    def mass(self, result: Choices) -> None:
        """That a question does not fit its options, where the model would rather say something else."""
        if result.mass < _LEAST_MASS:
            self.note(f"the model gives the options only {100 * result.mass:.2g}% of its answer: see vlm topk")

    def certainty(self, result: Choices) -> None:
        """How sure the likeliest option is (verbose)."""
        sure = f"{100 * result.best.probability:.2f}% {result.best.option}"
        self._detail("answer", f"{sure}; the options have {100 * result.mass:.2f}% of the model's answer")

    def outcome(self, answer: Answer) -> None:
        """How the answer came about (verbose)."""
        rate = tokens_per_second(answer.tokens)
        speed = f", {rate:.1f} tokens/s" if rate is not None else ""
        self._detail("answer", f"{answer.usage.completion_tokens} tokens{speed}, ended by {answer.finish_reason}")
        if answer.steps:
            self._detail("steps", answer.steps)
        self.timings(answer.timings_ms)

    def timings(self, timings_ms: Mapping[str, float]) -> None:
        """Where the time went (verbose)."""
        if timings_ms:
            self._detail("time", ", ".join(f"{name} {value:.0f} ms" for name, value in timings_ms.items()))

    def _failure(self, word: str, message: str, hint: str | None) -> None:
        about = f" ({one_line(hint).removesuffix('.')})" if hint else ""
        self._line(Terminal.of(self.stream).red(word) + f" {one_line(message).removesuffix('.')}{about}")

    def _detail(self, name: str, text: str) -> None:
        if self.verbose:
            self._line(f"{name:<8}{one_line(text)}")

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


def tokens_per_second(tokens: tuple[TokenEvent, ...]) -> float | None:
    """Decoding speed between the first token and the last; None where there is no such stretch."""
    if len(tokens) < 2:
        return None
    elapsed_s = tokens[-1].elapsed_s - tokens[0].elapsed_s
    return (len(tokens) - 1) / elapsed_s if elapsed_s > 0 else None


def _image_text(image: ImageInfo) -> str:
    width, height = image.original
    resized = f" -> {image.resized[0]}x{image.resized[1]}" if image.resized else ""
    cached = ", features from the cache" if image.cached else ""
    return f"{width}x{height}{resized}, {image.tokens} tokens{cached}"
