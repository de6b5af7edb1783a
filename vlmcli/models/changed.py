"""One prompt read many times, with other pictures or other embeddings: what did not change is not encoded again.

These stand in the place of a ``FeatureStore``, whose files are no place for pictures that nobody will show again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmcli.models.feature_files import digest
from vlmcli.models.features import Encode, Encoded, Features, fields_of, put_together
from vlmcli.models.vlm import Vlm


def with_features(vlm: Vlm, features: Features | None) -> Vlm:
    """The same model, encoding its images in another way."""
    return Vlm(vlm.model, vlm.processor, vlm.info, vlm.template, features)


class ChangedRows:
    """Encodes only the pictures, or tiles, that differ from those it saw first.

    That takes an encoder whose only argument are pixels [rows, 3, h, w] and whose output has a row for each; of any
    other, everything is encoded.
    """

    def __init__(self) -> None:
        self._first: dict[str, Tensor] | None = None
        self._listed = False
        self.encoded = 0  # rows that went through the encoder

    def look_up(
        self, encode: Encode, arguments: Mapping[str, Any], images: Sequence[int], slots: Sequence[int] = ()
    ) -> tuple[Any, tuple[bool, ...]]:
        """What ``encode(**arguments)`` returns."""
        pixels, nothing_kept = arguments.get("pixel_values"), (False,) * sum(images)
        if set(arguments) != {"pixel_values"} or not isinstance(pixels, Tensor) or pixels.dim() != 4:
            self.encoded += sum(images)
            return encode(**arguments), nothing_kept
        keys = [digest({"row": row}) for row in pixels]
        known = self._first or {}
        new = {key: row for row, key in enumerate(keys) if key not in known}
        made: dict[str, Tensor] = {}
        if new:
            self.encoded += len(new)
            output = encode(pixel_values=pixels[list(new.values())])
            fields = fields_of(output) or {}
            rows: Any = fields.get("pooler_output")
            if set(fields) != {"pooler_output"} or len(rows) != len(new):
                return (output if len(new) == len(keys) else encode(**arguments)), nothing_kept
            self._listed = isinstance(rows, list)
            made = dict(zip(new, rows, strict=True))
        if self._first is None:
            self._first = made
        whole: Any = [(known | made)[key] for key in keys]
        return Encoded({"pooler_output": whole if self._listed else torch.stack(whole)}), nothing_kept


class Repeated:
    """Gives every prompt of a batch the features of the first prompt that it saw: all of them show the same images."""

    def __init__(self) -> None:
        self._first: Any = None

    def look_up(
        self, encode: Encode, arguments: Mapping[str, Any], images: Sequence[int], slots: Sequence[int] = ()
    ) -> tuple[Any, tuple[bool, ...]]:
        """What ``encode(**arguments)`` returns."""
        if len(images) == 1 and self._first is None:
            output = encode(**arguments)
            self._first = fields_of(output)
            return output, (False,) * sum(images)
        whole = put_together([self._first] * len(images))
        return (encode(**arguments) if whole is None else Encoded(whole)), (True,) * sum(images)
