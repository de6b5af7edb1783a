"""vlm compose: a model of parts that the user chooses."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vlmcli.cli.checks import within
from vlmcli.cli.options import QuietOptions
from vlmcli.cli.runtime import Runtime

_PATCHES = "patches"


def compose(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True)],
    vision: Annotated[
        str,
        typer.Option(
            "--vision",
            metavar="MODEL",
            help="Whose vision encoder; patches:PX:SIDE takes patches of pixels as they are.",
        ),
    ],
    decoder: Annotated[str, typer.Option("--decoder", metavar="MODEL", help="Whose decoder.")],
    projector: Annotated[
        str,
        typer.Option(
            "--projector",
            metavar="KIND|MODEL|FILE",
            help="linear, mlp, pixel-shuffle-mlp, average-pool or perceiver; a model; or a safetensors file.",
        ),
    ] = "mlp",
    fusion: Annotated[
        str, typer.Option("--fusion", metavar="FUSION", help="concat, cross-attention or hybrid.")
    ] = "concat",
    every: Annotated[
        int | None,
        typer.Option("--every", callback=within(1), metavar="N", help="Cross-attention before every N-th block."),
    ] = None,
    tiles: Annotated[
        int | None,
        typer.Option("--tiles", callback=within(1), metavar="N", help="Cut a picture into up to N tiles."),
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="JINJA", help="The chat template, if the decoder has none.")
    ] = None,
    output: QuietOptions,
) -> None:
    """Join a vision encoder, a projector and a decoder, and keep the result under NAME.

    The entry is written into your own models.toml. A new projector is random: it has to be trained.
    """
    from vlmcli.catalog import Catalog, own_file
    from vlmcli.tasks.compose import compose as put_together

    sink = output.sink(Runtime.of(context))
    table: dict[str, Any] = {
        "vision": _vision(vision),
        "projector": _projector(projector),
        "decoder": decoder,
        "fusion": fusion,
        **{k: v for k, v in {"every": every, "tiles": tiles, "template": template}.items() if v is not None},
    }
    sink.show(put_together(name, table, Catalog.load(), own_file()))


def _vision(word: str) -> str | dict[str, int]:
    """A model, or patches of so many pixels of pictures of so many."""
    kind, _, sizes = word.partition(":")
    patch, _, side = sizes.partition(":")
    if kind == _PATCHES and patch.isdigit() and side.isdigit():
        return {"patch_px": int(patch), "side_px": int(side)}
    return word


def _projector(word: str) -> dict[str, str]:
    """One of the kinds, a safetensors file, or a model to take the projector from."""
    from vlmcli.catalog import PROJECTORS

    return {"kind": word} if word in PROJECTORS else {"from": word}
