"""Rows of log-probabilities on disk: what one model said at many positions, for another one to be compared with.

Shapes: C rows of a chunk, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

import torch
from torch import Tensor

from vlmcli.errors import VlmError

_BYTES = 4  # of a float32


class Rows:
    """Rows [V] of float32 in a file, written once and read in the same order.

    3,000 positions of a vocabulary of 150,000 are 1.8 GB, which nobody wants to hold in memory beside a model.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0
        self.width = 0

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[Rows]:
        """In a nameless file in the folder for such files, which is gone afterwards."""
        with TemporaryFile() as file:
            yield cls(file)

    def add(self, rows: Tensor) -> None:
        """Append rows [C, V]. Raises VlmError where the disk is full."""
        self.count, self.width = self.count + len(rows), rows.shape[-1]
        try:
            self._file.write(rows.detach().float().cpu().contiguous().numpy().data)
        except OSError as error:
            raise VlmError(
                f"cannot keep {self.count * self.width * _BYTES / 1e6:,.0f} MB of log-probabilities: "
                f"{(error.strerror or str(error)).lower()}",
                hint="set TMPDIR to a folder with more room, or compare the answer alone",
            ) from error

    def read(self) -> Iterator[Tensor]:
        """The rows [V], one after the other, on the CPU."""
        self._file.flush()
        self._file.seek(0)
        for _ in range(self.count):
            yield torch.frombuffer(bytearray(self._file.read(self.width * _BYTES)), dtype=torch.float32)
