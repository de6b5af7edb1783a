"""Which of the words on the command line are images, and which are prompt or labels.

Images come first. What exists, is a URL, or is ``-`` is an image; what looks like the name of a file but does not
exist is an error, because a silently missing image would be answered with an invention; a path inside a longer text
is never looked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlmcli.errors import InputError, UsageError

STDIN = "-"
DEFAULT_PROMPT = "Describe the image."
DEFAULT_PROMPT_SEVERAL = "Describe the images."

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_FILE_SUFFIX = re.compile(
    r"\S\.(?:apng|avif|bmp|dng|gif|heic|heif|ico|jfif|jp2|jpe|jpeg|jpg|jxl|pbm|pgm|png|pnm|ppm|svg|tga|tif|tiff|webp"
    r"|avi|mkv|mov|mp4|pdf|webm)",
    re.IGNORECASE,
)
_NAME_MAX_BYTES = 255
_RELATIVE = ("./", "../", "~/")
_AS_PROMPT = "if it is meant as the prompt, write --prompt before it"


@dataclass(frozen=True, slots=True)
class Request:
    """Images in order, and the prompt; None where the command line has none."""

    images: tuple[str, ...]
    prompt: str | None


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """Images in order, and the labels to score against them, each once."""

    images: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Images in order, and texts in order."""

    images: tuple[str, ...]
    texts: tuple[str, ...]


def split_ask(words: Sequence[str], images: Sequence[str] = (), prompt: str | None = None) -> Request:
    """``IMAGE... [PROMPT]``: the last word is the prompt unless it is an image or ``prompt`` is given.

    Raises InputError for a word that should be a file and is none, UsageError for a second ``-`` or an empty prompt.
    """
    first, last = list(words), prompt
    if prompt is None and words and not is_image(words[-1]):
        *first, last = words
        if looks_like_file(last):
            raise _no_such_file(last, _AS_PROMPT)
    return Request(_checked_images([*images, *first]), _checked_prompt(last))


def split_topk(words: Sequence[str], images: Sequence[str] = (), prompt: str | None = None) -> Request:
    """``[IMAGE...] PROMPT``: the last word is the prompt, always.

    Raises InputError and UsageError as split_ask, and UsageError where there is no prompt.
    """
    first, last = list(words), prompt
    if prompt is None and words:
        *first, last = words
        if is_image(last) and (last == STDIN or looks_like_file(last)):
            raise UsageError(f"no prompt: {last!r} is an image", f"give a prompt after the images; {_AS_PROMPT}")
    return Request(_checked_images([*images, *first]), _checked_prompt(last))


def split_zeroshot(words: Sequence[str], images: Sequence[str] = (), labels: Sequence[str] = ()) -> LabelRequest:
    """``IMAGE... LABEL...``: images as long as the words are images, then labels, to which ``labels`` are added.

    Raises InputError for a word that should be a file and is none, UsageError for an image after a label, or where
    images or labels are missing.
    """
    request = _images_then_labels(words, images, labels)
    _some(request.images, "image")
    _some(request.labels, "label")
    return request


def split_detect(
    words: Sequence[str], images: Sequence[str] = (), labels: Sequence[str] = (), *, by_example: bool = False
) -> LabelRequest:
    """``IMAGE... LABEL...`` as above; no label beside an image that shows what is looked for.

    Raises InputError and UsageError as split_zeroshot.
    """
    request = _images_then_labels(words, images, labels)
    example = "vlm detect photo.jpg 'a cat' 'a dog' -m owlv2-base"
    _some(request.images, "image", example)
    if by_example and request.labels:
        raise UsageError("labels and --query-image exclude each other", "the image takes the place of labels")
    if not by_example:
        _some(request.labels, "label", example)
    return request


def split_segment(words: Sequence[str], images: Sequence[str] = (), labels: Sequence[str] = ()) -> LabelRequest:
    """``IMAGE [LABEL...]``: one image. Raises InputError and UsageError as split_zeroshot, but for missing labels."""
    request = _images_then_labels(words, images, labels)
    _some(request.images, "image", "vlm segment photo.jpg --point 320,240 -m sam2.1-tiny")
    if len(request.images) > 1:
        raise UsageError(f"{len(request.images)} images, and vlm segment takes one at a time")
    return request


def only_images(words: Sequence[str]) -> tuple[str, ...]:
    """``[IMAGE...]``: every word is one. Raises InputError for a word that is none, UsageError for a second ``-``."""
    return _checked_images(words)


def split_labels(words: Sequence[str], labels: Sequence[str] = ()) -> tuple[str, ...]:
    """``LABEL...`` beside a file of kept embeddings: every word is a label, each once, and ``labels`` are added.

    Raises UsageError for an image or where there is no label, InputError for a word that should be a file and is none.
    """
    for word in words:
        if is_image(word) and (word == STDIN or looks_like_file(word)):
            raise UsageError(f"the image {word!r} is given beside --embeddings", "the file takes the place of images")
        _check_label(word)
    return _some(_unique([*words, *labels]), "label", "vlm zeroshot --embeddings kept.safetensors 'a cat' 'a dog'")


def split_embed(words: Sequence[str], images: Sequence[str] = (), texts: Sequence[str] = ()) -> EmbedRequest:
    """``IMAGE|TEXT...``: what exists, is a URL or is ``-`` is an image, any other word a text, in whatever order.

    ``images`` and ``texts`` come before the words of their kind, and are taken for what they are said to be. Raises
    InputError for a word that should be a file and is none, UsageError for a second ``-``, an empty text or nothing.
    """
    for word in words:
        if not is_image(word) and looks_like_file(word):
            raise _no_such_file(word, "if it is meant as a text, write --text before it")
    pictures = [*images, *(word for word in words if is_image(word))]
    sentences = [*texts, *(word for word in words if not is_image(word))]
    if pictures.count(STDIN) > 1:
        raise UsageError("- is given twice", "standard input holds one image")
    if any(not text.strip() for text in sentences):
        raise UsageError("a text is empty")
    if not pictures and not sentences:
        raise UsageError("no image and no text", "for example: vlm embed photo.jpg 'a cat' -o kept.safetensors")
    return EmbedRequest(tuple(pictures), tuple(sentences))


def split_images(words: Sequence[str], images: Sequence[str] = ()) -> tuple[str, ...]:
    """``IMAGE...``: every word is an image. Raises InputError for one that is none, UsageError for none at all."""
    return _some(_checked_images([*images, *words], None), "image", "vlm classify photo.jpg -m MODEL")


def is_image(word: str) -> bool:
    """Whether ``word`` names an image: standard input, a URL, or something that exists."""
    return word == STDIN or is_url(word) or os.path.exists(word)


def is_url(word: str) -> bool:
    """Whether ``word`` is an http(s) URL as a whole."""
    return _URL.fullmatch(word) is not None


def looks_like_file(word: str) -> bool:
    """Whether ``word`` as a whole has the form of a file name or a URL, existing or not.

    That is: the ending of an image, film or PDF; or a path separator and no spaces; or a leading ./ ../ or ~/
    """
    if "\n" in word or (len(word) > _NAME_MAX_BYTES and " " in word):
        return False
    if word.startswith(_RELATIVE) or _has_file_suffix(word):
        return True
    separators = {os.sep, os.altsep or os.sep}
    return not re.search(r"\s", word) and len(word) > 1 and any(separator in word for separator in separators)


def with_piped_text(prompt: str | None, piped: str | None) -> str | None:
    """The prompt with the text from standard input before it, on lines of its own."""
    if not piped or not piped.strip():
        return prompt
    text = piped.rstrip("\r\n")
    return text if prompt is None else f"{text}\n{prompt}"


def default_prompt(images: Sequence[str]) -> str:
    """What is asked about images that come without a prompt. Raises UsageError where there are none either."""
    if not images:
        raise UsageError("nothing to ask: neither an image nor a prompt", "for example: vlm ask photo.jpg")
    return DEFAULT_PROMPT if len(images) == 1 else DEFAULT_PROMPT_SEVERAL


def _has_file_suffix(word: str) -> bool:
    start = word.rfind(".") - 1
    return start >= 0 and _FILE_SUFFIX.fullmatch(word, start) is not None


def _images_then_labels(words: Sequence[str], images: Sequence[str], labels: Sequence[str]) -> LabelRequest:
    end = next((i for i, word in enumerate(words) if not is_image(word)), len(words))
    leading, rest = [*images, *words[:end]], words[end:]
    if rest and not leading and looks_like_file(rest[0]):
        raise _no_such_file(rest[0], None)
    for word in rest:
        _check_label(word)
    return LabelRequest(_checked_images(leading), tuple(_unique([*rest, *labels])))


def _checked_images(images: Sequence[str], hint: str | None = "images come first, the prompt last") -> tuple[str, ...]:
    for image in images:
        if not is_image(image):
            raise _no_such_file(image, hint)
    if list(images).count(STDIN) > 1:
        raise UsageError("- is given twice", "standard input holds one image")
    return tuple(images)


def _checked_prompt(prompt: str | None) -> str | None:
    if prompt is not None and not prompt.strip():
        raise UsageError("the prompt is empty")
    return prompt


def _check_label(word: str) -> None:
    if is_image(word) and (word == STDIN or looks_like_file(word)):
        raise UsageError(f"the image {word!r} comes after a label", "give the images first, then the labels")
    if _has_file_suffix(word):
        raise _no_such_file(word, "if it is meant as a label, write --label before it")
    if not word.strip():
        raise UsageError("a label is empty")


def _unique(labels: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(labels))


def _some(words: Sequence[str], what: str, example: str = "vlm zeroshot photo.jpg 'a cat' 'a dog'") -> tuple[str, ...]:
    if not words:
        raise UsageError(f"no {what}", f"for example: {example}")
    return tuple(words)


def _no_such_file(name: str, hint: str | None) -> InputError:
    return InputError(f"no such file: {name}", hint)
