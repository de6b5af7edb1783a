"""A microscope for vision-language models: ``from vlmcli import load``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmcli.api.load import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import vlmcli`` alone loads neither torch nor transformers."""
    if name == "load":
        from vlmcli.api.load import load

        return load
    if name == "__version__":
        from importlib.metadata import version

        return version("vlmcli")
    raise AttributeError(f"module 'vlmcli' has no attribute {name!r}")
