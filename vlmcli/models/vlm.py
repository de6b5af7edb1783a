"""The parts joined: encoder, projector and decoder as one machine with three verbs, prepare, prefill and step.

Shapes: T positions of the prompt, C positions of a chunk, D width, V vocabulary. The batch is always one.

Every family runs through the same few lines; what differs between them (where image features go, position ids, masks)
stays inside transformers' own ``forward``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vlmcli.errors import ContextOverflow, InputError, first_line
from vlmcli.inputs import chat
from vlmcli.inputs.chat import Prompt
from vlmcli.inputs.detokenize import Vocabulary
from vlmcli.models.device import memory_guard
from vlmcli.types import ModelInfo

# The names under which processors hand over pixels; what they become is passed on in their place.
_PIXELS = ("pixel_values", "pixel_values_images", "image_patches")

# Positions to which the head is applied at once: [64, V] float32 is 64 MB for a vocabulary of 256,000.
HEAD_CHUNK = 64


@dataclass(frozen=True)
class ImageShape:
    """What the processor made of one image: (width, height) in pixels if it is one picture, and its slots."""

    resized: tuple[int, int] | None
    tokens: int


@dataclass(frozen=True)
class Inputs:
    """A prompt, ready for the model.

    ``ids`` has T entries, ``is_image`` says which of them are slots; ``tensors`` are ``forward``'s arguments.
    """

    ids: tuple[int, ...]
    is_image: tuple[bool, ...]
    images: tuple[ImageShape, ...]
    tensors: Mapping[str, Any]


@dataclass
class State:
    """A conversation in progress: the KV cache, and the logits [V] of the token that comes next.

    ``offsets`` are values that some families keep on the model object between steps (the rope offsets of Qwen-VL);
    they travel with the conversation, so that two of them can take turns.
    """

    logits: Tensor
    length: int
    cache: Any
    offsets: list[Any] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class Vlm:
    """A model that continues text, and sees images if it has an encoder."""

    def __init__(self, model: Any, processor: Any, info: ModelInfo, template: str | None = None) -> None:
        self.model = model
        self.processor = processor
        self.info = info
        self.template = template
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.vocabulary = Vocabulary(self.tokenizer)
        self.device: torch.device = model.device
        self.eos_ids = _eos_ids(model, self.tokenizer)
        self.image_token_id = _image_token_id(model.config, processor)
        self._accepts = frozenset(inspect.signature(model.forward).parameters)
        self._holders = [module for module in model.modules() if hasattr(module, "rope_deltas")]

    @property
    def sees(self) -> bool:
        """Whether it takes images."""
        return hasattr(self.processor, "image_processor")

    @property
    def has_template(self) -> bool:
        """Whether it knows how a conversation is written."""
        return chat.has_template(self.processor, self.template)

    @property
    def context(self) -> int | None:
        """Positions that the decoder was made for; None if its configuration sets no limit."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit else None

    def prepare(self, prompt: Prompt) -> Inputs:
        """Chat template, tokenizer and image processor.

        Raises InputError where the images and their slots do not match, ContextOverflow where nothing would be
        left to answer in.
        """
        encoded = chat.encode(self.processor, prompt, self.template, self.image_token_id)
        ids = tuple(int(i) for i in encoded.tensors["input_ids"][0])
        self._check_length(ids)
        is_image = tuple(i == self.image_token_id for i in ids)
        if prompt.images and not any(is_image) and self.image_token_id is not None:
            raise InputError("the prompt has no slot for its images, so the model would not see them")
        sizes = _resized(encoded.tensors, len(prompt.images), self.model.config)
        shapes = tuple(ImageShape(size, n) for size, n in zip(sizes, encoded.image_tokens, strict=True))
        return Inputs(ids, is_image, shapes, {k: self._place(v) for k, v in encoded.tensors.items()})

    def encode(self, inputs: Inputs) -> Inputs:
        """Run the vision encoder and the projector once; the features take the place of the pixels.

        Families whose ``forward`` takes no ready features keep their pixels. Raises InputError if the number of
        features differs from the number of slots.
        """
        base = self.model.base_model
        if not any(name in inputs.tensors for name in _PIXELS) or "mm_encoder_outputs" not in self._accepts:
            return inputs
        wanted = inspect.signature(base.get_image_features).parameters
        arguments = {name: value for name, value in inputs.tensors.items() if name in wanted}
        if not arguments:
            return inputs
        with self._work("encoding the images"):
            features = base.get_image_features(**arguments, return_dict=True)
        _check_features(features.pooler_output, sum(inputs.is_image))
        rest = {name: value for name, value in inputs.tensors.items() if name not in _PIXELS}
        return Inputs(inputs.ids, inputs.is_image, inputs.images, {**rest, "mm_encoder_outputs": {"image": features}})

    def prefill(self, inputs: Inputs) -> State:
        """Read the whole prompt: the cache, and the logits [V] of the first token of the answer."""
        arguments = dict(self.encode(inputs).tensors)
        if "logits_to_keep" in self._accepts:
            arguments["logits_to_keep"] = 1
        state = State(torch.empty(0), len(inputs.ids), None, [None] * len(self._holders), self._every_step(inputs))
        with self._work("reading the prompt"), self._offsets(state):
            output = self.model(**arguments, use_cache=True)
        state.logits, state.cache = output.logits[0, -1], output.past_key_values  # [V]
        return state

    def step(self, state: State, token_id: int) -> Tensor:
        """Append one token: the logits [V] of the next. The new id and the cache go in, and nothing else."""
        ids = torch.tensor([[token_id]], device=self.device)  # [1, 1]
        with self._work("generating"), self._offsets(state):
            output = self.model(input_ids=ids, past_key_values=state.cache, use_cache=True, **state.extra)
        state.logits, state.cache = output.logits[0, -1], output.past_key_values  # [V]
        state.length += 1
        return state.logits

    def logits_at(self, inputs: Inputs, positions: Sequence[int], chunk: int = HEAD_CHUNK) -> Iterator[Tensor]:
        """The logits at ``positions`` of the prompt, [C, V] with C <= ``chunk`` at a time, in order.

        The decoder runs once, over everything; only the head is applied in pieces, so memory grows with T x D, not
        with T x V.
        """
        hidden = self._hidden(inputs)  # [1, T, D]
        neutral = next((i for i, image in zip(inputs.ids, inputs.is_image, strict=True) if not image), 0)
        for start in range(0, len(positions), chunk):
            wanted = torch.tensor(positions[start : start + chunk], device=hidden.device)
            yield self._head(hidden[:, wanted], neutral)

    def _hidden(self, inputs: Inputs) -> Tensor:
        """What goes into the output head at every position, [1, T, D]; the head itself only sees the last one."""
        caught: list[Tensor] = []

        def catch(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            caught.append(args[0])
            return (args[0][:, -1:], *args[1:])

        arguments = dict(self.encode(inputs).tensors)
        with self._work("reading the prompt"), self._hooked(catch), self._offsets(None):
            self.model(**arguments, use_cache=False)
        return caught[0]

    def _head(self, hidden: Tensor, token_id: int) -> Tensor:
        """The head and whatever the family does behind it (scales, soft caps): [1, C, D] -> [C, V].

        The model's own ``forward`` runs over a single token, and ``hidden`` takes the place of what reaches the head.
        """
        ids = torch.tensor([[token_id]], device=self.device)  # [1, 1]
        with self._work("applying the head"), self._hooked(lambda _, args: (hidden, *args[1:])), self._offsets(None):
            return self.model(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]  # [C, V]

    @contextmanager
    def _hooked(self, hook: Any) -> Iterator[None]:
        handle = self.model.get_output_embeddings().register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _offsets(self, state: State | None) -> Iterator[None]:
        """Lend the model this conversation's own offsets; None: a fresh one, forgotten afterwards."""
        values = state.offsets if state else [None] * len(self._holders)
        for module, value in zip(self._holders, values, strict=True):
            module.rope_deltas = value
        yield
        if state:
            state.offsets = [module.rope_deltas for module in self._holders]

    @contextmanager
    def _work(self, doing: str) -> Iterator[None]:
        """One piece of work on the device, as long as it lasts and no longer: inference mode, errors of ours."""
        with memory_guard(doing), torch.inference_mode():
            try:
                yield
            except (ValueError, IndexError) as error:
                raise InputError(f"the model refuses this input while {doing}: {first_line(error)}") from error

    def _every_step(self, inputs: Inputs) -> dict[str, Any]:
        """Cross-attention decoders (mllama) need to know at every step which images the last position may see."""
        mask = inputs.tensors.get("cross_attention_mask")
        return {} if mask is None else {"cross_attention_mask": mask[:, -1:]}

    def _place(self, value: Any) -> Any:
        """To the device; floating values in the model's dtype."""
        if not isinstance(value, Tensor):
            return value
        return value.to(self.device, self.model.dtype) if value.is_floating_point() else value.to(self.device)

    def _check_length(self, ids: tuple[int, ...]) -> None:
        if not ids:
            raise InputError("the prompt is empty")
        if self.context is not None and len(ids) >= self.context:
            raise ContextOverflow(
                f"the prompt takes {len(ids)} tokens, and the model's context is {self.context}",
                hint="shorten the prompt, show fewer images, or use a model with a longer context",
            )


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer: generation_config's, else config's, else the tokenizer's."""
    for owner in (model.generation_config, model.config.get_text_config(), tokenizer):
        ids = getattr(owner, "eos_token_id", None)
        if ids is not None:
            return frozenset(ids if isinstance(ids, (list, tuple)) else [ids])
    return frozenset()


def _image_token_id(config: Any, processor: Any) -> int | None:
    """The id of an image slot, by the names that configurations and processors use."""
    places = ((config, "image_token_id"), (config, "image_token_index"), (processor, "image_token_id"))
    ids = (getattr(owner, name, None) for owner, name in places)
    return next((i for i in ids if isinstance(i, int)), None)


def _check_features(features: Any, slots: int) -> None:
    """One feature vector for each slot: [P, D] for each image, or all in one tensor [..., D]."""
    parts = features if isinstance(features, (list, tuple)) else [features]
    count = sum(part.numel() // part.shape[-1] for part in parts)
    if count != slots:
        raise InputError(
            f"the prompt has {slots} image slots, and the images make {count} features",
            hint="the processor's files do not fit the model's config.json",
        )


def _resized(tensors: Mapping[str, Any], images: int, config: Any) -> list[tuple[int, int] | None]:
    """(width, height) of each image as the model sees it; None where it is cut into tiles."""
    grid, sizes, pixels = (tensors.get(name) for name in ("image_grid_thw", "image_sizes", "pixel_values"))
    if grid is not None and len(grid) == images:
        patch = getattr(config.vision_config, "patch_size", None)
        return [(int(w) * patch, int(h) * patch) if patch else None for _, h, w in grid]
    if not isinstance(pixels, Tensor) or pixels.dim() not in (4, 5):
        return [None] * images
    if pixels.dim() == 5 and len(pixels) == 1:
        pixels = pixels[0]  # [tiles, 3, height, width], one row for each image where nothing was cut
    if pixels.dim() == 5 or len(pixels) != images:
        return [None] * images
    if sizes is not None and len(sizes) == images:
        return [(int(w), int(h)) for h, w in sizes]  # padded to the largest: image_sizes has what is picture
    return [(pixels.shape[-1], pixels.shape[-2])] * images
