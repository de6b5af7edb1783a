"""The user's own settings: a command-line flag wins over VLM_*, that over config.toml, and that over the default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from vlmcli.errors import UsageError

T = TypeVar("T", str, int, float, bool)

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's config.toml and models.toml; VLM_CONFIG_DIR overrides the system's choice."""
    if chosen := environ.get("VLM_CONFIG_DIR"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_config_path("vlm", appauthor=False)


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what can be made or fetched again; VLM_CACHE_DIR overrides the system's choice."""
    if chosen := environ.get("VLM_CACHE_DIR"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("vlm", appauthor=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file into a dict.

    Raises UsageError, naming the file and the line, where it is not valid TOML or cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path} is not valid TOML: not UTF-8 text (at line {line})") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


@overload
def setting(
    name: str, flag: T | None, default: T, *, environ: Mapping[str, str] = ..., path: Path | None = ...
) -> T: ...


@overload
def setting(
    name: str,
    flag: T | None,
    default: None,
    kind: type[T],
    *,
    environ: Mapping[str, str] = ...,
    path: Path | None = ...,
) -> T | None: ...


def setting(
    name: str,
    flag: Any,
    default: Any,
    kind: type[Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    path: Path | None = None,
) -> Any:
    """Return the value of one setting: ``flag``, else VLM_NAME, else ``name`` in config.toml, else ``default``.

    ``kind`` (str, int, float or bool) is needed where ``default`` is None. ``path`` is config.toml, if not the usual
    one. An empty environment variable counts as not set. Raises UsageError for a value of another kind.
    """
    kind = kind or type(default)
    if flag is not None:
        return flag
    variable = f"VLM_{name.upper()}"
    if text := environ.get(variable):
        return _from_text(text, kind, variable)
    path = path or config_dir(environ) / "config.toml"
    value = read_toml(path).get(name) if path.is_file() else None
    return default if value is None else _from_toml(value, kind, f"{name} in {path}")


def _from_text(text: str, kind: type[Any], where: str) -> Any:
    try:
        return _WORDS[text.strip().lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise UsageError(f"{where} is {text!r}, but must be {_name(kind)}") from error


def _from_toml(value: Any, kind: type[Any], where: str) -> Any:
    if type(value) is kind:
        return value
    if type(value) is int and kind in (float, str):
        return kind(value)
    raise UsageError(f"{where} is {value!r}, but must be {_name(kind)}")


def _name(kind: type[Any]) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a text in quotes")
