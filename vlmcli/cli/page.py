"""--html FILE: a result as a page, beside what the command shows anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcli.cli import options

if TYPE_CHECKING:
    from vlmcli.inputs.image import LoadedImage
    from vlmcli.render.sink import Sink

_ENDINGS = (".html", ".htm")

Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the result into FILE too, as a page to look into.")
]


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Whether a command writes a page, and where."""

    html: Html = None
    force: options.Force = False

    def check(self) -> None:
        """To be called before a model is loaded. Raises UsageError and InputError for a file that cannot be written."""
        if self.html is not None:
            from vlmcli.inputs.outputs import check_output

            check_output(self.html, *_ENDINGS, force=self.force)

    def open(
        self, sink: Sink, command: str, model: Any, images: Sequence[str], prompt: str, system: str | None = None
    ) -> tuple[Sink, Sequence[str | LoadedImage]]:
        """Where to leave the result, and the images to hand to the model: read once, for a page holds them as well.

        Raises what ``vlmcli.inputs.image.load_image`` raises.
        """
        if self.html is None:
            return sink, images
        from vlmcli.cli.paged import PagedSink
        from vlmcli.inputs.picture import picture
        from vlmcli.render.html.sections import Asked

        loaded = model.read(images)
        asked = Asked(f"vlm {command}", prompt, system, tuple(picture(image) for image in loaded))
        return PagedSink(sink, self.html, asked), loaded


NO_PAGE = PageOptions()
