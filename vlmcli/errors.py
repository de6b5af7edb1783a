"""Every error that a user can cause, in one tree.

    VlmError                     exit code 1   something failed while running
    ├── NumericalError                     1   the model produced NaN or infinite logits
    ├── UsageError                         2   the command line or the arguments make no sense
    ├── InputError                         3   an image, a prompt or a file cannot be used
    │   ├── ImageError                     3   the bytes are not an image that can be decoded safely
    │   └── ContextOverflow                3   the prompt does not fit into the model's context
    ├── ModelError                         4   the checkpoint cannot be loaded
    │   ├── ModelNotFound                  4   no such name, folder or hub id
    │   └── Offline                        4   it would have to be downloaded, and there is no network
    ├── OutOfMemory                        5   host or device memory is exhausted
    └── BatchFailed                        6   some items of a batch failed

An error carries one line that says what is wrong and, where there is one, a hint that says what to do about it.
"""

from __future__ import annotations


class VlmError(Exception):
    """Base of the tree: ``message`` says what is wrong, ``hint`` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NumericalError(VlmError):
    """The model produced NaN or infinite logits."""


class UsageError(VlmError):
    """The command line or the arguments make no sense."""

    exit_code = 2


class InputError(VlmError):
    """An image, a prompt or a file cannot be used."""

    exit_code = 3


class ImageError(InputError):
    """The bytes are not an image that can be decoded safely."""


class ContextOverflow(InputError):
    """The prompt does not fit into the model's context."""


class ModelError(VlmError):
    """The checkpoint cannot be loaded."""

    exit_code = 4


class ModelNotFound(ModelError):
    """No such name in the catalogue, no such folder, no such repository on the hub."""


class Offline(ModelError):
    """The checkpoint would have to be downloaded, and there is no network."""


class OutOfMemory(VlmError):
    """Host or device memory is exhausted."""

    exit_code = 5


class BatchFailed(VlmError):
    """Some items of a batch failed; the others are done."""

    exit_code = 6


def first_line(error: BaseException) -> str:
    """The first line that says something of a library's message; the name of its class where it says nothing.

    A line that ends in a colon announces the next one, which belongs to it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
