"""Messages -> the model's own prompt text -> token ids with a slot for every image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from vlmcli.errors import InputError, first_line
from vlmcli.types.chat import Message

_RAW_HINT = "a raw prompt must contain the model's image placeholder once for each image"
_SENTINEL = "a sentence that no template contains"


@dataclass(frozen=True)
class Prompt:
    """A conversation and its images, in the order in which the messages show them.

    ``raw``: the text of the only message goes to the processor as it stands, without a chat template.
    """

    messages: tuple[Message, ...]
    images: tuple[Image.Image, ...] = ()
    raw: bool = False


@dataclass(frozen=True)
class Encoded:
    """What the processor made of a prompt.

    ``tensors`` are the model's inputs, a batch of one; ``image_tokens`` says how many slots each image has.
    """

    text: str
    tensors: Mapping[str, Any]
    image_tokens: tuple[int, ...]


@dataclass(frozen=True)
class EncodedBatch:
    """What the processor made of several prompts: ``tensors`` [B, T], padded on the left; the rest prompt by prompt."""

    texts: tuple[str, ...]
    tensors: Mapping[str, Any]
    image_tokens: tuple[tuple[int, ...], ...]


def has_template(processor: Any, template: str | None = None) -> bool:
    """Whether this model knows how a conversation is written."""
    return bool(template or _own_template(processor))


def encode(processor: Any, prompt: Prompt, template: str | None = None, slot_id: int | None = None) -> Encoded:
    """A prompt as the model's input tensors.

    Args:
        processor: transformers' processor, or the bare tokenizer of a text-only model.
        prompt: the conversation.
        template: a chat template (Jinja) that replaces the checkpoint's own.
        slot_id: the id of an image slot, where the model has one.

    Raises:
        InputError: no template, a template that refuses, images and slots that do not match in number.
    """
    batch = encode_batch(processor, (prompt,), template, slot_id)
    return Encoded(batch.texts[0], batch.tensors, batch.image_tokens[0])


def encode_batch(
    processor: Any, prompts: Sequence[Prompt], template: str | None = None, slot_id: int | None = None
) -> EncodedBatch:
    """The same for several prompts at once.

    Raises InputError as ``encode`` does, and where these prompts can only be taken one by one.
    """
    for prompt in prompts:
        _check_images(processor, prompt)
    raw = prompts[0].raw
    if any(prompt.raw != raw for prompt in prompts):
        raise InputError("raw prompts and others cannot share a batch")
    texts = tuple(p.messages[-1].text if raw else render(processor, p.messages, template) for p in prompts)
    images = [list(prompt.images) for prompt in prompts]
    try:
        tensors = dict(_process(processor, texts, images, raw))
    except (ValueError, KeyError, IndexError, TypeError, StopIteration, AttributeError) as error:
        these = "this prompt" if len(prompts) == 1 else "these prompts together"
        message = f"the model's processor refuses {these}: {first_line(error)}"
        raise InputError(message, hint=_RAW_HINT if raw else None) from error
    offsets = tensors.pop("text_replacement_offsets", None) or [None] * len(prompts)
    tensors.pop("labels", None)  # PaliGemma's processor adds them: training targets, not inputs
    rows = zip(tensors["input_ids"].tolist(), offsets, images, strict=True)
    slots = tuple(_slots_per_image(processor, ids, replaced, len(own), slot_id) for ids, replaced, own in rows)
    return EncodedBatch(texts, tensors, slots)


def render(processor: Any, messages: Sequence[Message], template: str | None = None) -> str:
    """The prompt text that the chat template makes of ``messages``, ending where the answer begins.

    Raises InputError if there is no template, if it refuses these messages or if it drops a part of them.
    """
    template = template or _own_template(processor)
    if template is None:
        raise InputError(
            "this model has no chat template",
            hint="use --raw to send the prompt as it stands, or give the model a `template` in models.toml",
        )
    refuse_placeholders(processor, messages)
    as_lists = _takes_lists(processor, template)
    text = _apply(processor, template, [_turn(processor, message, as_lists) for message in messages])
    _check_nothing_dropped(processor, messages, text)
    return text


def _own_template(processor: Any) -> str | None:
    """The checkpoint's template: on the processor, or only on its tokenizer; of several, the default one."""
    for owner in (processor, getattr(processor, "tokenizer", None)):
        template = getattr(owner, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        if template:
            return str(template)
    return None


def _apply(processor: Any, template: str, conversation: list[dict[str, Any]]) -> str:
    from jinja2.exceptions import TemplateError

    try:
        return str(
            processor.apply_chat_template(
                conversation, chat_template=template, add_generation_prompt=True, tokenize=False
            )
        )
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"the model's chat template refuses this conversation: {first_line(error)}") from error


def _takes_lists(processor: Any, template: str) -> bool:
    """Whether the template reads content as a list of parts; text-only ones paste it as a string."""
    probe = [{"role": "user", "content": [{"type": "text", "text": _SENTINEL}]}]
    try:
        text = _apply(processor, template, probe)
    except InputError:
        return False
    return _SENTINEL in text and "'type'" not in text


def _turn(processor: Any, message: Message, as_lists: bool) -> dict[str, Any]:
    """One message in the form that the template reads."""
    if as_lists:
        parts: list[dict[str, str]] = [{"type": "image"}] * message.images
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}
    slots = f"{_slot(processor)}\n" * message.images
    return {"role": message.role, "content": slots + message.text}


def _slot(processor: Any) -> str:
    """The placeholder that stands for an image in a prompt's text; empty where the family has none."""
    return str(getattr(processor, "image_token", None) or "")


def refuse_placeholders(processor: Any, messages: Sequence[Message]) -> None:
    """A literal placeholder in the user's words would be taken for an image."""
    if not hasattr(processor, "image_processor"):
        return
    named = {value for value in vars(processor).values() if isinstance(value, str)}
    placeholders = named & set(processor.tokenizer.get_added_vocab())  # some name a plain line break
    for placeholder in sorted(placeholders | {str(token) for token in processor.all_special_multimodal_tokens}):
        if any(placeholder in message.text for message in messages):
            raise InputError(
                f"the prompt contains {placeholder!r}, which this model reads as an image or another special slot",
                hint="leave it out, or write the whole prompt yourself with --raw",
            )


def _check_nothing_dropped(processor: Any, messages: Sequence[Message], text: str) -> None:
    """Some templates ignore system prompts or images without a word.

    No slot at all is left to the processor: Fuyu's writes its own.
    """
    for message in messages:
        if message.role != "assistant" and message.text.strip() not in text:
            raise InputError(f"the model's chat template drops the {message.role} message")
    expected, slot = sum(message.images for message in messages), _slot(processor)
    if slot and text.count(slot) not in (0, expected):
        raise InputError(f"the chat template made {text.count(slot)} image slots for {expected} images")


def _check_images(processor: Any, prompt: Prompt) -> None:
    if prompt.images and not hasattr(processor, "image_processor"):
        raise InputError("this model reads text only", hint="leave the images out, or choose another model with -m")
    shown = sum(message.images for message in prompt.messages)
    if shown != len(prompt.images) and not prompt.raw:
        raise InputError(f"the messages show {shown} images, and {len(prompt.images)} were given")


def _process(processor: Any, texts: Sequence[str], images: list[list[Image.Image]], raw: bool) -> Mapping[str, Any]:
    """Call the processor (images nested: one list for each prompt), or a text-only model's tokenizer."""
    tokenizer = getattr(processor, "tokenizer", processor)
    kwargs: dict[str, Any] = {"return_tensors": "pt"}
    begins = bool(tokenizer.bos_token) and all(text.startswith(tokenizer.bos_token) for text in texts)
    if begins or (not raw and tokenizer is processor):
        kwargs["add_special_tokens"] = False  # the template has written them already
    if len(texts) > 1:
        tokenizer.padding_side = "left"  # some processors read it there
        kwargs |= {"padding": True, "padding_side": "left", "return_attention_mask": True}
    if any(images):
        if any(len(own) > 1 for own in images) and _slot(processor):
            kwargs["return_text_replacement_offsets"] = True
        try:
            return processor(text=list(texts), images=images, **kwargs)  # type: ignore[no-any-return]
        except ValueError:
            # GOT-OCR's takes one image for each prompt, and those not in lists.
            if any(len(own) != 1 for own in images):
                raise
            return processor(text=list(texts), images=[own[0] for own in images], **kwargs)  # type: ignore[no-any-return]
    try:
        return processor(text=list(texts), **kwargs)  # type: ignore[no-any-return]
    except ValueError:
        # Some processors insist on an image; the text alone is still a prompt, unless it has a slot for one.
        slot = _slot(processor)
        if tokenizer is processor or (slot and any(slot in text for text in texts)):
            raise
        return tokenizer(list(texts), **kwargs)  # type: ignore[no-any-return]


def _slots_per_image(
    processor: Any, ids: Sequence[int], replaced: Any, images: int, slot_id: int | None
) -> tuple[int, ...]:
    """How many slots each image got: by the replaced placeholders, else by the runs of slots, else in equal parts."""
    if not images or slot_id is None:
        return (0,) * images
    total = ids.count(slot_id)
    if replaced:
        slot = processor.tokenizer.convert_ids_to_tokens(slot_id)
        counts = [part["replacement"].count(slot) for part in replaced if part["type"] == "image"]
        if len(counts) == images and sum(counts) == total:
            return tuple(counts)
    runs = [len(run) for run in re.findall("x+", "".join("x" if i == slot_id else "." for i in ids))]
    if len(runs) == images:
        return tuple(runs)
    return tuple(total // images + (i < total % images) for i in range(images))
