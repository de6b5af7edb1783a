"""One browser for all tests of pages, and pages that misbehave are noticed in every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.render.html.browser import Browser, Tab, find_chromium
from vlmcli.render.html.page import page_html
from vlmcli.render.html.sections import Page


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium. Without one these tests are skipped, and say so."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("PAGES ARE NOT TESTED IN A BROWSER: install chromium (Debian: apt-get install chromium)")
    browser = Browser(executable, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def look(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Tab]]:
    """``look(page)``: that page in a new tab. At the end nothing may have been complained about or asked for."""
    tabs: list[Tab] = []

    def open_page(page: Page | str, **how: Any) -> Tab:
        file = tmp_path / f"page{len(tabs)}.html"
        file.write_text(page if isinstance(page, str) else page_html(page), encoding="utf-8")
        tabs.append(browser.open(file, **how))
        return tabs[-1]

    yield open_page
    troubles = [(tab.complaints(), tab.requests()) for tab in tabs]
    for tab in tabs:
        tab.close()
    assert troubles == [([], [])] * len(tabs), "the console of a page must stay silent, and the network unused"
