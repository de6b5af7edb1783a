"""Examples as tensors, one random generator per example: example 17 is the same whoever draws it, whenever."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from recipes.picturebook.captions import Claim, sample_claim
from recipes.picturebook.lettering import CHARACTERS
from recipes.picturebook.parts import GRID, PATCH_PX, SIDE_PX
from recipes.picturebook.questions import COURSES, READING, Turn, sample_turns
from recipes.picturebook.scenes import COLOURS, SHAPES, Scene, draw, letterings, owners, sample_scene
from recipes.picturebook.skills import mentions
from recipes.picturebook.tokenizer import answer_ids

_COLOUR_IDS = {name: i for i, name in enumerate(COLOURS)}
_SHAPE_IDS = {name: i for i, name in enumerate(SHAPES)}
_SHOWS = 0.08  # of a patch: less of an object than that and the patch counts as background
_PAGES = 0.15  # of the pictures that questions are asked about
IGNORE = -100  # of the cross entropy


def pixels_of(image: Image.Image, side_px: int = SIDE_PX) -> Tensor:
    """uint8 pixels [3, side, side], resized as the checkpoint's own image processor does."""
    resized = image.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy())


def normalised(pixels: Tensor) -> Tensor:
    """uint8 to float32 in -1..1."""
    return pixels.float() / 127.5 - 1


def patch_labels(scene: Scene) -> dict[str, Tensor]:
    """What lies under each patch: int64 [P] per question, and float32 [P, 3] offsets to the centre and log radius."""
    things, shown = _things(scene)
    order = (
        np.asarray(shown).reshape(GRID, PATCH_PX, GRID, PATCH_PX).transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
    )  # [P, 256]
    shares = (order[:, None, :] == np.arange(1, len(things) + 1)[None, :, None]).mean(-1)  # [P, things]
    winner = np.where(shares.max(1, initial=0) >= _SHOWS, shares.argmax(1) + 1 if things else 0, 0)  # [P]
    table = np.array([(0, 0, 0, 0), *(t[:4] for t in things)])[winner]  # [P, 4]
    where = np.array([(0.0, 0.0, 0.0), *(t[4:] for t in things)])[winner]  # [P, 3]
    rows, columns = np.divmod(np.arange(GRID * GRID), GRID)
    middle = np.stack([(columns + 0.5) / GRID, (rows + 0.5) / GRID], 1)
    geometry = np.where(winner[:, None] > 0, where - np.pad(middle, ((0, 0), (0, 1))), 0)
    centres = np.zeros(GRID * GRID, dtype=np.int64)
    for item in scene.items:
        centres[min(GRID - 1, int(item.y * GRID)) * GRID + min(GRID - 1, int(item.x * GRID))] += 1
    labels = {name: torch.from_numpy(table[:, i]) for i, name in enumerate(("colour", "shape", "character", "place"))}
    background = torch.full((GRID * GRID,), _COLOUR_IDS[scene.background])
    return labels | {
        "centres": torch.from_numpy(centres.clip(max=2)),
        "background": background,
        "geometry": torch.from_numpy(geometry).float(),
    }


def _things(scene: Scene) -> tuple[list[tuple[float, ...]], Image.Image]:
    """Labels (colour, shape, character, place, x, y, log radius) per thing, and a map of which thing owns a pixel."""
    image = owners(scene, SIDE_PX, SIDE_PX)
    canvas = ImageDraw.Draw(image)
    things: list[tuple[float, ...]] = []
    for item in scene.items:
        size = (
            np.log(item.radius * min(scene.width_px, scene.height_px) / np.sqrt(scene.width_px * scene.height_px)) / 4
        )
        things.append((_COLOUR_IDS[item.colour] + 1, _SHAPE_IDS[item.shape] + 1, 0, 0, item.x, item.y, size))
    for lettering in letterings(scene):
        colour = _COLOUR_IDS[lettering.colour] + 1
        for place, (character, box) in enumerate(zip(lettering.text, lettering.character_boxes, strict=True)):
            left, top, right, bottom = (v * SIDE_PX for v in box)
            what = (colour, len(SHAPES) + 1, CHARACTERS.index(character) + 1, place + 1)
            things.append((*what, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, np.log(max(0.01, box[2] - box[0])) / 4))
            canvas.rectangle((left, top, max(left, right - 1), bottom), fill=len(things))
    return things, image


class EncoderExamples(Dataset[dict[str, Any]]):
    """Pictures, what lies under their patches, and a claim about each; with ``reading`` mostly of printed words."""

    def __init__(self, seed: int, count: int, reading: bool = False) -> None:
        self.seed, self.count = seed, count
        self.stream = "reading" if reading else "encoder"
        self.kinds = {"page": 5, "text": 2, "collage": 1, None: 2} if reading else {"page": 4, "collage": 3, None: 3}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.stream}-{self.seed}-{index}")
        scene = sample_scene(rng, rng.choices(list(self.kinds), list(self.kinds.values()))[0])
        pixels = pixels_of(draw(scene, rng))
        return {"pixels": pixels, "labels": patch_labels(scene), "claim": sample_claim(rng, scene), "scene": scene}


def collate_encoder(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack; and decide which claim is true of which picture, instead of assuming that only its own is."""
    claims: list[Claim] = [e["claim"] for e in examples]
    truth = torch.tensor([[c.holds(e["scene"]) for c in claims] for e in examples])  # [B, texts]
    labels = {name: torch.stack([e["labels"][name] for e in examples]) for name in examples[0]["labels"]}
    pixels = torch.stack([e["pixels"] for e in examples])
    return {"pixels": pixels, "labels": labels, "texts": [c.text for c in claims], "truth": truth}


@dataclass(frozen=True, slots=True)
class Packed:
    """Several questions behind one prefix in one sequence; each sees the prefix and itself alone."""

    ids: list[int]
    targets: list[int]
    weights: list[float]  # of the targets: a long answer counts more than a short one, but not by its length
    positions: list[int]
    segments: list[int]  # 0: the prefix, seen by all
    named: list[tuple[int, float, float, float]]  # where an item has been named, and its place and log radius


class ConversationExamples(Dataset[dict[str, Any]]):
    """Pictures with several questions each.

    With ``written`` the scene is told in words instead of shown; with ``course`` only what that practises is asked.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        tokenizer: PreTrainedTokenizerFast,
        turns: int,
        written: bool = False,
        course: str | None = None,
    ) -> None:
        self.seed, self.count, self.tokenizer, self.turns = seed, count, tokenizer, turns
        self.written, self.course = written, course
        self.stream = "written" if written else course or "shown"
        names = ("<s>", "<|user|>", "<|assistant|>", "<image>")
        self.bos, self.user, self.assistant, self.image = tokenizer.convert_tokens_to_ids(names)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.stream}-{self.seed}-{index}")
        scene = sample_scene(rng, self._kind(rng))
        middle = self._encode(in_words(scene)) if self.written else [self.image] * GRID**2
        packed = self._pack(
            [self.bos, self.user, *middle], sample_turns(rng, scene, self.turns, self.course), scene, rng
        )
        example: dict[str, Any] = {"packed": packed}
        if not self.written:
            example["pixels"] = pixels_of(draw(scene, rng))
        return example

    def _kind(self, rng: random.Random) -> str | None:
        if self.course:
            scenes = COURSES[self.course].scenes
            return rng.choices(list(scenes), list(scenes.values()))[0]
        return "page" if not self.written and rng.random() < _PAGES else None

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _pack(self, prefix: list[int], turns: list[Turn], scene: Scene, rng: random.Random) -> Packed:
        ids, targets, weights = list(prefix), [IGNORE] * len(prefix), [0.0] * len(prefix)
        named: list[tuple[int, float, float, float]] = []
        positions, segments = list(range(len(prefix))), [0] * len(prefix)
        conversation = rng.random() < 0.15  # the turns see each other, as in a chat
        for number, turn in enumerate(turns, start=1):
            again = [self.user] * (conversation and number > 1)
            asked = [*again, *self._encode(turn.question), self.assistant]
            answer = answer_ids(self.tokenizer, turn.answer, spelled=turn.skill in READING)
            start = positions[-1] + 1 if conversation else len(prefix)
            named += self._named(turn.question, scene, len(ids) + len(again))
            ids += asked + answer
            targets += [IGNORE] * (len(asked) - 1) + answer + [IGNORE]
            weights += [len(answer) ** -0.5] * (len(asked) + len(answer))
            positions += range(start, start + len(asked) + len(answer))
            segments += [0 if conversation else number] * (len(asked) + len(answer))
        return Packed(ids, targets, weights, positions, segments, named)

    def _named(self, question: str, scene: Scene, start: int) -> list[tuple[int, float, float, float]]:
        """The last tokens of the names of items in a question that begins at position ``start``, and their geometry."""
        ends = [end for _, end in self.tokenizer(question, return_offsets_mapping=True)["offset_mapping"]]
        return [
            (start + bisect_left(ends, end), item.x, item.y, math.log(item.radius) / 2)
            for end, item in mentions(question, scene)
        ]


def in_words(scene: Scene) -> str:
    """The scene told rather than shown: what stage two reads in place of a picture."""
    parts = []
    for item in scene.items:
        row, column, size = int(item.y * 10), int(item.x * 10), int(item.radius * 40)
        parts.append(f"{item.colour} {item.shape} {column} {row} {size}.")
    if scene.lettering is not None:
        parts.append(f"{scene.lettering.colour} {' '.join(scene.lettering.text)}.")
    return f"{scene.background}. {' '.join(parts)} "


def collate_conversations(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad to the longest: all [B, T], and mask bool [B, 1, T, T] (True: may look)."""
    packed: list[Packed] = [e["packed"] for e in examples]
    length = max(len(p.ids) for p in packed)

    def padded(rows: list[list[Any]], fill: float) -> Tensor:
        return torch.tensor([row + [fill] * (length - len(row)) for row in rows])

    segments = padded([p.segments for p in packed], -1)  # [B, T]
    ours, theirs = segments[:, :, None], segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = causal & ((ours == theirs) | (theirs == 0))  # [B, T, T]
    batch = {
        "ids": padded([p.ids for p in packed], 0),
        "targets": padded([p.targets for p in packed], IGNORE),
        "weights": padded([p.weights for p in packed], 0.0),
        "positions": padded([p.positions for p in packed], 0),
        "mask": mask[:, None],
        "named": torch.tensor([(row, at) for row, p in enumerate(packed) for at, *_ in p.named]).reshape(-1, 2),
        "places": torch.tensor([place for p in packed for _, *place in p.named]).reshape(-1, 3),
    }
    return batch | ({"pixels": torch.stack([e["pixels"] for e in examples])} if "pixels" in examples[0] else {})
