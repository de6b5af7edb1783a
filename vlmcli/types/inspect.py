"""What a model is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo

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
