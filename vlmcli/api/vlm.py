"""A model that answers about images: ask it, and look inside the answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vlmcli.api.images import Images, as_sequence
from vlmcli.api.painter import PainterModel
from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.inputs.outputs import check_output
from vlmcli.types.ask import AskEvent
from vlmcli.types.attribute import Attribution, Method
from vlmcli.types.bench import Speed
from vlmcli.types.chat import Message, Sampling
from vlmcli.types.choose import YES_NO, Choices, Verdict
from vlmcli.types.knockout import Box, Knockout
from vlmcli.types.lens import Lens
from vlmcli.types.score import Scored
from vlmcli.types.topk import TopK
from vlmcli.types.trace import Trace

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.conversation import Conversation
    from vlmcli.tasks.request import Request, Tick


class VlmModel(PainterModel):
    """A model that answers about images (or about text alone); some draw images, too."""

    _conversation: Conversation | None = None

    def ask(
        self,
        images: Images,
        prompt: str,
        *,
        messages: Sequence[Message] | None = None,
        system: str | None = None,
        sampling: Sampling | None = None,
        raw: bool = False,
    ) -> Iterator[AskEvent]:
        """Ask about images: Start, a TokenEvent for each token as it is generated, Answer.

        Of a prompt that begins like the one before, as the next turn of a conversation does, only the rest is read
        (unless the model was loaded with ``cache=False``).

        Args:
            images: one image, several, or None.
            prompt: the question.
            messages: earlier turns; their images are the first of ``images``, the others belong to ``prompt``.
            system: a system prompt.
            sampling: how tokens are picked; greedy if not given.
            raw: the prompt goes to the processor as it stands, with the model's own image placeholders.

        Raises InputError, UsageError, NumericalError, OutOfMemory, when the first event is asked for or later.
        """
        from vlmcli.tasks.ask import ask

        request = self._request(images, prompt, messages, system, raw)
        yield from ask(self.vlm, request, sampling or Sampling(), self._kept())

    def topk(
        self,
        images: Images,
        prompt: str,
        *,
        k: int = 5,
        at: Literal["last", "all"] | int = "last",
        system: str | None = None,
        raw: bool = False,
        expand_images: bool = False,
    ) -> TopK:
        """The ``k`` likeliest next tokens at the last position, at all of them, or at position number ``at``.

        The prompt goes through the chat template, unless ``raw``; and without an image and a system prompt only where
        the model sees images and has one: what a text-only model continues is the bare text.
        """
        from vlmcli.tasks.topk import topk

        request = self._request(images, prompt, None, system, raw)
        if not request.images and not system and not (self.vlm.sees and self.vlm.has_template):
            request = replace(request, raw=True)
        return topk(self.vlm, request, k=k, at=at, expand_images=expand_images)

    def score(
        self,
        images: Images,
        prompt: str,
        answer: str = "",
        *,
        answer_ids: Sequence[int] = (),
        k: int = 5,
        end: bool = True,
        system: str | None = None,
        raw: bool = False,
    ) -> Scored:
        """How likely ``answer`` is, token by token, each with its ``k`` likeliest alternatives.

        ``answer_ids`` are scored as they stand, in the place of a text; of a text the ``end`` counts too. The sum over
        the text of a greedy answer is the sum of what ``ask`` gave.

        Raises UsageError, InputError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.score import score

        request = self._request(images, prompt, None, system, raw)
        return score(self.vlm, request, answer, answer_ids=answer_ids, k=k, end=end)

    def choose(
        self,
        images: Images,
        prompt: str,
        options: Sequence[str],
        *,
        show_options: bool = False,
        system: str | None = None,
        raw: bool = False,
    ) -> Choices:
        """How the model divides its answer among ``options``, and how much probability it gives to them at all.

        ``show_options`` puts them into the prompt, at ``{options}`` or at its end, and averages over their orders.
        ``vlmcli.tasks.choose.choose`` defines the figures.

        Raises UsageError, InputError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.choose import choose

        return choose(self.vlm, self._request(images, prompt, None, system, raw), options, show_options=show_options)

    def check(self, images: Images, question: str, *, system: str | None = None, raw: bool = False) -> Verdict:
        """Yes or no: ``choose`` between these two; ``.best.option`` is the answer."""
        between = self.choose(images, question, YES_NO, system=system, raw=raw)
        return Verdict(between.choices, between.mass, between.model, between.images, between.usage, between.timings_ms)

    def attribute(
        self,
        images: Images,
        prompt: str,
        answer: str = "",
        *,
        method: Method = "occlusion",
        token: int | None = None,
        of: int = 0,
        grid: int = 16,
        batch_size: int = 8,
        judge: bool = True,
        tick: Tick | None = None,
        system: str | None = None,
        raw: bool = False,
    ) -> Attribution:
        """Which parts of image number ``of`` the tokens of ``answer`` rest on, or of the model's own greedy answer.

        ``vlmcli.tasks.attribute.task.attribute`` says what the arguments are, ``Attribution`` what the numbers are.

        Raises UsageError, InputError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.attribute.task import attribute

        return attribute(
            self.vlm,
            self._request(images, prompt, None, system, raw),
            answer,
            method=method,
            token=token,
            of=of,
            grid=grid,
            batch_size=batch_size,
            judge=judge,
            tick=tick,
        )

    def trace(
        self,
        images: Images,
        prompt: str,
        *,
        max_tokens: int = 8,
        dump: str | os.PathLike[str] | None = None,
        force: bool = False,
        system: str | None = None,
        raw: bool = False,
    ) -> Trace:
        """Each stage from the image's file to the tokens of the answer: shapes, figures, time and memory.

        ``dump`` is a safetensors file for the stages' tensors, which must not be there yet unless ``force``; it appears
        whole or not at all. ``vlmcli.tasks.trace.trace`` says what the stages are.

        Raises InputError, UsageError, ModelError, OutOfMemory.
        """
        from vlmcli.tasks.trace import trace, write_tensors

        path = None if dump is None else Path(dump)
        if path is not None:
            check_output(path, ".safetensors", force=force)
        traced = trace(
            self.vlm, self._request(images, prompt, None, system, raw), max_tokens=max_tokens, keep=path is not None
        )
        if path is not None:
            write_tensors(path, traced.tensors)
        return traced.trace

    def lens(
        self,
        images: Images,
        prompt: str,
        *,
        at: Literal["all", "image", "text", "last"] | int = "all",
        layers: Sequence[int] | None = None,
        k: int = 1,
        nearest: int = 1,
        tick: Tick | None = None,
        system: str | None = None,
        raw: bool = False,
    ) -> Lens:
        """What every layer of the decoder would say next at image and text positions, and the words nearest to patches.

        ``vlmcli.tasks.lens.lens`` says what the arguments are. Raises UsageError, ModelError, InputError,
        NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.lens import lens

        request = self._request(images, prompt, None, system, raw)
        return lens(self.vlm, request, at=at, layers=layers, k=k, nearest=nearest, tick=tick)

    def knockout(
        self,
        images: Images,
        prompt: str,
        answer: str = "",
        *,
        box: Box | None = None,
        window: int | None = None,
        stride: int = 1,
        tick: Tick | None = None,
        system: str | None = None,
        raw: bool = False,
    ) -> Knockout:
        """What ``answer`` loses when its last position cannot look at the image, or at a ``box`` of it, in some layers.

        ``vlmcli.tasks.knockout.knockout`` says what the arguments are. Raises UsageError, InputError, ModelError,
        NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.knockout import knockout

        request = self._request(images, prompt, None, system, raw)
        return knockout(self.vlm, request, answer, box=box, window=window, stride=stride, tick=tick)

    def bench(
        self, images: Images = None, prompt: str = "Describe the image.", *, rounds: int = 3, tokens: int = 32
    ) -> Speed:
        """How long a question takes here, part by part; ``vlmcli.tasks.bench.bench`` says how it is measured.

        Raises UsageError, InputError, OutOfMemory.
        """
        from vlmcli.tasks.bench import bench

        request = self._request(images, prompt, None, None, raw=not self.vlm.has_template)
        return bench(self.vlm, request, rounds=rounds, tokens=tokens)

    def _kept(self) -> Conversation | None:
        """What remembers the last prompt; None where nothing is to be kept."""
        if self._conversation is None and self.vlm.features is not None:
            from vlmcli.models.conversation import Conversation

            self._conversation = Conversation(self.vlm)
        return self._conversation

    def _request(
        self, images: Images, prompt: str, messages: Sequence[Message] | None, system: str | None, raw: bool
    ) -> Request:
        from vlmcli.tasks.request import Request

        if raw and (messages or system):
            raise UsageError("a raw prompt has no system prompt and no earlier messages", hint="write them into it")
        began = time.perf_counter()
        loaded = self.read(images)
        before = any(isinstance(image, LoadedImage) for image in as_sequence(images))
        decode_ms = None if before else 1000 * (time.perf_counter() - began)
        earlier = tuple(messages or ())
        own = len(loaded) - sum(message.images for message in earlier)
        if own < 0:
            raise UsageError(f"the messages show {len(loaded) - own} images, and {len(loaded)} were given")
        opening = (Message("system", system),) if system else ()
        return Request((*opening, *earlier, Message("user", prompt, images=own)), loaded, raw, self.load_ms, decode_ms)
