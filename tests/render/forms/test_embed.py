"""Vectors as tables."""

from __future__ import annotations

from tests.render import values
from vlmcli.render.forms.embed import embedding_tables, kept_line
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_embeddings_are_listed_and_images_stand_against_texts() -> None:
    made = [values.embedding((0.6, 0.8)), values.embedding((1.0, 0.0), "a cat"), values.embedding((0.0, -1.0), "a dog")]
    listed, cosines = embedding_tables(made)
    assert lines(listed)[1].split() == ["1", "image", "2", "1.0000", "red.png"]
    assert lines(listed)[3].split() == ["3", "text", "2", "1.0000", "a", "dog"]
    assert [line.split() for line in lines(cosines)] == [["cosine", "2", "3"], ["1", "red.png", "0.6000", "-0.8000"]]


def test_embeddings_of_one_kind_stand_against_each_other() -> None:
    texts = [values.embedding((1.0, 0.0), "a cat"), values.embedding((0.6, 0.8), "a \x1b[2Jdog")]
    _, cosines = embedding_tables(texts)
    assert lines(cosines)[1:] == ["1 a cat  1.0000  0.6000", "2 a dog  0.6000  1.0000"]
    assert len(embedding_tables(texts[:1])) == 1


def test_a_norm_is_the_vectors_own() -> None:
    (listed,) = embedding_tables([values.embedding((3.0, 4.0))])
    assert "5.0000" in lines(listed)[1]


def test_a_kept_file_says_what_it_holds() -> None:
    *_, totals = values.embed_events(values.embedding((1.0, 0.0)), values.SKIPPED)
    assert kept_line(totals, "kept.jsonl").startswith("kept.jsonl: unit vectors, 1 of images, 0 of texts")  # type: ignore[arg-type]
    assert kept_line(totals, "kept.jsonl").endswith("1 skipped")  # type: ignore[arg-type]
