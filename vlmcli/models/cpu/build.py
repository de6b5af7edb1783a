"""The compiled step, from the user's cache folder or compiled anew.

numba notices a change in the file of a function, not in those that it calls: so the folder is named after all of them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlmcli.config import cache_dir
from vlmcli.errors import first_line
from vlmcli.models.cpu.spec import Undescribed

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Built:
    """``step`` as ``compiled.step`` describes it; ``note`` is what a user may want to know about how it came."""

    step: Callable[..., bool]
    waits_of: Callable[[int], int]
    note: str = ""


@cache
def built() -> Built:
    """The step, once a process. Raises Undescribed where numba is missing or cannot compile it."""
    began = time.perf_counter()
    try:
        import numba

        from vlmcli.models.cpu.compiled import lanes
        from vlmcli.models.cpu.compiled import step as source
    except Exception as error:  # numba refuses a numpy that is too new with an ImportError, an old llvmlite otherwise
        raise Undescribed(f"numba cannot be used: {first_line(error)}") from error
    signature, folder = _signature(numba.types), _folder(numba.__version__)
    # The loops that matter are written in vectors; looking for more of them takes a third of the time.
    with _lent(numba.config, LOOP_VECTORIZE=0, CACHE_DIR=str(folder or "")):
        if folder is not None:
            try:
                dispatcher = lanes.compiled(cache=True)(source.step)
                dispatcher.compile(signature)
                return Built(dispatcher, source.waits_of, _took(began) if dispatcher.stats.cache_misses else "")
            except Exception:
                pass  # a full disk, a damaged file; what is not about the cache comes again below
        try:
            dispatcher = lanes.compiled()(source.step)
            dispatcher.compile(signature)
        except Exception as error:
            raise Undescribed(f"numba cannot compile it: {first_line(error)}") from error
    return Built(dispatcher, source.waits_of, f"{_took(began)}, and not kept: {cache_dir()} cannot be written")


@contextmanager
def _lent(config: Any, **values: Any) -> Iterator[None]:
    """numba's settings are the process's: they are others' again afterwards."""
    before = {name: getattr(config, name) for name in values}
    vars(config).update(values)
    try:
        yield
    finally:
        vars(config).update(before)


def _took(began: float) -> str:
    return f"compiled in {time.perf_counter() - began:.1f} s"


def _folder(version: str) -> Path | None:
    """Where this source's compiled form is kept; None where nothing can be."""
    digest = hashlib.sha256(version.encode())
    for file in sorted([*_HERE.glob("compiled/*.py"), _HERE / "tables.py"]):
        digest.update(file.read_bytes())
    folder = cache_dir() / "compiled" / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _signature(types: Any) -> Any:
    """Of ``compiled.step.step``: whole numbers and addresses, tables of them, tables of float32."""
    whole = types.int64
    table = [None, *(types.Array(whole, n, "C") for n in (1, 2, 3))]
    reals = [None, *(types.Array(types.float32, n, "C") for n in (1, 2))]
    about = (whole, whole, whole, table[1], reals[1])
    weights = (table[3], table[1], table[2], whole, reals[2], reals[1])
    # mypy takes numba's types for what they stand for, which cannot be called
    returns: Any = types.boolean
    return returns(*about, *weights, table[1], table[2], whole, whole)
