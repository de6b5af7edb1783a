"""No escape sequence passes, wherever the text is cut into chunks; and nothing else is lost."""

from __future__ import annotations

import pytest

from vlmcli.render.escape import TerminalFilter, one_line, strip_escapes, visible

SEQUENCES = {
    "colour": "\x1b[1;31m",
    "private mode": "\x1b[?25l",
    "csi with intermediate": "\x1b[1 q",
    "title, ended by BEL": "\x1b]0;owned\a",
    "hyperlink, ended by ST": "\x1b]8;;http://evil\x1b\\",
    "c1 csi": "\x9b31m",
    "c1 osc, ended by c1 st": "\x9d0;owned\x9c",
    "device control": "\x1bPq#0;2;0;0;0\x1b\\",
    "application command": "\x1b_hidden\x1b\\",
    "character set": "\x1b(0",
    "full reset": "\x1bc",
    "sequence inside a sequence": "\x1b[3\x1b[1m",
    "delete": "\x7f",
    "backspace and return": "\b\r",
    "c1 next line": "\x85",
    "cancelled": "\x1b[31\x18",
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_a_sequence_disappears_however_it_is_cut(sequence: str) -> None:
    text = f"before{sequence}after"
    for cut in range(len(text) + 1):
        gate = TerminalFilter()
        assert gate.feed(text[:cut]) + gate.feed(text[cut:]) == "beforeafter", f"cut at {cut}"


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_a_sequence_disappears_character_by_character(sequence: str) -> None:
    gate = TerminalFilter()
    assert "".join(gate.feed(character) for character in f"a{sequence}b") == "ab"


def test_ordinary_text_passes_unchanged() -> None:
    text = "Ünïcode 日本語 👍🏽\n\ttabbed [bold]not markup[/bold] \\x1b"
    assert strip_escapes(text) == text


def test_an_unclosed_command_does_not_swallow_the_next_line() -> None:
    assert strip_escapes("a\x1b]0;title\nb") == "a\nb"


def test_output_never_holds_a_control_character_other_than_newline_and_tab() -> None:
    everything = "".join(map(chr, range(0x110)))
    shown = strip_escapes("".join(f"{c}m" for c in everything))
    assert not {c for c in shown if (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)} - {"\n", "\t"}


def test_lone_surrogates_become_replacement_characters() -> None:
    assert strip_escapes("a\udc80b") == "a\ufffdb"


def test_one_line_joins_lines() -> None:
    assert one_line("a\n  b\x1b[2J\tc") == "a b c"


@pytest.mark.parametrize(
    ("token", "raw", "shown"),
    [
        (" the", None, "·the"),
        ("\u2581the", None, "·the"),
        ("\n\n", None, "\\n\\n"),
        ("\x1b[2J", None, "\\x1b[2J"),
        ("\u200b", None, "\\u200b"),
        ("", None, "''"),
        ("\ufffd", b"\xe6\x97", "\\xe6\\x97"),
        ("日", "日".encode(), "日"),
    ],
)
def test_visible(token: str, raw: bytes | None, shown: str) -> None:
    assert visible(token, raw) == shown
