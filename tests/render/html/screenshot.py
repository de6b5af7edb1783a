"""A picture of a page, for the documentation: ``python -m tests.render.html.screenshot PAGE.html OUT.png [TOKEN]``.

TOKEN is the number of a token that is selected first. As wide as a column of text needs, as tall as the page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.render.html.browser import Browser, find_chromium

WIDTH_PX, HEIGHT_PX = 1000, 760


def main(page: str, out: str, token: str | None = None) -> None:
    """Open the page, select the token, keep the picture. Exits where there is no browser."""
    executable = find_chromium()
    if executable is None:
        sys.exit("install chromium (Debian: apt-get install chromium)")
    with TemporaryDirectory() as profile:
        browser = Browser(executable, Path(profile))
        try:
            tab = browser.open(Path(page).absolute(), width=WIDTH_PX, height=HEIGHT_PX)
            if token is not None:
                tab.click(f'[data-token="{token}"]')
            tab.screenshot(Path(out))
            # A page has few colours: the file need not hold more.
            Image.open(out).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
        finally:
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
