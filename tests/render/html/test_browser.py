"""Pages in a real browser: what a mouse and a keyboard find on them, and what text from a model cannot do there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.render import values
from tests.render.html import pages
from tests.render.html.browser import Browser, Tab
from vlmcli.render.html.page import page_html
from vlmcli.render.html.sections import Bar, Bars, HeatMap, Tabled, Tokens, Word, Words
from vlmcli.render.table import Column, Table

Look = Callable[..., Tab]

NASTY = (
    "<script>document.title = 'pwned'</script>",
    "</script><img src=x onerror=\"document.title='pwned'\">",
    "\"onload=\"document.title='pwned'",
    "'><svg/onload=document.title='pwned'>",
    "<!--<script>",
    "</style><style>body{display:none}</style>",
    "</title></head><iframe src='https://example.com'></iframe>",
    "a\u2028b\u2029c",
    "\u202eright to left",
    "&lt;b&gt;",
    "\x1b[31mred\x00\udc80",
    "{{constructor}} ${1} %s",
)


def painted(tab: Tab, image: int = 0) -> list[list[int]]:
    """The opacity [row][column] of an image's heat map, 0 to 255; empty where none is shown."""
    return list(
        tab.evaluate(
            f"""(() => {{
              const canvas = document.querySelectorAll("canvas.map")[{image}];
              if (canvas.hidden) return [];
              const copy = document.createElement("canvas");
              [copy.width, copy.height] = [canvas.width, canvas.height];
              const pen = copy.getContext("2d", {{willReadFrequently: true}});
              pen.drawImage(canvas, 0, 0);
              const pixels = pen.getImageData(0, 0, copy.width, copy.height).data;
              return Array.from({{length: canvas.height}}, (_, row) =>
                Array.from({{length: canvas.width}}, (_, column) => pixels[4 * (row * canvas.width + column) + 3]));
            }})()"""
        )
    )


def blocks(grid: list[list[int]]) -> dict[tuple[int, int], int]:
    """Where a heat map shows anything."""
    return {(r, c): value for r, row in enumerate(grid) for c, value in enumerate(row) if value}


def test_hovering_a_token_shows_what_else_could_have_stood_there(look: Look) -> None:
    tab = look(pages.page(pages.ANSWER))
    assert "The" in tab.text(".expected"), "before anything is hovered, the first token is shown"
    tab.hover('[data-token="2"]')
    shown = tab.text(".expected")
    assert "·star" in shown and "·heart" in shown and "25.00%" in shown and "1.250 nats" in shown
    assert "The" not in shown
    tab.hover("h1")
    assert "The" in tab.text(".expected")


def test_selecting_a_token_changes_the_map(look: Look) -> None:
    tab = look(pages.mapped())
    assert blocks(painted(tab)) == {(0, 0): 255}, "the map of the whole answer comes first"
    tab.click('[data-token="1"]')
    assert blocks(painted(tab)) == {(1, 1): 255}
    tab.click('[data-token="2"]')
    assert blocks(painted(tab)) == {(2, 3): 128}, "on the scale that the maps of tokens share"
    assert tab.evaluate("document.querySelector('#which').value") == "2"
    tab.click('[data-token="2"]')
    assert blocks(painted(tab)) == {(0, 0): 255}, "selecting it again lets it go"


def test_what_was_selected_stays_while_others_are_hovered(look: Look) -> None:
    tab = look(pages.mapped())
    tab.click('[data-token="2"]')
    tab.hover('[data-token="1"]')
    assert "·blue" in tab.text(".expected") and blocks(painted(tab)) == {(2, 3): 128}
    tab.hover("h1")
    assert "·heart" in tab.text(".expected")


def test_a_token_without_a_map_shows_none(look: Look) -> None:
    tab = look(pages.mapped())
    tab.click('[data-token="0"]')
    assert painted(tab) == []


def test_where_there_is_no_map_of_the_whole_the_first_token_with_one_is_selected(look: Look) -> None:
    answer = Tokens("Answer", (pages.token("A"), pages.token(" star", map=0)))
    tab = look(pages.page(answer, maps=(HeatMap("star", (pages.spot(3, 2),)),)))
    assert blocks(painted(tab)) == {(3, 2): 255}
    assert tab.evaluate("document.querySelector('[data-token=\"1\"]').ariaPressed") == "true"


def test_a_map_chosen_by_name_selects_its_token(look: Look) -> None:
    tab = look(pages.mapped())
    tab.evaluate("(which.value = '2', which.dispatchEvent(new Event('input')))")
    assert blocks(painted(tab)) == {(2, 3): 128} and "·heart" in tab.text(".expected")
    tab.evaluate("(which.value = '', which.dispatchEvent(new Event('input')))")
    assert painted(tab) == []


def test_how_maps_look_can_be_changed(look: Look) -> None:
    tab = look(pages.mapped())
    assert (tab.text("#low"), tab.text("#high")) == ("0", "4 nats")
    tab.click('[data-token="2"]')
    assert (tab.text("#low"), tab.text("#high")) == ("-2 nats", "2 nats")
    tab.click("#own")
    assert blocks(painted(tab)) == {(2, 3): 255} and tab.text("#high") == "1 nats"
    tab.click('[data-token="1"]')
    tab.evaluate("(look.value = 'light', look.dispatchEvent(new Event('input')))")
    dark = blocks(painted(tab))
    assert (1, 1) not in dark and len(dark) == pages.SIDE**2 - 1, "a spotlight darkens everything else"


def test_under_heat_the_picture_fades_and_under_nothing_it_does_not(look: Look) -> None:
    tab = look(pages.mapped())
    faded = "document.querySelector('.frame img').style.filter"
    assert tab.evaluate(faded) == "grayscale(0.9)"
    tab.evaluate("(strength.value = 0, strength.dispatchEvent(new Event('input')))")
    assert tab.evaluate(faded) == "grayscale(0)"
    tab.click('[data-token="0"]')
    assert tab.evaluate(faded) == "", "there is no map of this token"


def test_the_block_under_the_pointer_is_named_with_its_number(look: Look) -> None:
    tab = look(pages.mapped())
    tab.click('[data-token="2"]')
    tab.hover(".frame", at=(0.9, 0.6))
    assert tab.text("#pointed") == "row 3, column 4: -1 nats"
    tab.hover("h1")
    assert tab.text("#pointed") == ""


def test_a_block_without_a_number(look: Look) -> None:
    tab = look(pages.page(maps=(HeatMap("half known", (((float("nan"), 1.0),),)),)))
    tab.hover(".frame", at=(0.2, 0.5))
    assert tab.text("#pointed") == "row 1, column 1: no value" and blocks(painted(tab)) == {(0, 1): 255}


def test_maps_without_a_picture_do_no_harm(look: Look) -> None:
    tab = look(pages.page(pages.ANSWER, maps=pages.mapped().content.maps, pictures=0))
    tab.click('[data-token="1"]')
    assert "·blue" in tab.text(".expected")


def test_every_image_has_its_own_grid(look: Look) -> None:
    tab = look(pages.page(pages.ANSWER, maps=(HeatMap("second", (None, pages.spot(1, 0))),), pictures=2))
    assert painted(tab, 0) == [] and blocks(painted(tab, 1)) == {(1, 0): 255}


def test_arrow_keys_go_from_token_to_token_and_enter_selects(look: Look) -> None:
    tab = look(pages.mapped())
    tab.evaluate("document.querySelector('[data-token=\"0\"]').focus()")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    tab.press("ArrowLeft")
    assert "·blue" in tab.text(".expected")
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r")
    assert blocks(painted(tab)) == {(1, 1): 255}


def test_text_from_models_and_files_stays_text(look: Look) -> None:
    tokens = Tokens(NASTY[0], tuple(pages.token(text, *NASTY, map=0) for text in NASTY), NASTY)
    table = Table(tuple(Column(text) for text in NASTY), (NASTY,), NASTY[1], NASTY)
    bars = Bars(NASTY[2], tuple(Bar(text, 0.1, text, text) for text in NASTY))
    grid = Words(NASTY[4], NASTY, NASTY, ((NASTY, tuple(Word(text, 0.5, text) for text in NASTY)),))
    maps = tuple(HeatMap(text, (pages.spot(0, 0),), text) for text in NASTY)
    tab = look(pages.page(tokens, bars, Tabled(NASTY[3], (table,)), grid, maps=maps, prompt="\n".join(NASTY)))
    for index in range(len(NASTY)):
        tab.click(f'[data-token="{index}"]')
        tab.hover(".frame")
    assert tab.evaluate("document.title") == f"{NASTY[0]} · vlm attribute"
    elements = "[...document.querySelectorAll('*')].map((element) => element.localName)"
    names = tab.evaluate(elements)
    assert names.count("script") == 2 and names.count("img") == 1 and names.count("style") == 1
    assert "iframe" not in names and tab.evaluate("getComputedStyle(document.body).display") == "block"
    assert tab.evaluate("[...document.querySelectorAll('*')].every((e) => !e.onload && !e.onerror && !e.onclick)")
    cells = tab.evaluate("[...document.querySelectorAll('td')].map((cell) => cell.textContent)")
    assert cells[:5] == list(NASTY[:5])


def test_this_test_would_see_what_injected_markup_does(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "broken.html"
    page = page_html(pages.page(prompt="MARK"))
    file.write_text(
        page.replace("MARK", '<img src="https://127.0.0.1:9/x" onerror="document.title=1"><script>1</script>')
    )
    tab = browser.open(file)
    complaints = "\n".join(tab.complaints())
    assert "img-src" in complaints and "script-src" in complaints, "the policy refuses what escaping would have let in"
    assert tab.evaluate("document.title") != "1"
    tab.close()


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_light_and_dark(look: Look, dark: bool) -> None:
    wide = Table(tuple(Column(f"a wide column {n}") for n in range(30)), (("x" * 20,) * 30,))
    long = pages.page(pages.ANSWER, Tabled("Table", (wide,)), maps=pages.mapped().content.maps, prompt="x" * 300)
    tab = look(long, width=360, height=700, dark=dark)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    red = int(tab.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]"))
    assert (red < 60) if dark else (red > 200)


def test_pages_of_real_results_work_too(look: Look) -> None:
    from vlmcli.render.html.page import result_html

    asked = pages.page().asked
    positions = (values.position(0, "<s>", " a"), values.position(64, "", " the", count=64, kind="image"))
    results: tuple[Any, ...] = (
        values.answer("A", " red"),
        values.scored("a", " cat"),
        values.topk(*positions, values.position(65, " the")),
        values.topk(values.position(3, " the")),
        values.choices("yes", "no"),
        values.zeroshot(images=2),
        values.classification(),
        values.attribution("A", " red"),
        values.trace(),
        values.lens(),
        values.knockout(box=(0.0, 0.0, 9.0, 9.0)),
        values.compared(),
    )
    for result in results:
        tab = look(result_html(result, asked))
        data = json.loads(tab.evaluate("document.getElementById('data').textContent"))
        buttons = tab.evaluate("document.querySelectorAll('button.token').length")
        assert buttons == sum(len(tokens) for tokens in data["tokens"])
