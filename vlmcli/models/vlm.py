"""The parts joined: encoder, projector and decoder as one machine with three verbs, prepare, prefill and step.

Shapes: B prompts side by side, T positions of the prompt, C positions of a chunk, D width, V vocabulary. A prompt by
itself is a batch of one without padding.

Every family runs through the same few lines. What differs between them stays inside transformers: where image features
go in ``forward``, which positions and masks belong to a step in the methods that ``generate`` itself asks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from itertools import compress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vlmcli.errors import ContextOverflow, InputError, ModelError, VlmError, first_line
from vlmcli.inputs import chat
from vlmcli.inputs.chat import Prompt
from vlmcli.inputs.detokenize import Vocabulary
from vlmcli.models.blocks import decoder_blocks, replaced, splices
from vlmcli.models.cpu.wide import wide_products
from vlmcli.models.device import memory_guard
from vlmcli.models.families import family_of
from vlmcli.models.features import Features, feature_count
from vlmcli.models.prompts import Batch, ImageShape, Inputs, Row, State
from vlmcli.models.steps import OrdinarySteps, Steps
from vlmcli.types.result import ModelInfo

# The names under which processors hand over pixels; what they become is passed on in their place.
PIXELS = ("pixel_values", "pixel_values_images", "image_patches")

# What a decoder inside the model needs of the prompt's arguments once it goes on by itself.
_DECODERS_OWN = ("attention_mask", "position_ids", "use_cache")

# Positions to which the head is applied at once: [64, V] float32 is 64 MB for a vocabulary of 256,000.
HEAD_CHUNK = 64


_Prepared = TypeVar("_Prepared", Inputs, Batch)


class Vlm:
    """A model that continues text, and sees images if it has an encoder."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        info: ModelInfo,
        template: str | None = None,
        features: Features | None = None,
        steps: Steps | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.info = info
        self.template = template
        self.features = features
        self.mode: Callable[[], AbstractContextManager[Any]] = torch.inference_mode  # or what lets gradients flow
        self.steps = steps or OrdinarySteps()
        self._products = wide_products(model)
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.vocabulary = Vocabulary(self.tokenizer)
        self.device: torch.device = model.device
        self.eos_ids = _eos_ids(model, self.tokenizer)
        self.image_token_id = _image_token_id(model.config, processor)
        self._family = family_of(model.config)
        self._decoder = model.get_submodule(self._family.decoder)  # "" is the model itself
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
        batch = self.prepare_batch([prompt])
        return Inputs(**vars(batch.rows[0]), tensors=batch.tensors)

    def prepare_batch(self, prompts: Sequence[Prompt]) -> Batch:
        """The same for several prompts, padded on the left to the longest.

        Raises what ``prepare`` does, and InputError where the family's processor takes these only one by one.
        """
        if len(prompts) > 1 and self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token  # masked: which token it is does not matter
        for prompt in prompts:
            self._check_count(len(prompt.images))
        encoded = chat.encode_batch(self.processor, prompts, self.template, self.image_token_id)
        tensors = {self._family.renamed.get(k, k): self._place(v) for k, v in encoded.tensors.items()}
        sizes = _resized(tensors, sum(len(prompt.images) for prompt in prompts), self.model.config)
        rows = []
        for i, (prompt, slots) in enumerate(zip(prompts, encoded.image_tokens, strict=True)):
            own, sizes = sizes[: len(slots)], sizes[len(slots) :]
            shapes = tuple(ImageShape(size, n) for size, n in zip(own, slots, strict=True))
            rows.append(self._row(prompt, tensors, i, shapes))
        return Batch(tuple(rows), tensors)

    def encode(self, inputs: _Prepared) -> _Prepared:
        """Run the vision encoder and the projector once; the features take the place of the pixels.

        With a feature store they run only for images that it does not know yet, one by one. Families whose ``forward``
        takes no ready features keep their pixels. Raises InputError if the number of features differs from the number
        of slots.
        """
        base = self.model.base_model
        pixels = {name: None for name in PIXELS if inputs.tensors.get(name) is not None}
        if not pixels or "mm_encoder_outputs" not in self._accepts:
            return inputs
        wanted = inspect.signature(base.get_image_features).parameters
        arguments = {name: value for name, value in inputs.tensors.items() if name in wanted}
        if not arguments:
            return inputs
        encode = partial(base.get_image_features, return_dict=True)
        with self._work("encoding the images"):
            if self.features is None:
                features, cached = encode(**arguments), (False,) * sum(inputs.shown)
            else:
                features, cached = self.features.look_up(encode, arguments, inputs.shown, inputs.slots_by_image)
        _check_features(features, inputs.slots)
        # None, not absent: BLIP-2's forward insists on the argument.
        return inputs.encoded({**inputs.tensors, **pixels, "mm_encoder_outputs": {"image": features}}, cached)

    def prefill(self, inputs: Inputs) -> State:
        """Read the whole prompt: the cache, and the logits [V] of the first token of the answer."""
        state = self.prefill_batch(Batch((inputs,), inputs.tensors))
        state.logits = state.logits[0]  # [V]
        return state

    def step(self, state: State, token_id: int) -> Tensor:
        """Append one token: the logits [V] of the next."""
        state.logits = self.step_batch(state, [token_id])[0]  # [V]
        return state.logits

    def fork(self, state: State) -> State:
        """A copy of a conversation, cache and all, that goes on by itself."""
        with self._work("copying the cache"):
            return deepcopy(state)

    def prefill_batch(self, batch: Batch) -> State:
        """Read the prompts: the cache, and the logits [B, V] of the first token of each answer."""
        carried = {**self.encode(batch).tensors, "use_cache": True}
        ids = carried.pop("input_ids")  # [B, T]
        if "logits_to_keep" in self._accepts:
            carried["logits_to_keep"] = 1
        state = State(torch.empty(0), ids, carried, [None] * len(self._holders))
        with self._work("reading the prompt"), self._offsets(state):
            if "position_ids" in inspect.signature(self._decoder.forward).parameters:
                carried["position_ids"] = self._decoder._prepare_position_ids_for_generation(ids, carried)
            if (mask := carried.get("attention_mask")) is not None and bool(mask.all()):
                carried["attention_mask"] = None  # as generate does: nothing is padded, and attention is faster so
            arguments = self._decoder.prepare_inputs_for_generation(ids, is_first_iteration=True, **carried)
            output = self._reader(arguments)(**arguments, return_dict=True)
        if self._decoder is not self.model:
            state.carried = {name: carried[name] for name in _DECODERS_OWN if name in carried}
        self._advance(state, output)
        self.steps.prefilled(state, sees=any(batch.shown))
        return state

    def step_batch(self, state: State, token_ids: Sequence[int]) -> Tensor:
        """Append one token to each conversation: the logits [B, V] of the next."""
        with self._work("generating"):
            return self.steps.step(state, token_ids, partial(self._ordinary_step, state, token_ids))

    def _ordinary_step(self, state: State, token_ids: Sequence[int]) -> Tensor:
        """By transformers' own forward, as ``generate`` does."""
        new = torch.tensor([[token_id] for token_id in token_ids], device=self.device)  # [B, 1]
        state.ids = torch.cat([state.ids, new], dim=1)  # [B, T + 1]
        with self._offsets(state):
            arguments = self._decoder.prepare_inputs_for_generation(state.ids, next_sequence_length=1, **state.carried)
            output = self._decoder(**arguments, return_dict=True)
        self._advance(state, output)
        return state.logits

    def _advance(self, state: State, output: Any) -> None:
        """Take over what a forward pass made; masks and positions grow by the token that comes next."""
        state.logits = output.logits[:, -1]  # [B, V]
        output = output.get("language_model_outputs", output)  # BLIP-2's wrap those of the decoder, cache and all
        with self.mode():
            state.carried = self._decoder._update_model_kwargs_for_generation(output, state.carried, False)

    def _reader(self, arguments: Mapping[str, Any]) -> Any:
        """What reads a prompt: the whole model, or without images the decoder where the model insists on one."""
        seen = any(name in arguments for name in (*PIXELS, "mm_encoder_outputs"))
        return self.model if seen else self._decoder

    def logits_at(self, inputs: Inputs, positions: Sequence[int], chunk: int = HEAD_CHUNK) -> Iterator[Tensor]:
        """The logits at ``positions`` of the prompt, [C, V] with C <= ``chunk`` at a time, in order.

        The decoder runs once, over everything; only the head is applied in pieces, so memory grows with T x D, not
        with T x V.
        """
        hidden = self.hidden(inputs)  # [1, T, D]
        neutral = next((i for i, image in zip(inputs.ids, inputs.is_image, strict=True) if not image), 0)
        for start in range(0, len(positions), chunk):
            wanted = torch.tensor(positions[start : start + chunk], device=hidden.device)
            yield self._head(hidden[:, wanted], neutral)

    def hidden(self, inputs: Inputs) -> Tensor:
        """What goes into the output head at every position, [1, T, D]; the head itself only sees the last one."""
        caught: list[Tensor] = []

        def catch(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            caught.append(args[0])
            return (args[0][:, -1:], *args[1:])

        arguments = dict(self.encode(inputs).tensors)
        with self._work("reading the prompt"), self._hooked(catch), self._offsets(None):
            self._reader(arguments)(**arguments, use_cache=False)
        return caught[0][:, -len(inputs.ids) :]  # GIT's image features stand before the text

    def _head(self, hidden: Tensor, token_id: int) -> Tensor:
        """The head and whatever the family does behind it (scales, soft caps): [1, C, D] -> [C, V].

        The model's own ``forward`` runs over a single token, and ``hidden`` takes the place of what reaches the head.
        """
        if self._family.bare_head:
            with self._work("applying the head"):
                return self.model.get_output_embeddings()(hidden)[0]  # type: ignore[no-any-return]  # [C, V]
        ids = torch.tensor([[token_id]], device=self.device)  # [1, 1]
        with self._work("applying the head"), self._hooked(lambda _, args: (hidden, *args[1:])), self._offsets(None):
            return self._decoder(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]  # [C, V]

    def read_out(self, hidden: Tensor) -> Tensor:
        """What the decoder makes of hidden states [1, C, D] behind its last block: norm, head and all, [C, V].

        Raises ModelError for families whose ``forward`` takes no text without an image.
        """
        if self._family.bare_head:
            raise ModelError("this model reads no text without an image, so its head cannot be applied by itself")
        ids = torch.zeros(1, 1, dtype=torch.long, device=self.device)  # [1, 1]; which token it is does not matter
        with self._work("applying the head"), replaced(self.blocks[-1], hidden), self._offsets(None):
            return self._decoder(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]  # [C, V]

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The decoder's transformer blocks. Raises ModelError where they cannot be told."""
        return decoder_blocks(self.model)

    def shown(self, inputs: Row) -> tuple[bool, ...]:
        """Which positions hold image embeddings: the slots, unless cross-attention reads the image beside the text."""
        return inputs.is_image if self._splices else (False,) * len(inputs.ids)

    @cached_property
    def _splices(self) -> bool:
        return splices(self.model)

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
        try:
            with memory_guard(doing), self.mode(), self._products():
                yield
        except VlmError:
            raise
        except (ValueError, IndexError, RuntimeError) as error:
            raise InputError(f"the model refuses this input while {doing}: {first_line(error)}") from error
        except Exception as error:  # a family whose forward is called in another way than all the others
            raise ModelError(f"{self.info.id} fails while {doing}: {first_line(error)}") from error

    def _row(self, prompt: Prompt, tensors: Mapping[str, Any], i: int, images: tuple[ImageShape, ...]) -> Row:
        """What the model counts of the ``i``-th prompt, its padding left out."""
        ids, mask = tensors["input_ids"][i], tensors.get("attention_mask")  # [T], [B, T]
        marks = tensors.get(self._family.slot_mask)
        slots = ids == (-1 if self.image_token_id is None else self.image_token_id) if marks is None else marks[i]
        kept = [True] * len(ids) if mask is None else mask[i].bool().tolist()
        row = Row(tuple(compress(ids.tolist(), kept)), tuple(compress(slots.bool().tolist(), kept)), images)
        if len(images) == 1:
            row = replace(row, images=(replace(images[0], tokens=sum(row.is_image)),))
        self._check_length(row.ids)
        if prompt.images and not any(row.is_image) and self.image_token_id is not None:
            raise InputError("the prompt has no slot for its images, so the model would not see them")
        return row

    def _place(self, value: Any) -> Any:
        """To the device; floating values in the model's dtype."""
        if not isinstance(value, Tensor):
            return value
        return value.to(self.device, self.model.dtype) if value.is_floating_point() else value.to(self.device)

    def _check_count(self, images: int) -> None:
        limit = self._family.images
        if limit is not None and images > limit:
            raise InputError(f"this model reads {limit} image in a prompt, and {images} were given")

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


def _check_features(output: Any, slots: int) -> None:
    """One feature vector for each slot."""
    if (count := feature_count(output)) != slots:
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
