"""The Python interface: ``load`` a model, then ``ask``, ``topk``, ``score``, ``choose``, ``check``, ``zeroshot``,
``embed`` or ``classify`` with it.

``inspect`` tells what a model is made of without loading it.

    from vlmcli import load

    vlm = load("picturebook")
    for event in vlm.ask("photo.jpg", "What is this?"):
        ...

What goes in and comes out is plain values, listed in ``vlmcli.types``; errors are those of ``vlmcli.errors``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import UsageError
from vlmcli.inputs.embeddings.kept import Kept
from vlmcli.inputs.image import MAX_PIXELS, ImageSource, LoadedImage, load_image
from vlmcli.types import (
    YES_NO,
    Anatomy,
    AskEvent,
    Choices,
    Classification,
    EmbedEvent,
    Message,
    ModelInfo,
    Sampling,
    Scored,
    TopK,
    Zeroshot,
)
from vlmcli.weights.resolve import Checkpoint, pinned_revision, resolve

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.classifier import Classifier
    from vlmcli.models.dual import Dual
    from vlmcli.models.vlm import Vlm
    from vlmcli.tasks.request import Request

Images = ImageSource | Sequence[ImageSource] | None
"""One image or several: a path, a URL, "-" (standard input), the bytes of a file, or a PIL image."""


class _Model:
    """What all kinds of model share: where it came from, and how images are read."""

    def __init__(self, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool) -> None:
        self.spec: ModelSpec | None = checkpoint.spec
        self._checkpoint = checkpoint
        self.load_ms = load_ms
        self._max_pixels = max_pixels
        self._allow_private_urls = allow_private_urls

    def _read(self, images: Images) -> tuple[LoadedImage, ...]:
        return tuple(self._read_one(source) for source in _as_sequence(images))

    def _read_one(self, source: ImageSource) -> LoadedImage:
        return load_image(source, max_pixels=self._max_pixels, allow_private_urls=self._allow_private_urls)


class VlmModel(_Model):
    """A model that answers about images (or about text alone)."""

    def __init__(
        self, vlm: Vlm, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.vlm = vlm

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.vlm.info

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
        yield from ask(self.vlm, request, sampling or Sampling())

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

    def check(self, images: Images, question: str, *, system: str | None = None, raw: bool = False) -> Choices:
        """Yes or no: ``choose`` between these two; ``.best.option`` is the answer."""
        return self.choose(images, question, YES_NO, system=system, raw=raw)

    def _request(
        self, images: Images, prompt: str, messages: Sequence[Message] | None, system: str | None, raw: bool
    ) -> Request:
        from vlmcli.tasks.request import Request

        if raw and (messages or system):
            raise UsageError("a raw prompt has no system prompt and no earlier messages", hint="write them into it")
        loaded = self._read(images)
        earlier = tuple(messages or ())
        own = len(loaded) - sum(message.images for message in earlier)
        if own < 0:
            raise UsageError(f"the messages show {len(loaded) - own} images, and {len(loaded)} were given")
        opening = (Message("system", system),) if system else ()
        return Request((*opening, *earlier, Message("user", prompt, images=own)), loaded, raw, self.load_ms)


class DualModel(_Model):
    """A model that embeds images and texts in one space, and so scores labels against images."""

    def __init__(
        self, dual: Dual, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.dual = dual

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.dual.info

    def zeroshot(self, images: Images | Kept, labels: Sequence[str], *, template: str = "{}") -> Zeroshot:
        """Every image against every label: raw logit, sigmoid (where the model was trained so) and softmax.

        ``Kept.open(FILE)`` in the place of images scores the vectors that ``embed`` made of them before. Raises
        InputError (also for a file that another model made), UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.zeroshot import zeroshot

        if isinstance(images, Kept):
            images.check_model(self._pinned())
        given = images if isinstance(images, Kept) else self._read(images)
        return zeroshot(self.dual, given, labels, template=template, load_ms=self.load_ms)

    def embed(
        self, images: Images = None, texts: str | Sequence[str] = (), *, batch_size: int = 16
    ) -> Generator[EmbedEvent, None, None]:
        """Images and texts as unit vectors: Start, an Embedding for each (or Skipped), EmbedTotals.

        ``vlmcli.inputs.embeddings.kept.keep`` writes them into a file on the way. The model's ``revision`` in the
        events is never None: where the hub gives none it is a checksum of the checkpoint.

        Raises InputError for a lone image or text, or where none at all can be used; UsageError, NumericalError,
        OutOfMemory; all when the first event is asked for or later.
        """
        from vlmcli.tasks.embed import embed

        words = (texts,) if isinstance(texts, str) else texts
        pictures, read, model = _as_sequence(images), self._read_one, self._pinned()
        yield from embed(
            self.dual, pictures, words, read=read, model=model, batch_size=batch_size, load_ms=self.load_ms
        )

    def _pinned(self) -> ModelInfo:
        """The model's info with a revision that no other weights have."""
        return replace(self.info, revision=pinned_revision(self._checkpoint))


class ClassifierModel(_Model):
    """A model that knows images by labels of its own."""

    def __init__(
        self, classifier: Classifier, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.classifier = classifier

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.classifier.info

    def classify(self, images: Images, *, k: int = 5) -> Classification:
        """The ``k`` likeliest classes of each image, with logit and softmax (or sigmoid: several labels an image).

        Raises InputError, UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.classify import classify

        return classify(self.classifier, self._read(images), k=k, load_ms=self.load_ms)


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    kind: Literal["vlm", "dual", "classifier"] = "vlm",
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_private_urls: bool = False,
    catalog: Catalog | None = None,
    progress: bool = False,
    cache: bool = True,
) -> VlmModel | DualModel | ClassifierModel:
    """Load a model; what kind it is, its own configuration says.

    Args:
        model: a name of the catalogue, a folder, or a hub id; None is the catalogue's default of ``kind``.
        device: ``auto`` (cuda > mps > cpu), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 elsewhere), ``float32``, ``bfloat16`` or ``float16``.
        threads: CPU threads for the whole process; None leaves torch's choice.
        max_pixels: larger images are refused before they are decoded.
        allow_private_urls: fetch image URLs from private, loopback and link-local addresses too.
        catalog: the known models; None reads the shipped models.toml and the user's.
        progress: show a bar on stderr while a model is downloaded.
        cache: keep the features of images, in memory and on disk, and know them again. Not for a model whose weights
            you change after loading it.

    Raises ModelNotFound, Offline, ModelError, UsageError, OutOfMemory.
    """
    from vlmcli.models.classifier import Classifier
    from vlmcli.models.dual import Dual
    from vlmcli.models.feature_files import FeatureFiles
    from vlmcli.models.load import load as load_checkpoint

    features = FeatureFiles.of_user() if cache else None
    catalog = catalog or Catalog.load()
    name = _name(model, catalog, kind)
    _set_threads(threads)
    checkpoint = resolve(name, catalog, progress=progress)
    began = time.perf_counter()
    loaded = load_checkpoint(checkpoint, device, dtype, features)
    load_ms = 1000 * (time.perf_counter() - began)
    if isinstance(loaded, Dual):
        return DualModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    if isinstance(loaded, Classifier):
        return ClassifierModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    return VlmModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)


def inspect(
    model: str | os.PathLike[str] | None = None,
    images: Images = None,
    *,
    image_size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_private_urls: bool = False,
    catalog: Catalog | None = None,
    progress: bool = False,
) -> Anatomy:
    """What a model is made of, and how many tokens images become, from its configuration: no weights are loaded.

    Args:
        model: as for ``load``; of a hub id that is not in the cache, only the small files are fetched.
        images: one image, several, or None for a blank one.
        image_size: the blank one's (width, height) in pixels; None is the encoder's own, else 640x480.
        max_pixels, allow_private_urls, catalog, progress: as for ``load``.

    Raises ModelNotFound, Offline, ModelError, and InputError or UsageError for images and sizes that cannot be used.
    """
    from vlmcli.models.outline import skeleton
    from vlmcli.tasks.inspect import inspect as inspect_skeleton

    if image_size and image_size[0] * image_size[1] > max_pixels:
        raise UsageError(f"an image of {image_size[0]}x{image_size[1]} has more than {max_pixels} pixels")
    catalog = catalog or Catalog.load()
    loaded = [
        load_image(source, max_pixels=max_pixels, allow_private_urls=allow_private_urls)
        for source in _as_sequence(images)
    ]
    checkpoint = resolve(_name(model, catalog, "vlm"), catalog, progress=progress, weights=False)
    return inspect_skeleton(skeleton(checkpoint), loaded, image_size)


def _name(model: str | os.PathLike[str] | None, catalog: Catalog, kind: str) -> str:
    if isinstance(model, os.PathLike):
        return str(Path(model).absolute())  # a path object is a folder, never a name of the catalogue
    return catalog.default(kind).name if model is None else model


def _as_sequence(images: Images) -> Sequence[ImageSource]:
    """One image is a sequence of one; strings and bytes are images, not sequences."""
    if images is None:
        return ()
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        return (images,)
    return images


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise UsageError("threads must be at least 1")
    import torch

    torch.set_num_threads(threads)
