"""The diagram has the boxes that the model has, and the figures are the result's own."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from tests.render import values
from vlmcli.render.forms.inspect import diagram_lines, fact_lines, heading, parts_table
from vlmcli.render.sink import make_sink
from vlmcli.render.table import table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.render.words import size
from vlmcli.types.inspect import Method

PLAIN = Terminal()


def test_the_diagram_of_a_unified_decoder() -> None:
    assert diagram_lines(values.anatomy(), PLAIN) == [
        " image ──► encoder ──► projector ──┐",
        "                                   ├─► concat ──► decoder ──► logits",
        " text  ──► embeddings ─────────────┘",
    ]


def test_the_diagram_of_a_dual_encoder() -> None:
    roles = ("encoder", "text-encoder", "fusion")
    assert diagram_lines(values.anatomy("dual", *roles), PLAIN) == [
        " image ──► encoder ───────┐",
        "                          ├─► dot product ──► score",
        " text  ──► text encoder ──┘",
    ]


@pytest.mark.parametrize(
    ("method", "roles", "says"),
    [
        ("A", ("projector", "decoder"), "image ──► projector ───┐"),
        ("B", ("encoder", "projector", "fusion", "decoder"), "├─► cross-attention ──► decoder"),
        ("hybrid", ("encoder", "projector", "fusion", "decoder"), "├─► concat and cross-attention ──► decoder"),
        ("none", ("decoder",), "text ──► embeddings ──► decoder ──► logits"),
        ("none", ("encoder",), "image ──► encoder ──► features"),
    ],
)
def test_boxes_that_are_not_there_are_left_out(method: Method, roles: tuple[str, ...], says: str) -> None:
    assert says in "\n".join(diagram_lines(values.anatomy(method, *roles), PLAIN))


@pytest.mark.parametrize("method", ["A", "B", "hybrid", "dual", "none"])
def test_a_terminal_without_unicode(method: Method) -> None:
    lines = diagram_lines(values.anatomy(method), Terminal(unicode=False))
    assert all(line.isascii() for line in lines)
    assert len({line.index("+") for line in lines if "+" in line}) <= 1, "the ways do not meet"


def test_the_table_has_a_row_for_each_part_and_the_sum() -> None:
    written = table_lines(parts_table(values.anatomy()), PLAIN)
    assert [line.split()[0] for line in written] == ["part", "encoder", "projector", "decoder", "all"]
    assert written[1].split() == ["encoder", "encoder_model", "6", "256", "8", "2", "1.5M", "3.0", "MB", "float16"]
    assert written[-1].split() == ["all", "4.5M", "9.0", "MB"]


def test_unknown_sizes_are_no_sum() -> None:
    known = values.anatomy()
    unknown = replace(known, parts=(replace(known.parts[0], parameters=None, size_bytes=None), *known.parts[1:]))
    assert unknown.parameters is None and unknown.size_bytes is None
    assert table_lines(parts_table(unknown), PLAIN)[-1].split() == ["all", "-", "-"]


def test_facts() -> None:
    lines = fact_lines(values.anatomy())
    assert "patch       16x14" in lines and "licence     -" in lines and "context     512" in lines
    assert lines[-1] == "image       red.png, 640x480 -> 96x96: 64 tokens"
    one_slot = replace(values.anatomy("B"), images=(replace(values.IMAGE, tokens=1),))
    assert fact_lines(one_slot)[-1].endswith(": 1 token, the features go beside the text to the cross-attention layers")


def test_names_from_files_are_only_text() -> None:
    nasty = replace(values.anatomy(), family="\x1b[31mred")
    assert "\x1b" not in heading(nasty)


@pytest.mark.parametrize(
    ("number", "text"), [(None, "-"), (0, "0 B"), (999, "999 B"), (263168, "263.2 kB"), (4_500_000_000, "4.5 GB")]
)
def test_bytes(number: int | None, text: str) -> None:
    assert size(number) == text


def test_json_has_the_documented_fields() -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    make_sink("json", stdout=stdout, stderr=stderr).show(replace(values.anatomy(), notes=("a note",)))
    written = json.loads(stdout.getvalue())
    assert set(written) == {
        *("schema_version", "model", "images", "family", "method", "parts", "parameters", "size_bytes", "licence"),
        *("patch", "image_size", "vocabulary", "context", "notes"),
    }
    assert written["patch"] == [16, 14] and written["parameters"] == 4_500_000 and written["notes"] == ["a note"]
    assert written["parts"][0] == {
        "role": "encoder",
        "architecture": "encoder_model",
        "modules": ["model.encoder"],
        "layers": 6,
        "width": 256,
        "heads": 8,
        "kv_heads": 2,
        "parameters": 1_500_000,
        "size_bytes": 3_000_000,
        "dtype": "float16",
    }
    assert stderr.getvalue() == "a note\nred.png: first frame of 12\n"


def test_jsonl_is_one_line() -> None:
    stdout = io.StringIO()
    make_sink("jsonl", stdout=stdout, stderr=io.StringIO()).show(values.anatomy())
    (line,) = stdout.getvalue().splitlines()
    assert json.loads(line)["type"] == "done"
