"""One page that needs nothing beside itself: no network, no other file, no script but its own.

The policy in its head (Content Security Policy Level 3, W3C) lets a browser run and apply exactly the script and the
style that stand in it, by their hashes, and load no picture that is not part of it. All other text is escaped on top.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, assert_never

from vlmcli.render.forms.forms import form_of
from vlmcli.render.html import picture, tokens
from vlmcli.render.html.escape import island, text
from vlmcli.render.html.sections import Asked, Bars, Curve, Page, Section, Stages, Tabled, Tokens, Words
from vlmcli.render.html.stages import stages
from vlmcli.render.html.table import bars, curve, notes, tabled, words
from vlmcli.types.result import Usage

_LONG_PROMPT = 160
"""Characters, from where on a prompt is no heading any more."""


def result_html(result: Any, asked: Asked) -> str:
    """The page of a result of a kind that ``vlmcli.render.forms`` knows and gives a page."""
    form = form_of(result)
    if form.page is None:
        raise TypeError(f"{type(result).__name__} has no page")
    return page_html(Page(asked, *form.page(result)))


def page_html(page: Page) -> str:
    """The whole page, ready to be written as UTF-8."""
    style = _asset("page.css") + picture.styles(page.asked.pictures)
    script = _asset("page.js")
    texts = [section for section in page.content.sections if isinstance(section, Tokens)]
    content = {"maps": picture.data(page.content.maps), "tokens": [tokens.data(section) for section in texts]}
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{_title(page)}</title>\n<style>{style}</style>\n</head>\n<body>\n{_body(page)}"
        f'<script type="application/json" id="data">{island(content)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
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
    shown = picture.figures(page.asked.pictures, page.run.images, page.content)
    pictures = f'<div class="pictures">{shown}</div>' if has_pictures else ""
    main, below = _split(_sections(page))
    return (
        f'{_header(page)}<main><div class="{"two" if has_pictures else "one"}">{pictures}'
        f'<div class="answer">{main}</div></div>{below}</main>{_footer(page)}'
    )


def _sections(page: Page) -> tuple[Section, ...]:
    """Those of the result, with the time that each stage took, unless they say that themselves."""
    own = page.content.sections
    laps = tuple((name, ms) for name, ms in page.run.timings_ms.items() if name not in ("load", "total"))
    if not laps or any(isinstance(section, Stages) and (section.timings_ms or section.table) for section in own):
        return own
    load_ms = page.run.timings_ms.get("load")
    loading = (f"loading the model took {load_ms:,.0f} ms before that",) if load_ms else ()
    if not any(isinstance(section, Stages) for section in own):
        return (*own, Stages("Time", timings_ms=laps, notes=loading))
    timed = (
        replace(section, timings_ms=laps, notes=section.notes + loading) if isinstance(section, Stages) else section
        for section in own
    )
    return tuple(timed)


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
        case Words():
            return words(section)
        case Tabled():
            return tabled(section)
    assert_never(section)


def _header(page: Page) -> str:
    asked = page.asked
    system = f'<p class="system"><span>system</span> <bdi>{text(asked.system)}</bdi></p>' if asked.system else ""
    long = ' class="long"' if len(asked.prompt) > _LONG_PROMPT else ""
    models = "".join(
        f"<b>{text(model.id)}</b> {text(f'{model.dtype} on {model.device}')} · " for model in page.run.models
    )
    return (
        f'<header><p class="brand">{text(asked.command)}</p><h1{long}><bdi>{text(asked.prompt)}</bdi></h1>{system}'
        f'<p class="model">{models}{_counted(page.run.usage)}</p></header>'
    )


def _counted(usage: Usage) -> str:
    of_images = f", {usage.image_tokens:,} of them from images" if usage.image_tokens else ""
    return f"{usage.prompt_tokens:,} tokens of prompt{of_images}"


def _footer(page: Page) -> str:
    run = page.run
    told = tuple(f"{model.id}: {note}" for model in run.models for note in model.notes)
    told += tuple(f"{image.source}: {note}" for image in run.images for note in image.notes)
    revisions = tuple(f"{model.id} at {model.revision}" for model in run.models if model.revision)
    hashes = tuple(f"{image.source}: sha256 {image.sha256}" for image in run.images)
    made = "<p>Made with vlm. This page loads nothing from anywhere.</p>"
    return f"<footer>{notes(told + revisions + hashes)}{made}</footer>\n"
