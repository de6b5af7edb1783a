"""The ways in which an answer can be written after a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny
from tests.tiny.parts import prefixed_tokenizer
from vlmcli.inputs.answer import ways


def texts(tokenizer: Any, *words: str, before: str = ":") -> list[list[str]]:
    """The tokens of every way, as their names in the vocabulary."""
    last = tokenizer.encode(before, add_special_tokens=False)[-1]
    return [["".join(tokenizer.convert_ids_to_tokens(ids)) for ids in way] for way in ways(tokenizer, words, last)]


def test_byte_level_alone_and_after_a_space() -> None:
    assert texts(tiny.tokenizer(), "cat") == [["cat"], ["Ġcat"]]


def test_a_text_that_begins_with_a_space_gets_no_second_one() -> None:
    assert texts(tiny.tokenizer(), " cat") == [["Ġcat"]]


def test_several_texts_are_written_in_the_same_way() -> None:
    assert texts(tiny.tokenizer(), "cat", "two dogs") == [["cat", "twoĠdogs"], ["Ġcat", "ĠtwoĠdogs"]]


def test_a_tokenizer_that_puts_a_space_before_every_text() -> None:
    """Alone it has one too many after a line break, where the text goes on without."""
    assert texts(prefixed_tokenizer(), "cat", before="\n")[:2] == [["Ġcat"], ["cat"]]


@pytest.mark.parametrize("before", ["<s>", ":", "\n"])
def test_no_special_tokens_are_added(before: str) -> None:
    tokenizer = tiny.tokenizer()
    written = ways(tokenizer, ["cat"], tokenizer.encode(before, add_special_tokens=False)[-1])
    assert not {i for way in written for ids in way for i in ids} & set(tokenizer.all_special_ids)


def test_what_has_no_tokens_cannot_be_written() -> None:
    assert ways(tiny.tokenizer(), [""], 5) == ()
