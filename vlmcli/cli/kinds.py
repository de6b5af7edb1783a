"""Which commands fit which kinds of model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmcli.catalog import ModelSpec

_ANY = ("vlm", "dual", "llm", "classifier", "detector", "segmenter", "painter")
_COMMANDS: dict[str, tuple[str, ...]] = {
    "ask": ("vlm", "llm"),
    "topk": ("vlm", "llm"),
    "score": ("vlm", "llm"),
    "choose": ("vlm", "llm"),
    "check": ("vlm", "llm"),
    "attribute": ("vlm",),
    "trace": ("vlm", "llm"),
    "lens": ("vlm", "llm"),
    "knockout": ("vlm",),
    "compare": ("vlm", "llm"),
    "draw": ("painter", "vlm"),
    "zeroshot": ("dual",),
    "embed": ("dual",),
    "classify": ("classifier",),
    "detect": ("detector",),
    "segment": ("segmenter",),
    "inspect": _ANY,
    "bench": ("vlm", "llm"),
}
"""The commands that need a model, and the kinds that fit; a command takes the default model of the first."""

_BESIDE = {"detector": ("segment --detector",)}
"""What a kind is good for beside the model that a command asks for."""


def kind_for(command: str) -> str:
    """The kind of the model that a command takes where none is named."""
    return _COMMANDS[command][0]


def commands_for(spec: ModelSpec) -> tuple[str, ...]:
    """The commands that a model of the catalogue fits."""
    able = [command for command, kinds in _COMMANDS.items() if spec.kind in kinds]
    if spec.kind == "vlm" and not spec.draws:
        able.remove("draw")
    return (*able, *_BESIDE.get(spec.kind, ()))


def fitting(model: object) -> tuple[str, ...]:
    """The commands that a loaded model fits."""
    return tuple(command for command in _COMMANDS if hasattr(model, command))
