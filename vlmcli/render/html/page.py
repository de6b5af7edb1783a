"""One page that needs nothing beside itself: no network, no other file, no script but its own.

The policy in its head (Content Security Policy Level 3, W3C) lets a browser run and apply exactly the script and the
style that stand in it, by their hashes, and load no picture that is not part of it. All other text is escaped on top.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import assert_never

from vlmcli.render.html import picture, tokens
from vlmcli.render.html.escape import island, text
from vlmcli.render.html.sections import Bars, Curve, Page, Section, Stages, Tabled, Tokens
from vlmcli.render.html.stages import stages
from vlmcli.render.html.table import bars, curve, notes, tabled


def page_html(page: Page) -> str:
    """The whole page, ready to be written as UTF-8."""
    style = _asset("page.css") + picture.styles(page.asked.pictures)
    script = _asset("page.js")
    texts = [section for section in page.sections if isinstance(section, Tokens)]
    content = {"maps": picture.data(page.maps), "tokens": [tokens.data(section) for section in texts]}
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{_title(page)}</title>\n<style>{style}</style>\n</head>\n<body>\n{_body(page)}"
        f'<script type="application/json" id="data">{island(content)}</script>\n<script>{script}</script>\n</body>\n</html>\n'
    )


@cache
def _asset(name: str) -> str:
    return files("vlmcli.render.html").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _title(page: Page) -> str:
    first_line = page.asked.prompt.strip().split("\n", 1)[0]
    return text(f"{first_line[:80]} · {page.asked.command}")


def _body(page: Page) -> str:
    has_pictures = bool(page.asked.pictures)
    shown = picture.figures(page.asked.pictures, page.images, page.maps)
    pictures = f'<div class="pictures">{shown}</div>' if has_pictures else ""
    main, below = _split(page.sections)
    return (
        f'{_header(page)}<main><div class="{"two" if has_pictures else "one"}">{pictures}'
        f'<div class="answer">{main}</div></div>{below}</main>{_footer(page)}'
    )


def _split(sections: tuple[Section, ...]) -> tuple[str, str]:
    """What stands beside the picture, and what stands below both."""
    numbers = iter(range(len(sections)))
    drawn = [(section, _section(section, next(numbers) if isinstance(section, Tokens) else 0)) for section in sections]
    beside = "".join(f"<section>{html}</section>" for section, html in drawn if isinstance(section, Tokens | Bars))
    below = "".join(f"<section>{html}</section>" for section, html in drawn if not isinstance(section, Tokens | Bars))
    return beside, below


def _section(section: Section, number: int) -> str:
    match section:
        case Tokens():
            return tokens.tokens(section, number)
        case Bars():
            return bars(section)
        case Stages():
            return stages(section)
        case Curve():
            return curve(section)
        case Tabled():
            return tabled(section)
    assert_never(section)


def _header(page: Page) -> str:
    system = f'<p class="system"><span>system</span> <bdi>{text(page.asked.system)}</bdi></p>' if page.asked.system else ""
    return (
        f'<header><p class="brand">{text(page.asked.command)}</p><h1><bdi>{text(page.asked.prompt)}</bdi></h1>{system}'
        f'<p class="model"><b>{text(page.model.id)}</b> {text(_where(page))}</p></header>'
    )


def _where(page: Page) -> str:
    usage = page.usage
    counted = f"{usage.prompt_tokens:,} tokens of prompt, {usage.image_tokens:,} of them from images"
    return f"{page.model.dtype} on {page.model.device} · {counted}" if usage.prompt_tokens else page.model.dtype


def _footer(page: Page) -> str:
    revision = (f"{page.model.id} at {page.model.revision}",) if page.model.revision else ()
    told = tuple(f"{page.model.id}: {note}" for note in page.model.notes)
    told += tuple(f"{image.source}: {note}" for image in page.images for note in image.notes)
    hashes = tuple(f"{image.source}: sha256 {image.sha256}" for image in page.images)
    return f"<footer>{notes(told + revision + hashes)}<p>Made with vlm. This page loads nothing from anywhere.</p></footer>\n"
