"""A model's anatomy: the diagram of its parts, a table of their figures, and the rest line by line."""

from __future__ import annotations

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import simple_form
from vlmcli.render.notes import Notes
from vlmcli.render.objects import (
    SCHEMA_VERSION,
    Object,
    clean,
    image_object,
    model_object,
)
from vlmcli.render.table import Column, Table, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.render.words import (
    UNKNOWN,
    count,
    size,
)
from vlmcli.types.inspect import Anatomy, Method, Part, PartRole
from vlmcli.types.result import ImageInfo

_METHODS: dict[Method, str] = {
    "A": "method A, unified embedding decoder",
    "B": "method B, cross-attention",
    "hybrid": "hybrid of A and B",
    "dual": "dual encoder",
    "none": "no fusion",
}
_FUSIONS: dict[Method, str] = {"A": "concat", "B": "cross-attention", "hybrid": "concat and cross-attention"}


def heading(anatomy: Anatomy) -> str:
    """Which model it is, and by which method it works."""
    revision = f" at {anatomy.model.revision}" if anatomy.model.revision else ""
    return one_line(f"{anatomy.model.id}{revision}: {anatomy.family}, {_METHODS[anatomy.method]}")


def diagram_lines(anatomy: Anatomy, terminal: Terminal) -> list[str]:
    """The way of image and text through the parts that this model has."""
    arrow = " ──► " if terminal.unicode else " --> "
    roles = {part.role for part in anatomy.parts}

    def way(start: str, *boxes: str) -> str:
        return " " + arrow.join([start, *boxes])

    def present(*wanted: PartRole) -> list[str]:
        return [role.replace("-", " ") for role in wanted if role in roles]

    if anatomy.method == "none":
        if "decoder" in roles:
            return [way("text", "embeddings", "decoder", "logits")]
        return [way("image", *present("encoder", "projector"), "features")]
    upper = way("image", *present("encoder", "projector"))
    if anatomy.method == "dual":
        lower = way("text ", *present("text-encoder", "projector"))
        return _joined(upper, lower, way("dot product", "score"), terminal)
    behind = way(_FUSIONS[anatomy.method], "decoder", "logits")
    return _joined(upper, way("text ", "embeddings"), behind, terminal)


def parts_table(anatomy: Anatomy) -> Table:
    """One row a part, and their sum."""
    figures = ("layers", "width", "heads", "kv heads", "parameters", "bytes")
    columns = (Column("part"), Column("architecture"), *(Column(title, "right") for title in figures), Column("dtype"))
    total = ("all", "", "", "", "", "", count(anatomy.parameters), size(anatomy.size_bytes), "")
    return Table(columns, (*map(_part_row, anatomy.parts), total))


def fact_lines(anatomy: Anatomy) -> list[str]:
    """What is not a part's own, a field a line."""
    fields = {
        "patch": _pixels(anatomy.patch),
        "image size": _pixels(anatomy.image_size),
        "vocabulary": _number(anatomy.vocabulary),
        "context": _number(anatomy.context),
        "licence": anatomy.licence or UNKNOWN,
    }
    lines = [f"{name:<12}{one_line(text)}" for name, text in fields.items()]
    return [*lines, *(f"{'image':<12}{one_line(_image_text(anatomy, image))}" for image in anatomy.images)]


def _joined(upper: str, lower: str, behind: str, terminal: Terminal) -> list[str]:
    """Two ways that meet, and the one that goes on."""
    line, top, fork, bottom = "─┐├┘" if terminal.unicode else "-+++"
    width = max(len(upper), len(lower)) + 1
    return [
        f"{upper} ".ljust(width, line) + 2 * line + top,
        " " * (width + 2) + f"{fork}{line}{'►' if terminal.unicode else '>'}{behind}",
        f"{lower} ".ljust(width, line) + 2 * line + bottom,
    ]


def _part_row(part: Part) -> tuple[str, ...]:
    stack = part.stack
    return (
        part.role.replace("-", " "),
        one_line(part.architecture),
        *(_number(value) for value in (stack.layers, stack.width, stack.heads, stack.kv_heads)),
        count(part.parameters),
        size(part.size_bytes),
        part.dtype,
    )


def _image_text(anatomy: Anatomy, image: ImageInfo) -> str:
    width, height = image.original
    seen = f" -> {_pixels(image.resized)}" if image.resized else ""
    tokens = "1 token" if image.tokens == 1 else f"{image.tokens} tokens"
    beside = ", the features go beside the text to the cross-attention layers" if anatomy.method == "B" else ""
    return f"{image.source}, {width}x{height}{seen}: {tokens}{beside}"


def _pixels(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else UNKNOWN


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def anatomy_object(anatomy: Anatomy) -> Object:
    """What a model is made of; ``parameters`` and ``size_bytes`` are the sums over its ``parts``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_object(anatomy.model),
        "images": [image_object(image) for image in anatomy.images],
        "family": clean(anatomy.family),
        "method": anatomy.method,
        "parts": [part_object(part) for part in anatomy.parts],
        "parameters": anatomy.parameters,
        "size_bytes": anatomy.size_bytes,
        "licence": anatomy.licence,
        "patch": None if anatomy.patch is None else list(anatomy.patch),
        "image_size": None if anatomy.image_size is None else list(anatomy.image_size),
        "vocabulary": anatomy.vocabulary,
        "context": anatomy.context,
        "notes": [clean(note) for note in anatomy.notes],
    }


def part_object(part: Part) -> Object:
    """One part of a model."""
    return {
        "role": part.role,
        "architecture": clean(part.architecture),
        "modules": [clean(module) for module in part.modules],
        "layers": part.stack.layers,
        "width": part.stack.width,
        "heads": part.stack.heads,
        "kv_heads": part.stack.kv_heads,
        "parameters": part.parameters,
        "size_bytes": part.size_bytes,
        "dtype": part.dtype,
    }


def _lines(anatomy: Anatomy, terminal: Terminal) -> list[str]:
    parts = table_lines(parts_table(anatomy), terminal)
    drawn = diagram_lines(anatomy, terminal)
    return [terminal.bold(heading(anatomy)), "", *drawn, "", *parts, "", *fact_lines(anatomy)]


def _notes(notes: Notes, anatomy: Anatomy) -> None:
    for text in anatomy.notes:
        notes.note(text)
    notes.images(anatomy.images)


FORM = simple_form("done", _lines, anatomy_object, before=_notes)
