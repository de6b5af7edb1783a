"""Which words are images and which are prompt: no image is ever silently dropped, none is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmcli.cli.arguments import (
    Request,
    default_prompt,
    looks_like_file,
    split_ask,
    split_embed,
    split_images,
    split_labels,
    split_topk,
    split_zeroshot,
    with_piped_text,
)
from vlmcli.errors import InputError, UsageError

pytestmark = pytest.mark.usefixtures("here")
URL = "https://example.org/cat.jpg"


@pytest.mark.parametrize(
    ("words", "images", "prompt"),
    [
        (["a.png"], ("a.png",), None),
        ([URL], (URL,), None),
        (["-"], ("-",), None),
        (["What is it?"], (), "What is it?"),
        (["a.png", "What is it?"], ("a.png",), "What is it?"),
        (["a.png", URL, "-", "Compare."], ("a.png", URL, "-"), "Compare."),
        (["a.png", "b.png"], ("a.png", "b.png"), None),
        (["What is in a.png?"], (), "What is in a.png?"),
        (["Is a.png red or blue"], (), "Is a.png red or blue"),
        (["and so on..."], (), "and so on..."),
        (["either / or"], (), "either / or"),
        (["/"], ("/",), None),
        (["two\nlines.png"], (), "two\nlines.png"),
        ([f"see {URL} please"], (), f"see {URL} please"),
        ([], (), None),
    ],
)
def test_ask(words: list[str], images: tuple[str, ...], prompt: str | None) -> None:
    assert split_ask(words) == Request(images, prompt)


@pytest.mark.parametrize(
    "words",
    [
        ["missing.jpg"],
        ["missing.PNG"],
        ["my holiday photo.jpeg"],
        ["photos/cat"],
        ["./cat"],
        ["../my cat"],
        ["/no/such/cat"],
        ["file:///tmp/cat.png"],
        ["film.mp4"],
        ["a.png", "missing.jpg"],
        ["a.png", "missing.jpg", "What is it?"],
        ["missing", "What is it?"],
        ["What is it?", "a.png"],
    ],
)
def test_a_missing_file_is_an_error_and_never_a_prompt(words: list[str]) -> None:
    with pytest.raises(InputError, match="no such file"):
        split_ask(words)


def test_the_error_names_the_missing_file() -> None:
    with pytest.raises(InputError, match=r"no such file: missing\.jpg"):
        split_ask(["a.png", "missing.jpg", "What is it?"])


def test_an_explicit_prompt_makes_every_word_an_image() -> None:
    assert split_ask(["a.png", "b.png"], prompt="missing.jpg") == Request(("a.png", "b.png"), "missing.jpg")
    with pytest.raises(InputError):
        split_ask(["a.png", "words"], prompt="What?")


def test_explicit_images_come_before_the_words() -> None:
    assert split_ask(["b.png", "What?"], images=["a.png"]) == Request(("a.png", "b.png"), "What?")
    with pytest.raises(InputError):
        split_ask(["What?"], images=["missing.png"])


def test_a_file_whose_name_is_a_word_is_an_image(here: Path) -> None:
    (here / "kitten").touch()
    assert split_ask(["kitten"]) == Request(("kitten",), None)


def test_standard_input_holds_one_image() -> None:
    with pytest.raises(UsageError):
        split_ask(["-", "-", "What?"])
    with pytest.raises(UsageError):
        split_ask(["-"], images=["-"], prompt="What?")


@pytest.mark.parametrize("words", [[""], ["a.png", " "]])
def test_an_empty_prompt_is_an_error(words: list[str]) -> None:
    with pytest.raises(UsageError, match="empty"):
        split_ask(words)


def test_the_last_word_of_topk_is_the_prompt() -> None:
    assert split_topk(["a.png", "The photo shows a"]) == Request(("a.png",), "The photo shows a")
    assert split_topk(["and/or"]) == Request((), "and/or")
    assert split_topk(["missing.jpg"]) == Request((), "missing.jpg")
    assert split_topk(["a.png"], prompt="The") == Request(("a.png",), "The")
    assert split_topk([]) == Request((), None)


def test_topk_keeps_the_spaces_of_a_prompt() -> None:
    assert split_topk([" The dog "]).prompt == " The dog "


@pytest.mark.parametrize("words", [["a.png"], ["a.png", "b.png"], ["-"], [URL]])
def test_topk_without_a_prompt_says_so(words: list[str]) -> None:
    with pytest.raises(UsageError, match="no prompt"):
        split_topk(words)


def test_topk_wants_its_images_to_exist() -> None:
    with pytest.raises(InputError, match="missing"):
        split_topk(["missing", "The photo"])


def test_zeroshot_takes_images_then_labels() -> None:
    request = split_zeroshot(["a.png", URL, "a cat", "black/white"], labels=["a dog", "a cat"])
    assert request.images == ("a.png", URL)
    assert request.labels == ("a cat", "black/white", "a dog")


def test_zeroshot_keeps_a_label_that_happens_to_be_a_file(here: Path) -> None:
    (here / "cat").touch()
    assert split_zeroshot(["a.png", "dog", "cat"]).labels == ("dog", "cat")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["missing.png", "cat"], InputError, "no such file"),
        (["photos/cat", "cat"], InputError, "no such file"),
        (["a.png", "missing.png", "cat"], InputError, "no such file"),
        (["a.png", "cat", "missing.png"], InputError, "no such file"),
        (["a.png", "cat", "b.png"], UsageError, "after a label"),
        (["a.png", "cat", "-"], UsageError, "after a label"),
        (["a.png"], UsageError, "no label"),
        (["cat", "dog"], UsageError, "no image"),
        (["a.png", "cat", ""], UsageError, "empty"),
        (["-", "-", "cat"], UsageError, "twice"),
        ([], UsageError, "no image"),
    ],
)
def test_zeroshot_errors(words: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split_zeroshot(words)


def test_embed_takes_images_and_texts_in_any_order() -> None:
    request = split_embed(["a cat", "a.png", "a dog", URL], images=["b.png"], texts=["c.png"])
    assert request.images == ("b.png", "a.png", URL)
    assert request.texts == ("c.png", "a cat", "a dog")


def test_embed_keeps_what_is_given_twice() -> None:
    assert split_embed(["a.png", "a cat", "a.png", "a cat"]).texts == ("a cat", "a cat")


def test_embed_leaves_named_images_to_be_skipped_when_they_are_read() -> None:
    assert split_embed(["a.png"], images=["missing.png"]).images == ("missing.png", "a.png")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["missing.png", "a cat"], InputError, "no such file: missing.png"),
        (["a cat", "photos/cat"], InputError, "no such file"),
        (["./cat"], InputError, "no such file"),
        (["-", "-"], UsageError, "twice"),
        (["a.png", " "], UsageError, "empty"),
        ([], UsageError, "no image and no text"),
    ],
)
def test_embed_errors(words: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split_embed(words)


def test_every_word_beside_kept_embeddings_is_a_label(here: Path) -> None:
    (here / "cat").touch()
    assert split_labels(["cat", "a dog"], ["a bird", "cat"]) == ("cat", "a dog", "a bird")
    for words, error in ((["a.png"], UsageError), (["-"], UsageError), ([], UsageError), (["no.png"], InputError)):
        with pytest.raises(error):
            split_labels(words)


def test_every_word_of_classify_is_an_image() -> None:
    assert split_images(["a.png", URL], ["b.png"]) == ("b.png", "a.png", URL)
    for words, error in ((["a cat"], InputError), ([], UsageError), (["-", "-"], UsageError)):
        with pytest.raises(error):
            split_images(words)


def test_a_long_text_is_no_file_name() -> None:
    assert not looks_like_file("word " * 100 + "x.png")


@pytest.mark.parametrize(
    ("prompt", "piped", "whole"),
    [
        ("What?", None, "What?"),
        ("What?", "", "What?"),
        ("What?", " \n", "What?"),
        ("What?", "text\n", "text\nWhat?"),
        (None, "text\n\n", "text"),
        (None, None, None),
    ],
)
def test_piped_text_goes_before_the_prompt(prompt: str | None, piped: str | None, whole: str | None) -> None:
    assert with_piped_text(prompt, piped) == whole


def test_default_prompt() -> None:
    assert "image." in default_prompt(["a"])
    assert "images." in default_prompt(["a", "b"])
    with pytest.raises(UsageError):
        default_prompt([])
