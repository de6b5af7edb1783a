"""The values that cross from layer to layer: frozen, and without torch, so that every front end can import them.

Log-probabilities are natural logarithms; entropy and surprisal are in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "interrupted"]
"""``stop``: end-of-sequence token or a stop string; ``length``: the token limit; ``interrupted``: Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``images`` counts the images shown at the start of this turn."""

    role: Role
    text: str
    images: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked. ``temperature`` 0 is greedy; 0 or 1 switch the other filters off."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class TopToken:
    """One candidate for a position."""

    id: int
    token: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token.

    ``token`` is the token's own text; ``text`` is what may be printed now: the two differ while a character
    spans several tokens or a stop string may have begun.
    """

    index: int
    id: int
    token: str
    text: str
    bytes: bytes
    logprob: float
    top: tuple[TopToken, ...] = ()
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What became of one image; sizes are (width, height) in pixels, ``resized`` None where a model tiles freely.

    ``cached``: whether its features were kept, and the vision encoder skipped; None where none are ever kept.
    """

    source: str
    sha256: str
    original: tuple[int, int]
    resized: tuple[int, int] | None = None
    tokens: int = 0
    notes: tuple[str, ...] = ()
    cached: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights answered, and where they ran; ``notes`` is what has to be known about them at every run."""

    id: str
    revision: str | None
    dtype: str
    device: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; ``prompt_tokens`` includes ``image_tokens``."""

    prompt_tokens: int = 0
    image_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """The first event of an answer: everything that is known before the first token."""

    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """The last event of an answer, and its whole result."""

    text: str
    tokens: tuple[TokenEvent, ...]
    finish_reason: FinishReason
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)


AskEvent = Start | TokenEvent | Answer


@dataclass(frozen=True, slots=True)
class Position:
    """The distribution over the next token, after reading everything up to and including ``token`` at ``index``.

    ``entropy`` and ``top`` describe that distribution; ``logprob``, ``rank`` (1 is the likeliest) and ``surprisal``
    are those of ``next_token``, the one that really follows; None at the last position, where nothing follows.
    ``count`` > 1: that many image positions in one row, whose figures are those of the last of them.
    """

    index: int
    kind: Literal["text", "image"]
    id: int
    token: str
    next_id: int | None
    next_token: str | None
    logprob: float | None
    rank: int | None
    surprisal: float | None
    entropy: float
    top: tuple[TopToken, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class TopK:
    """Next-token probabilities of one prompt."""

    positions: tuple[Position, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token of a given answer, in the distribution that the model had before it read this token.

    ``rank`` 1 is the likeliest; ``entropy`` and ``top`` describe the whole distribution.
    """

    index: int
    id: int
    token: str
    bytes: bytes
    logprob: float
    rank: int
    entropy: float
    top: tuple[TopToken, ...] = ()

    @property
    def surprisal(self) -> float:
        """In nats."""
        return -self.logprob


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a given answer is. ``tokens`` may hold the end of the answer, which is no part of ``text``."""

    text: str
    tokens: tuple[ScoredToken, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def logprob(self) -> float:
        """Of all tokens together."""
        return math.fsum(token.logprob for token in self.tokens)

    @property
    def size_bytes(self) -> int:
        """Of the text in UTF-8."""
        return len(self.text.encode("utf-8", errors="replace"))

    @property
    def per_byte(self) -> float | None:
        """The log-probability by the bytes of the text, which models with different tokenizers have in common."""
        return self.logprob / self.size_bytes if self.text else None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several closed answers.

    ``logprob`` is that of giving this answer, and ``probability`` its share among the options. ``normalized`` is the
    share by ``per_token``, the log-probability by the number of tokens. ``tokens`` are those of its likeliest spelling.
    ``by_order`` has the probability in each order in which the options were shown; it is empty where they were not.
    """

    option: str
    logprob: float
    per_token: float
    probability: float
    normalized: float
    tokens: int
    by_order: tuple[float, ...] = ()


YES_NO = ("yes", "no")
"""The options of a question that is answered so."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A distribution over options. ``mass`` is how much probability the model gives to them at all, at most 1."""

    choices: tuple[Choice, ...]
    mass: float
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Choice:
        """The likeliest, the first of equals."""
        return max(self.choices, key=lambda choice: choice.probability)

    @property
    def mean(self) -> float | None:
        """The expected value where every option is a number in digits, as in a rating; else None."""
        if not all(choice.option.isdecimal() for choice in self.choices):
            return None
        return math.fsum(int(choice.option) * choice.probability for choice in self.choices)


@dataclass(frozen=True, slots=True)
class Score:
    """One image against one label; ``sigmoid`` is None for families that were trained with a softmax (CLIP)."""

    image: str
    label: str
    logit: float
    sigmoid: float | None
    softmax: float


@dataclass(frozen=True, slots=True)
class Zeroshot:
    """All images against all labels, image by image."""

    scores: tuple[Score, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a checkpoint, named as in its folder; ``sha256`` is None where nobody asked for it."""

    name: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is complete on this machine now: its ``files``, and those of them that were ``fetched`` for it."""

    name: str
    id: str
    revision: str | None
    folder: str
    files: tuple[ModelFile, ...]
    fetched: tuple[ModelFile, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """Downloads that are gone: ``folder`` and everything in it."""

    name: str
    folder: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class KeptFeatures:
    """The features of one image for one model, on disk; of all images of a prompt where they cannot be told apart.

    ``key`` is a SHA-256 over all that they depend on; ``age_s`` is the time since they were last used.
    """

    key: str
    model: str
    revision: str | None
    dtype: str
    size_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """All features that are kept on disk, the most recently used first, and how much there may be of them."""

    folder: str
    limit_bytes: int
    entries: tuple[KeptFeatures, ...]

    @property
    def size_bytes(self) -> int:
        """Of all entries."""
        return sum(entry.size_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Cleared:
    """Features that were deleted from the disk, and what is left there: numbers of entries, and their bytes."""

    folder: str
    entries: int
    size_bytes: int
    left: int
    left_bytes: int


@dataclass(frozen=True, slots=True)
class TextInfo:
    """One text as a dual encoder read it; ``sha256`` is over its UTF-8 bytes."""

    text: str
    sha256: str
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """The unit vector of one image or one text; both lie in one space, where a dot product compares them."""

    of: ImageInfo | TextInfo
    vector: tuple[float, ...]

    @property
    def kind(self) -> Literal["image", "text"]:
        """What was embedded."""
        return "image" if isinstance(self.of, ImageInfo) else "text"

    @property
    def source(self) -> str:
        """Where the image came from, or the text itself."""
        return self.of.source if isinstance(self.of, ImageInfo) else self.of.text


@dataclass(frozen=True, slots=True)
class Skipped:
    """One item of a batch that cannot be used, while the others go on; ``error`` is a name in the tree of errors.py."""

    source: str
    error: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class EmbedTotals:
    """The last event of embedding: how many vectors there were, and of how many dimensions."""

    images: int
    texts: int
    skipped: int
    dimensions: int
    model: ModelInfo
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)


EmbedEvent = Start | Embedding | Skipped | EmbedTotals


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One of an image's classes; ``id`` is its number in the model.

    ``softmax`` is over all classes of the model; a model of several labels an image has ``sigmoid`` instead, and one
    that was trained as a regression has neither.
    """

    image: str
    id: int
    label: str
    logit: float
    sigmoid: float | None
    softmax: float | None


@dataclass(frozen=True, slots=True)
class Classification:
    """The likeliest classes, image by image, the likeliest first; ``classes`` is how many the model knows."""

    scores: tuple[ClassScore, ...]
    classes: int
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One line of the catalogue, as a front end shows it; ``parameters`` is a count, None where it is not known.

    ``folder`` and ``files`` say what is on this machine, where that was asked for; a built-in model names no folder.
    """

    name: str
    kind: str
    source: str
    revision: str | None
    licence: str | None
    parameters: int | None
    description: str
    defined_in: str
    cached: bool
    default: bool = False
    folder: str | None = None
    files: tuple[ModelFile, ...] = ()


@dataclass(frozen=True, slots=True)
class PartSize:
    """One part of a composition: where its weights come from, and how many there are."""

    role: str
    source: str
    parameters: int


@dataclass(frozen=True, slots=True)
class Composed:
    """A composition that was put together: ``catalog`` names it from now on, ``weights`` holds what is new in it."""

    name: str
    fusion: str
    parts: tuple[PartSize, ...]
    catalog: Path
    weights: Path | None
    notes: tuple[str, ...] = ()


PartRole = Literal["encoder", "projector", "fusion", "decoder", "text-encoder", "other"]
"""A box of the diagram. ``projector`` is all that stands between encoder and decoder, resamplers and separators too;
``other`` takes no part in reading images and text (an image generator, an audio encoder)."""

Method = Literal["A", "B", "hybrid", "dual", "none"]
"""How an image reaches the text. ``A``: its embeddings take the places of placeholder tokens. ``B``: cross-attention.
``hybrid``: both. ``dual``: a dot product of two embeddings. ``none``: it does not, there is one modality."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The transformer of a part; a value is None where neither the weights' names nor the configuration tell.

    ``layers`` are its blocks, and for a projector without blocks its weight matrices; ``kv_heads`` < ``heads``:
    grouped-query attention.
    """

    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    kv_heads: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One box of the diagram and the weights in it; together, a model's parts hold each of its weights once.

    ``architecture`` is the configuration's name for it (siglip_vision_model, llama), else that of its modules;
    ``modules`` are their paths. ``dtype`` is the one in which most of the part is stored; ``size_bytes`` is the part's
    size in it. ``parameters`` and ``size_bytes`` are None where nothing but a configuration is known.
    """

    role: PartRole
    architecture: str
    modules: tuple[str, ...]
    stack: Stack
    parameters: int | None
    size_bytes: int | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a model is made of, known without its weights; ``model.device`` is ``meta``.

    ``patch`` and ``image_size`` are the encoder's, (width, height) in pixels, None where it has no fixed one.
    ``vocabulary`` and ``context`` (in tokens) are the decoder's, or the text encoder's. ``images`` says how many tokens
    images of some sizes become; it is empty where that cannot be told, and ``notes`` says why.
    """

    model: ModelInfo
    family: str
    method: Method
    parts: tuple[Part, ...]
    licence: str | None = None
    patch: tuple[int, int] | None = None
    image_size: tuple[int, int] | None = None
    vocabulary: int | None = None
    context: int | None = None
    images: tuple[ImageInfo, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int | None:
        """Of all parts together."""
        counts = [part.parameters for part in self.parts if part.parameters is not None]
        return sum(counts) if counts and len(counts) == len(self.parts) else None

    @property
    def size_bytes(self) -> int | None:
        """Of all parts together."""
        sizes = [part.size_bytes for part in self.parts if part.size_bytes is not None]
        return sum(sizes) if sizes and len(sizes) == len(self.parts) else None
