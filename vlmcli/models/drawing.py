"""Models that draw: the decoder says an image's tokens one by one, and a decoder of pixels develops them.

Janus (arXiv:2410.13848) has words of its own for what it draws: embeddings, a head, a code book. Emu3
(arXiv:2409.18869) draws with words of the one vocabulary, the end of each row among them.

Shapes: n images side by side; R rows of the batch, n that read the prompt and, where the drawing is guided, n that do
not; T positions; K tokens of an image; D width of the decoder; V words of its head; H and W in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import ContextOverflow, InputError, UsageError, first_line
from vlmcli.inputs import chat
from vlmcli.models.device import memory_guard
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message


@dataclass(frozen=True)
class Canvas:
    """An image that is to be drawn: ``ids`` and ``mask`` [1 or 2, T] are the prompt's and, if guided, the other one's.

    ``grid`` (rows, columns) counts the code book's words in it; ``tokens`` is K.
    """

    ids: Tensor
    mask: Tensor
    grid: tuple[int, int]
    size: tuple[int, int]
    tokens: int

    @property
    def prompt_tokens(self) -> int:
        """Without padding."""
        return int(self.mask[0].sum())


@dataclass
class Sketch:
    """Images in progress: the logits [R, V] of the token that comes next, the mask [R, T] and the cache behind them."""

    logits: Tensor
    mask: Tensor
    cache: Any


class Drawer(ABC):
    """A model's drawing half. ``guidance`` and ``top_k`` are its makers' advice; the checkpoint's own comes first."""

    guidance: float
    top_k: int = 0
    resizes: ClassVar[bool] = False

    def __init__(self, vlm: Vlm) -> None:
        self.vlm, self.model, self.processor = vlm, vlm.model, vlm.processor
        self.device = vlm.device
        advice = vlm.model.generation_config
        self.guidance = float(getattr(advice, "guidance_scale", None) or self.guidance)
        self.top_k = int(getattr(advice, "top_k", None) or self.top_k)

    # What the families differ in.

    @abstractmethod
    def lay_out(self, prompt: str, negative: str, size: str | None, guided: bool) -> Canvas:
        """The prompt as the model reads it before it draws, beside the one that guidance leads away from.

        Raises InputError, UsageError for a size or a negative prompt that the family does not know, ContextOverflow.
        """

    @property
    @abstractmethod
    def decoder(self) -> Any:
        """The decoder without its heads: embeddings [R, T, D] -> hidden states [R, T, D]."""

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Tokens of the image [R, 1] -> [R, 1, D]."""

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [R, D] -> logits of the image's tokens [R, V]."""

    def allowed(self, canvas: Canvas, index: int) -> Tensor | None:
        """The ids of which token number ``index`` is one; None for any."""
        return None

    @abstractmethod
    def develop(self, canvas: Canvas, tokens: Tensor) -> Tensor:
        """Tokens [n, K] -> pixels [n, 3, H, W], normalised as the image processor normalises what it reads."""

    # What they share.

    def begin(self, canvas: Canvas, count: int) -> Sketch:
        """Read the prompt for ``count`` images: the logits of the first token of each."""
        ids = canvas.ids.repeat_interleave(count, dim=0)  # [R, T]
        mask = canvas.mask.repeat_interleave(count, dim=0)  # [R, T]
        sketch = Sketch(torch.empty(0), mask, None)
        with _work("reading the prompt"):
            self._read(sketch, self.model.get_input_embeddings()(ids))
        return sketch

    def extend(self, sketch: Sketch, ids: Sequence[int]) -> None:
        """Append one token to each of the n images; those that do not read the prompt read the same image."""
        new = torch.tensor(ids, device=self.device)[:, None]  # [n, 1]
        new = new.repeat(len(sketch.mask) // len(ids), 1)  # [R, 1]
        sketch.mask = torch.cat([sketch.mask, torch.ones_like(new)], dim=1)  # [R, T + 1]
        with _work("drawing"):
            self._read(sketch, self.embed(new))

    def pictures(self, canvas: Canvas, tokens: Sequence[Sequence[int]]) -> list[Image.Image]:
        """The images that n lists of K tokens stand for."""
        with _work("developing the image"):
            pixels = self.develop(canvas, torch.tensor(tokens, device=self.device)).float().cpu()  # [n, 3, H, W]
        mean, std = (torch.tensor(given)[:, None, None] for given in self._normalised)  # [3, 1, 1] each
        levels = (255 * (pixels * std + mean)).clip(0, 255).to(torch.uint8)  # [n, 3, H, W]
        return [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in levels]  # [H, W, 3]

    @property
    def _normalised(self) -> tuple[list[float], list[float]]:
        reader = self.processor.image_processor
        return list(reader.image_mean), list(reader.image_std)

    def _read(self, sketch: Sketch, embeds: Tensor) -> None:
        """Read embeddings [R, C, D] after what was read before."""
        positions = (sketch.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -embeds.shape[1] :]  # [R, C]
        padded = None if bool(sketch.mask.all()) else sketch.mask  # without a mask, attention is faster
        output = self.decoder(
            inputs_embeds=embeds,
            attention_mask=padded,
            position_ids=positions,
            past_key_values=sketch.cache,
            use_cache=True,
        )
        sketch.cache = output.past_key_values
        sketch.logits = self.head(output.last_hidden_state[:, -1])  # [R, V]

    def _check_room(self, canvas: Canvas) -> Canvas:
        needed = canvas.ids.shape[1] + canvas.tokens
        if self.vlm.context is not None and needed > self.vlm.context:
            raise ContextOverflow(
                f"this image takes {canvas.tokens} tokens and its prompt {canvas.ids.shape[1]}, "
                f"and the model's context is {self.vlm.context}",
                hint="draw a smaller image, or shorten the prompt" if self.resizes else "shorten the prompt",
            )
        return canvas


class JanusDrawer(Drawer):
    """Janus and Janus-Pro: 576 words of an own code book, in a square of a fixed size."""

    guidance = 5.0

    def lay_out(self, prompt: str, negative: str, size: str | None, guided: bool) -> Canvas:
        if negative:
            raise UsageError("Janus takes no negative prompt: its guidance leads away from an empty one")
        side = self.model.config.vq_config.num_patches
        pixels = side * 2 ** (len(self.model.config.vq_config.channel_multiplier) - 1)
        if size is not None and size not in ("1:1", f"{pixels}x{pixels}"):
            raise UsageError(f"this model draws images of {pixels} x {pixels} pixels only", hint="leave --size out")
        text = chat.render(self.processor, (Message("user", prompt),), self.vlm.template)
        begins = bool(self.vlm.tokenizer.bos_token) and text.startswith(self.vlm.tokenizer.bos_token)
        read = self.processor(text=text, generation_mode="image", return_tensors="pt", add_special_tokens=not begins)[
            "input_ids"
        ].to(self.device)  # [1, T]
        ids = torch.cat([read, self._emptied(read)]) if guided else read  # [1 or 2, T]
        grid, tokens = (side, side), self.model.config.vision_config.num_image_tokens
        return self._check_room(Canvas(ids, torch.ones_like(ids), grid, (pixels, pixels), tokens))

    def _emptied(self, ids: Tensor) -> Tensor:
        """The prompt with padding in the place of its words, which attention sees: so the model was trained."""
        tokenizer = self.vlm.tokenizer
        start = tokenizer.convert_tokens_to_ids(self.processor.image_start_token)
        kept = (ids == tokenizer.bos_token_id) | (ids == start)
        return torch.where(kept, ids, tokenizer.pad_token_id)

    @property
    def decoder(self) -> Any:
        return self.model.model.language_model

    def embed(self, ids: Tensor) -> Tensor:
        return self.model.prepare_embeddings_for_image_generation(ids)  # type: ignore[no-any-return]

    def head(self, hidden: Tensor) -> Tensor:
        return self.model.model.generation_head(hidden)  # type: ignore[no-any-return]

    def develop(self, canvas: Canvas, tokens: Tensor) -> Tensor:
        return self.model.decode_image_tokens(tokens).permute(0, 3, 1, 2)  # type: ignore[no-any-return]  # [n, 3, H, W]


class Emu3Drawer(Drawer):
    """Emu3: any size; a row is as many visual words as it has columns, and a word that ends it."""

    guidance = 3.0
    top_k = 2048
    resizes = True

    def lay_out(self, prompt: str, negative: str, size: str | None, guided: bool) -> Canvas:
        """Both prompts end in the image's size, as in the makers' own script."""
        texts = [prompt, negative] if guided else [prompt]
        chat.refuse_placeholders(self.processor, [Message("user", text) for text in texts])
        self.vlm.tokenizer.padding_side = "left"
        read = self.processor(
            text=texts,
            return_for_image_generation=True,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            return_attention_mask=True,
            **_shape(size),
        )
        rows, columns = (int(length) for length in read["image_sizes"][0])
        if rows < 1 or columns < 1:
            raise UsageError(f"an image of size {size} has no pixels that the model could draw")
        side = self.processor.downsample_ratio
        ids, mask = read["input_ids"].to(self.device), read["attention_mask"].to(self.device)
        pixels = (columns * side, rows * side)
        return self._check_room(Canvas(ids, mask, (rows, columns), pixels, rows * (columns + 1)))

    @property
    def decoder(self) -> Any:
        return self.model.model.text_model

    def embed(self, ids: Tensor) -> Tensor:
        return self.model.get_input_embeddings()(ids)  # type: ignore[no-any-return]

    def head(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(hidden)  # type: ignore[no-any-return]

    def allowed(self, canvas: Canvas, index: int) -> Tensor:
        words = self.model.vocabulary_mapping
        ends = (index + 1) % (canvas.grid[1] + 1) == 0
        return torch.tensor([words.eol_token_id] if ends else words.image_tokens, device=self.device)

    def develop(self, canvas: Canvas, tokens: Tensor) -> Tensor:
        rows, columns = canvas.grid
        closed = torch.nn.functional.pad(tokens, (0, 3))  # the words that end an image: no one reads them
        return self.model.decode_image_tokens(  # type: ignore[no-any-return]  # [n, 3, H, W]
            image_tokens=closed, height=rows, width=columns
        )


_DRAWERS: dict[str, type[Drawer]] = {"janus": JanusDrawer, "emu3": Emu3Drawer}

WHO_DRAWS = "Janus and Emu3 can: -m picturebook-draw, -m janus-pro-1b, -m janus-pro-7b, -m emu3-gen"


def drawer_of(vlm: Vlm) -> Drawer:
    """The drawing half of a model. Raises UsageError for a model without one."""
    drawer = _DRAWERS.get(vlm.model.config.model_type)
    if drawer is None:
        raise UsageError(f"{vlm.info.id} cannot draw: it answers in words only", hint=WHO_DRAWS)
    return drawer(vlm)


def _shape(size: str | None) -> dict[str, Any]:
    """``WIDTHxHEIGHT`` in pixels, or ``W:H`` as a ratio -> what Emu3's processor takes; None is a square."""
    if size is None:
        return {}
    between = "x" if "x" in size else ":"
    width, _, height = size.partition(between)
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and int(width) * int(height)):
        raise UsageError(f"{size!r} is no size", hint="write pixels, such as 720x720, or a ratio, such as 16:9")
    area = {"image_area": int(width) * int(height)} if between == "x" else {}
    return {"ratio": f"{int(width)}:{int(height)}", **area}


@contextmanager
def _work(doing: str) -> Iterator[None]:
    """One piece of work on the device: inference mode, errors of ours."""
    try:
        with memory_guard(doing), torch.inference_mode():
            yield
    except (ValueError, IndexError, RuntimeError) as error:
        raise InputError(f"the model fails while {doing}: {first_line(error)}") from error
