"""What the pages of the microscope's commands hold beside what the terminal shows."""

from __future__ import annotations

from typing import Any

from tests.render import values
from vlmcli.render.forms.forms import form_of
from vlmcli.render.html.sections import Content, Curve, Mark, Segment, Stages, Tabled, Tokens, Words


def content(result: Any) -> Content:
    page = form_of(result).page
    assert page is not None
    return page(result)[1]


def test_trace_has_the_sequence_the_times_and_what_was_said() -> None:
    answer, stages = content(values.trace()).sections
    assert isinstance(answer, Tokens) and isinstance(stages, Stages)
    assert [token.token for token in answer.tokens] == [" red", "\x1b[31m"]
    assert stages.segments == (Segment("text", 4), Segment("image", 16), Segment("text", 4))
    assert stages.timings_ms == (("decode", 3.25), ("resize", 4.0), ("fuse", 0.5), ("prefill", 5.0), ("step", 1.5))
    assert stages.table is not None and len(stages.table.rows) == 6 and stages.notes == ("a note",)


def test_lens_has_every_layer_each_word_with_its_probability() -> None:
    (words,) = content(values.lens(layers=30)).sections
    assert isinstance(words, Words) and len(words.heads) == 30 and words.names == ("index", "token", "nearest")
    names, row = words.rows[1]
    assert names == ("1", "<image>", "·crimson 0.50") and len(row) == 30
    assert (row[0].text, round(row[0].share, 3)) == ("·red", 0.5) and "·blue 25.00%" in row[0].title
    assert words.rows[-1][0] == ("", "agrees", "") and words.rows[-1][1][-1].text == "100%"


def test_knockout_has_the_windows_as_columns_and_marks_its_box() -> None:
    page = content(values.knockout(box=(1.0, 2.0, 3.0, 4.0)))
    answer, curve, table = page.sections
    assert isinstance(answer, Tokens) and isinstance(curve, Curve) and isinstance(table, Tabled)
    assert [round(point.value, 2) for point in curve.points] == [0.4, 0.9]
    assert curve.level is not None and round(curve.level.value, 2) == 0.8
    assert page.marks == (Mark((1.0, 2.0, 3.0, 4.0), "cut off"),) and content(values.knockout()).marks == ()


def test_compare_shows_the_answer_as_the_first_reads_it_with_the_second_beside() -> None:
    answer, _ = content(values.compared()).sections
    assert isinstance(answer, Tokens)
    (token,) = answer.tokens
    assert (token.token, token.logprob) == (" red", -0.5)
    assert dict(token.details) == {"by the second": "0.00%", "KL": "inf nats", "likeliest": "·red"}
    assert [type(section) for section in content(values.compared(same_tokenizer=False)).sections] == [Tabled]


def test_attribute_has_a_map_of_the_whole_answer_and_one_of_each_token_with_alternatives() -> None:
    page = content(values.attribution("a", " cat"))
    answer, _ = page.sections
    assert isinstance(answer, Tokens)
    assert [heat.title for heat in page.maps] == ["occlusion: the answer", "occlusion: a", "occlusion: ·cat"]
    assert [token.map for token in answer.tokens] == [1, 2] and page.maps[0].unit == "nats"
    assert answer.tokens[0].top and answer.tokens[0].rank == 1
    assert ("image, against blank", "+3.000 nats") in answer.tokens[0].details
    assert any("better" in note for note in answer.notes), "how far the map can be trusted stands beside it"


def test_a_map_that_says_little_says_so_on_the_page() -> None:
    answer, _ = content(values.attribution("a", blank=0.01, notes=("the batch size was lowered to 2",))).sections
    assert isinstance(answer, Tokens)
    assert "came from the language model" in answer.notes[-1] and "lowered to 2" in answer.notes[-2]
