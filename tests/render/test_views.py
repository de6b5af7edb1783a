"""Tables: columns stand under each other, numbers are the result's own, and texts are only texts."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest

from tests.render import values
from vlmcli.render.table import Column, Table, cell_width, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.render.views import (
    bar,
    choices_table,
    classify_tables,
    count,
    embedding_tables,
    kept_line,
    model_lines,
    models_table,
    pulled_line,
    scored_table,
    size,
    topk_tables,
    zeroshot_tables,
)
from vlmcli.types.models import ModelEntry, ModelFile, Pulled

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def entry(name: str = "tiny", default: bool = True) -> ModelEntry:
    return ModelEntry(name, "vlm", "builtin:tiny", None, "MIT", 8_100_000, "A tiny one.", "shipped", True, default)


def test_columns_are_aligned_by_terminal_cells_and_lines_have_no_trailing_spaces() -> None:
    table = Table((Column("a"), Column("number", "right")), (("日本", "1"), ("x", "22"), ("é", "")))
    written = lines(table)
    assert [cell_width(line.split("1")[0]) for line in written if "1" in line] == [4 + 2 + 5]
    assert written[2] == "x         22"
    assert all(line == line.rstrip() for line in written)


def test_colour_changes_no_width() -> None:
    table = Table((Column("a"),), (("b",),), "caption", ("note",))
    painted = table_lines(table, Terminal(colour=True))
    assert painted[2] == "b"
    assert painted[0].startswith("\x1b[1m")


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.01, 0.5, 0.999, 1.0])
def test_a_bar_grows_with_its_share(share: float) -> None:
    assert len(bar(share, PLAIN)) <= 20
    assert bool(bar(share, PLAIN)) == (share > 0)
    assert bar(share, Terminal(unicode=False)).isascii()


def test_one_position_is_a_ranked_table() -> None:
    (table,) = topk_tables(values.topk(values.position(9, " dog")), PLAIN)
    written = lines(table)
    assert "position 9" in written[0]
    assert "·dog" in written[0]
    assert written[2].split()[:3] == ["1", "·red", "75.00%"]
    assert written[3].split()[:3] == ["2", "·blue", "25.00%"]


def test_one_position_with_a_successor_says_what_follows() -> None:
    (table,) = topk_tables(values.topk(values.position(9, " dog", follows=" ran")), PLAIN)
    assert "what follows: ·ran (rank 2, 25.00%, surprisal 1.386 nats)" in lines(table)


def test_an_answer_is_a_row_a_token_and_a_sum() -> None:
    written = lines(scored_table(values.scored("a", " c\n"), PLAIN))
    assert written[1].split() == ["0", "a", "2", "25.00%", "1.386", "1.500", "·red", "75.00%"]
    assert written[2].split()[1] == "·c\\n"
    assert written[3] == "log-probability -2.7726 nats (6.25%), -0.6931 a byte (4 bytes)"


def test_the_likeliest_option_comes_first() -> None:
    _, first, *_, mass = lines(choices_table(values.choices("3", "1", "2"), PLAIN))
    assert first.split()[:2] == ["3", "50.00%"] and "option mass 90.00%" in mass
    written = lines(choices_table(values.choices("a\n[b]", "c", orders=2), PLAIN))
    assert written[0].endswith("order 1  order 2") and written[1].startswith("a [b]")
    assert "mean 2.25" in lines(choices_table(values.choices("3", "1", "2"), PLAIN))


def test_several_positions_are_rows_and_images_collapse() -> None:
    image = values.position(64, "<image>", follows="What", count=64, kind="image")
    (table,) = topk_tables(values.topk(values.position(0, "<s>", "<image>"), image, values.position(65, "\n")), PLAIN)
    first, second, third = (line.split() for line in lines(table)[1:4])
    assert first[:6] == ["0", "<s>", "<image>", "2", "25.00%", "1.386"]
    assert second[:3] == ["1-64", "<image>", "x64"]
    assert third[:6] == ["65", "\\n", "-", "-", "-", "-"]
    assert third[6:] == ["1.500", "·red", "75.00%", "·blue", "25.00%"]


def test_an_impossible_token_has_probability_zero() -> None:
    position = values.position(1, "a")
    assert math.isinf(values.top("x", 0.0).logprob)
    (table,) = topk_tables(values.topk(values.replace_top(position, values.top("x", 0.0))), PLAIN)
    assert lines(table)[2].split()[:3] == ["1", "x", "0.00%"]


def test_zeroshot_ranks_labels_and_leaves_markup_alone() -> None:
    (table,) = zeroshot_tables(values.zeroshot())
    headings, best, worst = lines(table)
    assert headings.split("  ")[0] == "label"
    assert "sigmoid (each on its own)" in headings
    assert "softmax (against the others)" in headings
    assert best.startswith("a [bold]dog")
    assert best.split()[-3:] == ["0.5000", "0.9000", "3.000"]
    assert worst.startswith("a cat")


def test_zeroshot_without_sigmoid_says_so() -> None:
    (table,) = zeroshot_tables(values.zeroshot(sigmoid=False))
    assert lines(table)[1].split()[-3:] == ["-", "0.9000", "3.000"]


def test_zeroshot_names_images_where_there_are_several() -> None:
    tables = zeroshot_tables(values.zeroshot(images=2))
    assert [lines(table)[0] for table in tables] == ["image0.png", "image1.png"]
    assert all(len(table.rows) == 2 for table in tables)


def test_classes_keep_their_order_and_name_their_measure() -> None:
    (table,) = classify_tables(values.classification())
    headings, best, other = lines(table)
    assert "softmax (against the others)" in headings
    assert best.split() == ["1", "tench", "0.8000", "4.000", "3"]
    assert other.split()[:2] == ["2", "LABEL_0"]
    (several,) = classify_tables(values.classification(scoring="sigmoid"))
    assert "sigmoid (each on its own)" in lines(several)[0]
    assert lines(several)[1].split()[2] == "0.8000"
    (neither,) = classify_tables(values.classification(scoring=None))
    assert lines(neither)[1].split() == ["1", "tench", "-", "4.000", "3"]


def test_classes_name_images_where_there_are_several() -> None:
    assert [lines(table)[0] for table in classify_tables(values.classification(images=2))] == [
        "image0.png",
        "image1.png",
    ]


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


def test_models_table_marks_the_default() -> None:
    written = lines(models_table([entry(), entry("other", default=False)]))
    assert written[1].startswith("tiny *")
    assert "8.1M" in written[1]
    assert "*" not in written[2]


def test_model_lines_say_everything() -> None:
    text = "\n".join(model_lines(entry()))
    for part in ("tiny", "A tiny one.", "vlm", "8.1M", "MIT", "builtin:tiny", "yes", "shipped"):
        assert part in text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "-"), (12, "12"), (1_500, "1.5k"), (8_100_000, "8.1M"), (2_200_000_000, "2.2B")]
)
def test_count(number: int | None, text: str) -> None:
    assert count(number) == text


def test_tables_need_no_special_stream() -> None:
    assert Terminal.of(io.StringIO(), {}) == Terminal(colour=False, unicode=True)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (98_362_432, "98.4 MB"), (15_000_000_000, "15.0 GB")]
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text


def test_a_pull_is_told_in_a_line() -> None:
    small, large = ModelFile("config.json", 1_500), ModelFile("model.safetensors", 2_000_000)
    pulled = Pulled("tiny", "org/tiny", None, "/cache/\x1b[31mtiny", (small, large), (large,))
    assert pulled_line(pulled) == "tiny: fetched 2.0 MB of 2.0 MB in 1 file: /cache/tiny"
    assert "fetched 2.0 MB in 2 files" in pulled_line(replace(pulled, fetched=pulled.files))
    assert "already there, 2.0 MB in 2 files" in pulled_line(replace(pulled, fetched=()))
