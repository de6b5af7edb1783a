"""Two sides of a comparison."""

from __future__ import annotations

import math

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import Event, Form, as_lines
from vlmcli.render.html.sections import Content, PageToken, Run, Tabled, Tokens
from vlmcli.render.notes import Notes
from vlmcli.render.objects import SCHEMA_VERSION, Object, clean, finite, image_object, model_object, usage_object
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import UNKNOWN, percent, probability, shown
from vlmcli.types.compare import Compared, ComparedPosition, Side

_PROMPT_ROWS = 8
"""Of the prompt, only the positions at which the two differ most are shown to a person."""


def compare_tables(result: Compared, terminal: Terminal) -> list[Table]:
    """The two sides and their sums; then the positions of the answer, and of the prompt those that differ most."""
    tables = [_sides_table(result, terminal)]
    prompt = [position for position in result.positions if position.part == "prompt" and position.kind == "text"]
    answer = [position for position in result.positions if position.part == "answer"]
    if answer:
        tables.append(_positions_table(answer, "the answer, token by token", terminal))
    worst = sorted((p for p in prompt if p.kl > 0), key=lambda position: -position.kl)[:_PROMPT_ROWS]
    if worst:
        caption = f"the prompt: the {len(worst)} positions of {len(prompt)} that differ most"
        tables.append(_positions_table(worst, caption, terminal))
    return tables


def _sides_table(result: Compared, terminal: Terminal) -> Table:
    one, other = result.sides
    each = result.per_byte or (None, None)
    rows = (
        ("model", one.model.id, other.model.id),
        ("dtype", one.model.dtype, other.model.dtype),
        ("image", *(", ".join(one_line(image.source) for image in side.images) or UNKNOWN for side in result.sides)),
        ("prompt", one_line(one.prompt), one_line(other.prompt)),
        ("its greedy answer", one_line(one.greedy), one_line(other.greedy)),
        ("log-probability", f"{one.logprob:.4f}", f"{other.logprob:.4f}"),
        ("a byte", *(UNKNOWN if value is None else f"{value:.4f}" for value in each)),
    )
    caption = f"the answer {one_line(result.text)!r} ({result.size_bytes} bytes), read by both"
    return Table(
        (Column(""), Column("first"), Column("second")), rows, caption, (*_sums(result, terminal), *result.notes)
    )


def _sums(result: Compared, terminal: Terminal) -> tuple[str, ...]:
    if not result.same_tokenizer or result.mean_kl is None or result.agreement is None:
        return ()
    count = sum(position.kind == "text" for position in result.positions)
    text = f"{count} positions of text: mean KL divergence {_kl(result.mean_kl)} nats, same likeliest token at "
    parted = result.divergence
    if parted is None:
        return (f"{text}{percent(result.agreement)}", "the greedy answers are the same")
    said = (UNKNOWN if token is None else shown(token, terminal) for token in parted.tokens)
    return f"{text}{percent(result.agreement)}", f"the greedy answers part at token {parted.index}: {' / '.join(said)}"


def _positions_table(positions: list[ComparedPosition], caption: str, terminal: Terminal) -> Table:
    columns = (
        Column("index", "right"),
        Column("token"),
        Column("next token"),
        Column("KL", "right"),
        Column("first", "right"),
        Column("second", "right"),
        Column("likeliest"),
        Column(""),
    )
    rows = tuple(
        (
            str(position.index),
            shown(position.token, terminal),
            UNKNOWN if position.next_token is None else shown(position.next_token, terminal),
            _kl(position.kl),
            *(map(probability, position.logprobs) if position.logprobs else (UNKNOWN, UNKNOWN)),
            shown(position.words[0], terminal),
            "" if position.agrees else shown(position.words[1], terminal),
        )
        for position in positions
    )
    return Table(columns, rows, caption)


def _kl(value: float) -> str:
    """In nats; what is not zero does not look like it."""
    return "0" if value == 0 else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def compared_object(result: Compared) -> Object:
    """Both ``sides``, the ``positions`` that they have in common, and their sums."""
    parted = result.divergence
    return {
        "schema_version": SCHEMA_VERSION,
        "text": clean(result.text),
        "size_bytes": result.size_bytes,
        "sides": [_side_object(side, result, number) for number, side in enumerate(result.sides)],
        "same_tokenizer": result.same_tokenizer,
        "mean_kl": finite(result.mean_kl),
        "agreement": finite(result.agreement),
        "divergence": None
        if parted is None
        else {"index": parted.index, "tokens": [None if token is None else clean(token) for token in parted.tokens]},
        "positions": [position_object(position) for position in result.positions],
        "notes": [clean(note) for note in result.notes],
        "timings_ms": {name: finite(value) for name, value in result.timings_ms.items()},
    }


def _side_object(side: Side, result: Compared, number: int) -> Object:
    return {
        "model": model_object(side.model),
        "images": [image_object(image) for image in side.images],
        "usage": usage_object(side.usage),
        "prompt": clean(side.prompt),
        "greedy": clean(side.greedy),
        "logprob": finite(side.logprob),
        "per_byte": None if result.per_byte is None else finite(result.per_byte[number]),
        "tokens": side.tokens,
    }


def position_object(position: ComparedPosition) -> Object:
    """One position; ``kl`` is null where it is infinite."""
    return {
        "index": position.index,
        "part": position.part,
        "kind": position.kind,
        "token": clean(position.token),
        "next_token": None if position.next_token is None else clean(position.next_token),
        "kl": finite(position.kl),
        "agrees": position.agrees,
        "likeliest": [
            {"id": token_id, "token": clean(word)}
            for token_id, word in zip(position.likeliest, position.words, strict=True)
        ],
        "logprobs": None if position.logprobs is None else [finite(value) for value in position.logprobs],
    }


def _events(result: Compared) -> list[Event]:
    return [*(("position", position_object(p)) for p in result.positions), ("done", compared_object(result))]


def _before(notes: Notes, result: Compared) -> None:
    for side in result.sides:
        notes.images(side.images)
        notes.inputs(side.model, side.images, side.usage)


def _after(notes: Notes, result: Compared) -> None:
    notes.timings(result.timings_ms)


def _page(result: Compared) -> tuple[Run, Content]:
    """The answer that both read, a token at a time as the first finds it; below it what the terminal shows."""
    one, other = result.sides
    images = one.images if one.images == other.images else (*one.images, *other.images)
    run = Run((one.model, other.model), images, one.usage, result.timings_ms)
    before = [position for position in result.positions if position.next_token is not None and position.logprobs]
    tokens = tuple(_read(position) for position in before if position.part == "answer" or position is _last(result))
    sections = (Tokens("The answer that both read", tokens),) if tokens else ()
    return run, Content((*sections, Tabled("Compared", tuple(compare_tables(result, PAGE)))))


def _last(result: Compared) -> ComparedPosition | None:
    """The last position of the prompt: what follows it is the answer's first token."""
    return next((position for position in reversed(result.positions) if position.part == "prompt"), None)


def _read(position: ComparedPosition) -> PageToken:
    first, second = position.logprobs or (math.nan, math.nan)
    words = (shown(word, PAGE) for word in position.words)
    details = (
        ("by the second", probability(second)),
        ("KL", f"{position.kl:.4g} nats"),
        ("likeliest", " / ".join(dict.fromkeys(words))),
    )
    return PageToken(position.next_token or "", logprob=first, details=details)


FORM: Form[Compared] = Form(as_lines(compare_tables), compared_object, _events, _before, _after, _page)
