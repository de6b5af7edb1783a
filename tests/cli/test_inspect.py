"""vlm inspect hands on what was typed, and needs no model to be loaded."""

from __future__ import annotations

import json

import pytest

from tests.cli.fakes import run

pytestmark = pytest.mark.usefixtures("here")


def test_the_diagram_comes_first() -> None:
    outcome = run("inspect", "-m", "tiny")
    assert (outcome.code, outcome.loaded) == (0, [])
    assert outcome.stdout.startswith("tiny: tiny_model, method A, unified embedding decoder\n\n image ")


def test_options_are_handed_on() -> None:
    outcome = run("inspect", "a.png", "b.png", "-m", "tiny", "--max-pixels", "2M", "--allow-private-urls")
    assert outcome.inspected == [
        {
            "images": ("a.png", "b.png"),
            "image_size": None,
            "progress": False,
            "model": "tiny",
            "max_pixels": 2_000_000,
            "allow_private_urls": True,
        }
    ]


def test_a_size_of_one_s_own() -> None:
    assert run("inspect", "--image-size", "640x480").inspected[0]["image_size"] == (640, 480)


def test_json() -> None:
    assert json.loads(run("inspect", "--json").stdout)["method"] == "A"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("missing.png",), 3, "no such file: missing.png"),
        (("--image-size", "640"), 2, "--image-size cannot be '640'"),
        (("a.png", "--image-size", "8x8"), 2, "images were given"),
        (("--json", "--jsonl"), 2, "exclude each other"),
    ],
)
def test_mistakes_cost_one_line_and_no_time(words: tuple[str, ...], code: int, says: str) -> None:
    outcome = run("inspect", *words)
    assert (outcome.code, outcome.inspected) == (code, [])
    assert says in outcome.stderr
