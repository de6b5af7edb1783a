"""Groups of options: a command names the group, and its options are on the command line one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.main import get_command

from vlmcli.cli.groups import grouped


@dataclass(frozen=True, slots=True)
class Paint:
    colour: Annotated[str, typer.Option("--colour", "-c")] = "red"
    gloss: Annotated[bool, typer.Option("--gloss")] = False


def command(seen: list[Any]) -> Any:
    def paint(
        context: typer.Context,
        word: Annotated[str | None, typer.Argument()] = None,
        *,
        coats: Annotated[int, typer.Option("--coats")] = 1,
        paint: Paint,
    ) -> None:
        seen.append((word, coats, paint))

    app = typer.Typer()
    app.command()(grouped(paint))
    return get_command(app)


def test_options_arrive_as_their_group() -> None:
    seen: list[Any] = []
    command(seen).main(["wall", "-c", "blue", "--gloss", "--coats", "2"], standalone_mode=False)
    assert seen == [("wall", 2, Paint("blue", gloss=True))]


def test_what_is_not_given_has_the_groups_default() -> None:
    seen: list[Any] = []
    command(seen).main([], standalone_mode=False)
    assert seen == [(None, 1, Paint())]


def test_options_stand_in_the_order_of_the_signature() -> None:
    assert [param.name for param in command([]).params[:4]] == ["word", "coats", "colour", "gloss"]
