"""Pages as text: they stand alone, and what does not move needs no script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.render import values
from tests.render.html import pages
from vlmcli.render.html.escape import island, text, token_text
from vlmcli.render.html.page import page_html, result_html
from vlmcli.render.html.sections import (
    Bar,
    Bars,
    Content,
    Curve,
    Mark,
    Page,
    Point,
    Segment,
    Stages,
    Tabled,
    Word,
    Words,
)
from vlmcli.render.table import Column, Table


class Seen(HTMLParser):
    """Every attribute, and the text of every element by its name."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page_html(page))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.texts.setdefault(tag, []).append("")
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


EVERYTHING = pages.page(
    pages.ANSWER,
    Bars("Options", (Bar("red", 0.75, "75.00%"), Bar("blue", float("nan"), "nan")), ("a note",)),
    Stages("Stages", (Segment("text", 9), Segment("image", 64, "a.png")), (("prefill", 12.5), ("decode", 2000.0))),
    Curve("Cut", (Point("block 1", 0.5), Point("block 2", 1.5)), Point("nothing cut", 0.9)),
    Curve("Empty", ()),
    Words("Layers", ("token",), ("1", "2 = last"), ((("a",), (Word("the", 0.2, "the 20%"), Word("cat", 0.95))),)),
    Tabled("Table", (Table((Column("n", "right"),), (("1",),), "caption", ("below",)),), folded=True),
    maps=pages.mapped().content.maps,
)


def test_nothing_is_loaded_from_anywhere() -> None:
    seen = Seen(EVERYTHING)
    for tag, name, value in seen.attributes:
        assert not name.startswith("on") and name != "style", f"{tag} has {name}"
        if name in ("src", "href", "action", "data", "srcset", "poster"):
            assert value.startswith("data:"), f"{tag} {name}={value[:40]}"
    (style,) = seen.texts["style"]
    assert "url(" not in style and "@import" not in style


def test_the_policy_names_exactly_the_script_and_the_style_of_the_page() -> None:
    seen = Seen(EVERYTHING)
    (policy,) = [value for _, name, value in seen.attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    _, script = seen.texts["script"]
    for kind, content in (("style", seen.texts["style"][0]), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "</script" not in script and "<!--" not in script


def test_what_does_not_move_needs_no_script() -> None:
    seen = Seen(EVERYTHING)
    assert seen.texts["td"][-1] == "1" and "caption" in seen.texts["caption"]
    assert "text 9" in page_html(EVERYTHING) and "image a.png 64" in page_html(EVERYTHING)
    assert "2.01 s" in page_html(EVERYTHING), "the stages together"
    widths = [value for tag, name, value in seen.attributes if tag == "rect" and name == "width"]
    assert "75.00" in widths and "nan" not in widths


def test_words_of_layers_are_shaded_by_their_probability() -> None:
    page = page_html(EVERYTHING)
    assert '<td class="w1" title="the 20%"><bdi>the</bdi></td><td class="w4"><bdi>cat</bdi></td>' in page


def test_a_box_lies_where_it_does_in_the_original_image() -> None:
    content = Content((), marks=(Mark((10, 20, 70.5, 50), "<box>"), Mark((0, 0, 1, 1), image=1)))
    plain = pages.page()
    seen = Seen(replace(plain, run=replace(plain.run, timings_ms={}), content=content))
    boxes = [(name, value) for tag, name, value in seen.attributes if tag == "rect"]
    assert boxes == [("x", "10"), ("y", "20"), ("width", "60.5"), ("height", "30")], "that of another image is not here"
    assert ("svg", "viewbox", "0 0 640 480") in seen.attributes, "the picture is 80x60"


def test_the_time_of_a_run_is_shown_once() -> None:
    plain = page_html(pages.page(pages.ANSWER))
    assert plain.count("forward 2.0 ms") == 2 and "loading the model took 5 ms" in plain, "in the strip and its key"
    told = page_html(pages.page(Stages("Stages", (Segment("text", 9),))))
    assert told.count("forward 2.0 ms") == 2 and told.count("<h2>") == 1
    own = page_html(pages.page(Stages("Stages", timings_ms=(("mine", 1.0),))))
    assert "forward" not in own.partition("<main>")[2].partition("</main>")[0]
    untimed = pages.page()
    assert "<h2>" not in page_html(replace(untimed, run=replace(untimed.run, timings_ms={})))


def test_what_has_to_be_known_stands_below() -> None:
    model = replace(values.MODEL, notes=("random weights",), revision="abc")
    page = pages.page()
    below = page_html(replace(page, run=replace(page.run, models=(values.MODEL, model)))).partition("<footer>")[2]
    for known in ("tiny: random weights", "tiny at abc", "red.png: first frame of 12", "red.png: sha256 abab"):
        assert known in below


def test_a_result_without_a_page_is_a_mistake_of_the_command() -> None:
    with pytest.raises(TypeError, match="Anatomy has no page"):
        result_html(values.anatomy(), pages.page().asked)


def test_the_prompt_of_topk_is_shown_as_it_is_read() -> None:
    positions = (
        values.position(0, "<s>", "<image>"),
        values.position(64, "<image>", " the", count=64, kind="image"),
        values.position(65, " the"),
    )
    page = result_html(values.topk(*positions), pages.page().asked)
    (data,) = re.findall(r'id="data">(.*?)</script>', page)
    start, image, the, behind = json.loads(data)["tokens"][0]
    assert (start["label"], start["facts"], start["top"]) == ("<s>", [], [])
    assert image["label"] == "<image> x64" and [name for name, _ in image["facts"]] == ["entropy"]
    assert the["label"] == "·the" and ["rank", "2"] in the["facts"]
    assert [top["label"] for top in the["top"]] == ["·red", "·blue", "·the"], "what came is added to what was expected"
    assert behind["label"] == "?" and behind["top"][0] == {
        "label": "·red",
        "share": 0.75,
        "text": "75.00%",
        "said": False,
    }


def test_every_image_has_its_own_bars() -> None:
    page = result_html(values.zeroshot(images=2), pages.page().asked)
    assert re.findall("<h2>(.*?)</h2>", page) == ["image0.png", "image1.png", "Figures"]
    page = result_html(values.classification(), pages.page().asked)
    assert page.count('<rect class="part" width="80.00"') == 1 and "80.00%" in page


def test_text_for_markup() -> None:
    assert text('<a href="x">&') == "&lt;a href=&quot;x&quot;&gt;&amp;"
    assert text("\x1b[31mred\x00 \udc80") == "red \ufffd"


def test_text_for_data() -> None:
    nasty = "</script><!-- & \u2028 \udc80"
    assert not set("<>&\u2028") & set(island([nasty])) and island([nasty]).isascii()
    assert json.loads(island([nasty])) == [nasty]
    with pytest.raises(ValueError):
        island(float("nan"))


def test_a_token_as_it_stands_in_an_answer() -> None:
    assert token_text(" star") == " star"
    assert token_text(".\n\n") == ".↵↵" and token_text("\\n") == "\\n"
    assert token_text("\ufffd", b"\xe6\x97") == "\\xe6\\x97"
    assert token_text("\u2028") == "\\u2028" and token_text("") == ""
