"""What ``vlm detect`` and ``vlm segment`` share: how things are looked for, and where what was found is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmcli.cli.checks import template as checked_template
from vlmcli.cli.checks import within
from vlmcli.cli.lines import read_lines

Coco = Annotated[
    Path | None, typer.Option("--coco", metavar="FILE", help="What was found as a COCO annotation file (.json).")
]


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What a detector looks for, and which of its boxes count; None leaves it to the model's family."""

    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="TEXT", help="A label. Can be repeated.")
    ] = None
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="A text file with one label a line.")] = None
    template: Annotated[
        str, typer.Option(metavar="TEXT", help="The text around each label, such as 'a photo of a {}'.")
    ] = "{}"
    threshold: Annotated[
        float | None,
        typer.Option(callback=within(0, 1), metavar="P", help="Show what scores above it; else the family's own."),
    ] = None
    nms: Annotated[
        float | None,
        typer.Option(
            callback=within(0, 1),
            metavar="IOU",
            help="Of two boxes that overlap more only the better; else the family's own.",
        ),
    ] = None
    top: Annotated[
        int | None, typer.Option(callback=within(1), metavar="N", help="The N best of an image at most.")
    ] = None

    def texts(self) -> list[str]:
        """The labels beside those among the command line's words. Raises InputError."""
        return [*(self.label or ()), *(read_lines(self.labels, "label") if self.labels else ())]

    def how(self) -> dict[str, Any]:
        """What ``DetectorModel.detect`` takes beside labels. Raises UsageError."""
        given = {"threshold": self.threshold, "nms": self.nms, "top": self.top}
        return {"template": checked_template(self.template), **given}
