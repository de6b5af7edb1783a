"""Drawn images on their way into files: each is there whole, as soon as it is finished, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmcli.inputs.outputs import replacing
from vlmcli.types.draw import DrawEvent, Drawn


def numbered(path: Path, count: int) -> list[Path]:
    """``cat.png`` for one image; for several ``cat-1.png``, ``cat-2.png`` ..., as wide as the last number."""
    if count == 1:
        return [path]
    width = len(str(count))
    return [path.with_name(f"{path.stem}-{number:0{width}}{path.suffix}") for number in range(1, count + 1)]


def keep_pictures(events: Any, paths: Sequence[Path]) -> Iterator[DrawEvent]:
    """The events of drawing; image i is in ``paths[i]`` before its Drawn passes. Closes ``events``. Raises OSError."""
    with closing(events):
        for event in events:
            if isinstance(event, Drawn):
                with replacing(paths[event.image]) as stream:
                    stream.write(event.png)
                event = replace(event, file=str(paths[event.image]))
            yield event
