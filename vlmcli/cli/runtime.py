"""What a command gets from outside: the way to a model, and the three streams. Tests hand in their own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

import typer

if TYPE_CHECKING:
    from vlmcli.weights.hub import Hub
    from vlmcli.weights.pypi import PackageClient

Loader = Callable[..., Any]
"""``vlmcli.api.load.load``, or a stand-in with its signature."""


Inspector = Callable[..., Any]
"""``vlmcli.api.inspect.inspect``, or a stand-in with its signature."""

Comparer = Callable[..., Any]
"""``vlmcli.api.compare.compare``, or a stand-in with its signature."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The outside world of one command. ``patience_s``: see vlmcli.cli.stdin.

    ``hub`` and ``packages`` are where weights are downloaded from; None is the real place.
    """

    load: Loader
    stdin: BinaryIO | None
    stdout: TextIO
    stderr: TextIO
    patience_s: float = 0.2
    hub: Hub | None = None
    packages: PackageClient | None = None
    inspect: Inspector = field(default_factory=lambda: _inspect)
    compare: Comparer = field(default_factory=lambda: _compare)

    @classmethod
    def system(cls, quick: bool = False) -> Runtime:
        """The process's own streams and the real models; what would go to a closed stream goes nowhere.

        ``quick``: the process is the command's own, and what it does not need of torch may stay out of it.
        """
        stdout, stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()
        for stream in (stdout, stderr):
            _replace_unencodable(stream)
        return cls(_load_quickly if quick else _load, getattr(sys.stdin, "buffer", None), stdout, stderr)

    @classmethod
    def of(cls, context: typer.Context) -> Runtime:
        """The runtime that main() gave to this command."""
        return cast(Runtime, context.obj)


def _load_quickly(model: str | None, **options: Any) -> Any:
    from vlmcli.models.quick import start_quickly

    start_quickly()
    return _load(model, **options)


def _load(model: str | None, **options: Any) -> Any:
    _silence_transformers()
    from vlmcli.api.load import load

    return load(model, **options)


def _inspect(model: str | None, **options: Any) -> Any:
    _silence_transformers()
    from vlmcli.api.inspect import inspect

    return inspect(model, **options)


def _compare(*asked: Any, **options: Any) -> Any:
    _silence_transformers()
    from vlmcli.api.compare import compare

    return compare(*asked, **options)


def _silence_transformers() -> None:
    # transformers' own warnings are about code, not about what the user asked; --debug users can set the variable.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _replace_unencodable(stream: TextIO) -> None:
    # A character that the locale cannot express becomes "?" and not a crash in the middle of an answer.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
