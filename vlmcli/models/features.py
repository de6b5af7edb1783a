"""Image features that are kept: each image is encoded once for a model, in this process and on disk.

Shapes: n images of a prompt, or of several prompts side by side; P features of an image, D their width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor

from vlmcli.models.feature_files import FeatureFiles, Fields, digest, mapped
from vlmcli.types.result import ModelInfo

Encode = Callable[..., Any]
"""A model's ``get_image_features``: its arguments by name -> an output with ``pooler_output``."""

MEMORY_BYTES = 256_000_000

# Of an encoder's output ``forward`` needs neither what stands before the projector nor what it only passes on.
_BEFORE_PROJECTOR = ("hidden_state", "attentions")
_PASSED_ON = ("vision_outputs", "qformer_outputs", "image_tokens", "embedding_loss")


class Encoded:
    """An output of ``get_image_features`` that was put together again: fields that it has not are None."""

    def __init__(self, fields: Fields) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class Features(Protocol):
    """What encodes a model's images, or knows them: a FeatureStore, or another way (``models.changed``)."""

    def look_up(
        self, encode: Encode, arguments: Mapping[str, Any], images: Sequence[int], slots: Sequence[int] = ()
    ) -> tuple[Any, tuple[bool, ...]]:
        """What ``encode(**arguments)`` returns, and of which images it was known."""


class FeatureStore:
    """One model's features by the tensors that they were made of.

    Args:
        weights: what tells the model's weights from any other (``weights.fingerprint``).
        model: its dtype and its device count too, for they change the numbers.
        files: what outlives the process.
        memory_bytes: what is held in this one, on the CPU; the least recently used go first.
    """

    def __init__(self, weights: str, model: ModelInfo, files: FeatureFiles, memory_bytes: int = MEMORY_BYTES) -> None:
        device = model.device.partition(":")[0]
        self._identity = (weights, model.dtype, device, torch.__version__, transformers.__version__)
        self._model, self._files, self._memory_bytes = model, files, memory_bytes
        self._memory: OrderedDict[str, Fields] = OrderedDict()

    def look_up(
        self, encode: Encode, arguments: Mapping[str, Any], images: Sequence[int], slots: Sequence[int] = ()
    ) -> tuple[Any, tuple[bool, ...]]:
        """What ``encode(**arguments)`` returns, and of which images it was known.

        Images that can be told apart are looked up, and encoded, one by one, whether any of them is known or not: so an
        image has the same features every time. Images that cannot be are one entry. Nothing is kept of an output that
        holds more than tensors, or of several that no one knows how to put together.

        Args:
            images: how many each prompt shows.
            slots: how many each image has, which tells whose the tiles are. An image whose tiles make another number
                of features was taken apart at the wrong place: then all are encoded together.
        """
        total = sum(images)
        if not all(isinstance(value, Tensor) for value in arguments.values()):
            return encode(**arguments), (False,) * total
        pieces = taken_apart(arguments, images, slots)
        entries: list[Fields | None] = []
        known: list[bool] = []
        output = None
        for piece in pieces:
            key = digest(dict(sorted(piece.items())), *self._identity)
            entry = self._get(key)
            known.append(entry is not None)
            if entry is None:
                output = encode(**piece)
                entry = self._put(key, fields_of(output))
            entries.append(entry)
        whole = put_together(entries)
        if len(pieces) > 1 and not _by_row(arguments, images) and not _as_many(entries, slots):
            whole = None
        if whole is None:
            return output if len(pieces) == 1 else encode(**arguments), (False,) * total
        device = next(iter(arguments.values())).device
        moved = {name: mapped(value, lambda part: part.to(device)) for name, value in whole.items()}
        return Encoded(moved), tuple(known) * (total if len(pieces) == 1 else 1)

    def _get(self, key: str) -> Fields | None:
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        fields = self._files.read(key)
        return None if fields is None else self._remember(key, fields)

    def _put(self, key: str, fields: Fields | None) -> Fields | None:
        if fields is None:
            return None
        fields = {name: mapped(value, _own) for name, value in fields.items()}
        self._files.write(key, fields, self._model)
        return self._remember(key, fields)

    def _remember(self, key: str, fields: Fields) -> Fields:
        self._memory[key] = fields
        while sum(leaf.nbytes for held in self._memory.values() for leaf in _leaves(held)) > self._memory_bytes:
            self._memory.popitem(last=False)
        return fields


def taken_apart(
    arguments: Mapping[str, Tensor], images: Sequence[int], slots: Sequence[int] = ()
) -> list[dict[str, Tensor]]:
    """The encoder's arguments image by image; all of them in one where they cannot be told apart.

    They can where every tensor has a row for each image, or where one of them says how many rows of the pixels are an
    image's: ``crops`` [n] of a composition, ``image_grid_thw`` [n, 3] (patches of frames, rows and columns). And they
    can where every tensor has a row for each tile: tiles of one size make as many features each, so that the ``slots``
    of an image say how many of them are its own.
    """
    return _by_row(arguments, images) or _by_tile(arguments, images, slots) or [dict(arguments)]


def _by_row(arguments: Mapping[str, Tensor], images: Sequence[int]) -> list[dict[str, Tensor]]:
    """Image by image, where there is a row for each or a number of rows; else nothing."""
    total, rows = sum(images), arguments.get("crops")
    if (grid := arguments.get("image_grid_thw")) is not None:
        rows = grid.prod(-1)
    rest = {name: value for name, value in arguments.items() if name != "pixel_values"}
    pixels = arguments.get("pixel_values")
    # Where prompts show several images each, a row may be a prompt's and no image's.
    if (
        total < 2
        or (len(images) > 1 and set(images) != {1})
        or any(value.shape[:1] != (total,) for value in rest.values())
    ):
        return []
    if pixels is None:
        parts: Sequence[Tensor] = ()
    elif rows is not None and int(rows.sum()) == len(pixels):
        parts = torch.split(pixels, rows.tolist())
    elif rows is None and len(pixels) == total:
        parts = torch.split(pixels, 1)
    else:
        return []
    own = {"pixel_values": parts} if parts else {}
    columns = {name: torch.split(value, 1) for name, value in rest.items()} | own
    return [{name: columns[name][i] for name in arguments} for i in range(total)]


def _by_tile(arguments: Mapping[str, Tensor], images: Sequence[int], slots: Sequence[int]) -> list[dict[str, Tensor]]:
    """Image by image, where each tile has a row: [tiles, ...], or [1, tiles, ...] of one prompt; else nothing."""
    pixels, total = arguments.get("pixel_values"), sum(images)
    if pixels is None or total < 2 or len(slots) != total or min(slots) < 1:
        return []
    along = 1 if len(pixels) == 1 and len(images) == 1 else 0
    tiles = pixels.shape[along]
    if any(value.shape[: along + 1] != pixels.shape[: along + 1] for value in arguments.values()):
        return []
    if any(own * tiles % sum(slots) for own in slots):
        return []
    lengths = [own * tiles // sum(slots) for own in slots]
    columns = {name: torch.split(value, lengths, along) for name, value in arguments.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(total)]


def _as_many(entries: Sequence[Fields | None], slots: Sequence[int]) -> bool:
    """Whether each image made as many features as it has slots."""
    return [feature_count(Encoded(entry)) for entry in entries if entry] == list(slots)


def feature_count(output: Any) -> int:
    """How many vectors an encoder's output holds: [P, D] for each image, or all in one tensor [..., D]."""
    features = output.pooler_output if output.pooler_output is not None else output.last_hidden_state
    parts = features if isinstance(features, (list, tuple)) else [features]
    return sum(part.numel() // part.shape[-1] for part in parts)


def put_together(entries: Sequence[Fields | None]) -> Fields | None:
    """The fields of several images' outputs as one output's; None where one is missing or has a field unheard of."""
    if len(entries) == 1:
        return entries[0]
    whole = [entry for entry in entries if entry is not None and entry.keys() <= _JOINED.keys()]
    if len(whole) < len(entries):
        return None
    return {name: _JOINED[name]([entry[name] for entry in whole]) for name in whole[0]}


def _by_image(values: list[Any]) -> Any:
    """Lists have one [P, D] for each image; tensors have a row: [1, P, D] each -> [n, P, D]."""
    return torch.cat(values) if isinstance(values[0], Tensor) else [part for value in values for part in value]


def _by_layer(values: list[Any]) -> Any:
    """Lists of layers, in each of which the images stand as above."""
    return [_by_image(list(layer)) for layer in zip(*values, strict=True)]


_JOINED: dict[str, Callable[[list[Any]], Any]] = {
    "pooler_output": _by_image,
    "last_hidden_state": _by_image,
    "memory": _by_image,  # of a composition: models.fusion.Seen
    "deepstack_features": _by_layer,
    "visual_indicator_features": lambda values: values[0],  # Ovis2's marks, which no image changes
}


def fields_of(output: Any) -> Fields | None:
    """What ``forward`` needs of an encoder's output; None where it is more than tensors and lists of them."""
    given = {name: value for name, value in vars(output).items() if value is not None}
    result = "pooler_output" if "pooler_output" in given else "last_hidden_state"  # as transformers itself has it
    fields = {
        name: _listed(value)
        for name, value in given.items()
        if name == result or not (name in _PASSED_ON or any(word in name for word in _BEFORE_PROJECTOR))
    }
    return fields if all(isinstance(leaf, Tensor) for leaf in _leaves(fields)) else None


def _listed(value: Any) -> Any:
    """Tuples as lists, which is what comes back from a file."""
    return [_listed(part) for part in value] if isinstance(value, (list, tuple)) else value


def _own(part: Tensor) -> Tensor:
    """The same on the CPU, row by row as safetensors wants it, in memory that it shares with no other part."""
    return part.detach().cpu().clone(memory_format=torch.contiguous_format)


def _leaves(fields: Fields) -> list[Any]:
    found: list[Any] = []
    mapped(list(fields.values()), found.append)
    return found
