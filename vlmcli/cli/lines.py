"""Text files that hold one item a line."""

from __future__ import annotations

from pathlib import Path

from vlmcli.errors import InputError


def read_lines(file: Path, what: str) -> list[str]:
    """One ``what`` a line, empty lines left out. Raises InputError where the file is missing, empty or no text."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read the {what}s: {(error.strerror or str(error)).lower()}: {file}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the {what}s are not UTF-8 text: {file}") from error
    items = [line.strip() for line in lines if line.strip()]
    if not items:
        raise InputError(f"no {what}s in {file}", f"it should hold one {what} a line")
    return items
