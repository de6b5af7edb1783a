"""Results as tables: what a person wants to see of a value, in which columns and with how many digits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

from vlmcli.render.escape import one_line, visible
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import Terminal
from vlmcli.types.cache import Cleared, FeatureCache
from vlmcli.types.choose import Choice, Choices
from vlmcli.types.classify import Classification, ClassScore
from vlmcli.types.compose import Composed
from vlmcli.types.embed import Embedding, EmbedTotals
from vlmcli.types.models import ModelEntry, ModelFile, Pulled, Removed
from vlmcli.types.result import TopToken
from vlmcli.types.score import Scored, ScoredToken
from vlmcli.types.topk import Position, TopK
from vlmcli.types.zeroshot import Score, Zeroshot

T = TypeVar("T")

_BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"
_UNKNOWN = "-"


def topk_tables(result: TopK, terminal: Terminal) -> list[Table]:
    """One position: its candidates, ranked. Several: one row a position."""
    if len(result.positions) == 1:
        return [_ranked_table(result.positions[0], terminal)]
    return [_positions_table(result.positions, terminal)]


def scored_table(result: Scored, terminal: Terminal) -> Table:
    """One row a token of a given answer, and the sums below."""
    widest = max((len(token.top) for token in result.tokens), default=0)
    figures = ("rank", "probability", "surprisal", "entropy")
    columns = (
        Column("index", "right"),
        Column("token"),
        *(Column(title, "right") for title in figures),
        *(Column(f"top {rank}") for rank in range(1, widest + 1)),
    )
    rows = tuple(_scored_row(token, widest, terminal) for token in result.tokens)
    each = "" if result.per_byte is None else f", {result.per_byte:.4f} a byte ({result.size_bytes} bytes)"
    whole = f"log-probability {result.logprob:.4f} nats ({probability(result.logprob)}){each}"
    return Table(columns, rows, notes=(whole, "surprisal and entropy in nats"))


def choices_table(result: Choices, terminal: Terminal) -> Table:
    """One row an option, the likeliest first, and their mass below."""
    orders = len(result.choices[0].by_order)
    columns = (
        Column("option"),
        Column("probability", "right"),
        Column(""),
        Column("normalized", "right"),
        Column("log-probability", "right"),
        Column("tokens", "right"),
        *(Column(f"order {number}", "right") for number in range(1, orders + 1)),
    )
    ranked = sorted(result.choices, key=lambda choice: choice.probability, reverse=True)
    rows = tuple(_choice_row(choice, terminal) for choice in ranked)
    mean = () if result.mean is None else (f"mean {result.mean:.2f}",)
    mass = f"option mass {_percent(result.mass)}: what the model gives to these answers at all"
    return Table(columns, rows, notes=(*mean, mass))


def zeroshot_tables(result: Zeroshot) -> list[Table]:
    """One table an image, the best label first; the image is named where there are several."""
    named = len(result.images) > 1
    return [_scores_table(scores, named) for scores in _per_image(result.scores, len(result.images))]


def classify_tables(result: Classification) -> list[Table]:
    """One table an image, the likeliest class first; the image is named where there are several."""
    named = len(result.images) > 1
    return [_classes_table(scores, named) for scores in _per_image(result.scores, len(result.images))]


def embedding_tables(embeddings: Sequence[Embedding]) -> list[Table]:
    """What each vector is of; then the cosine of each image and each text, or of all where there is one kind only."""
    numbers = range(1, len(embeddings) + 1)
    norms = [math.hypot(*embedding.vector) for embedding in embeddings]
    columns = (Column("#", "right"), Column("kind"), Column("dimensions", "right"), Column("norm", "right"))
    rows = tuple(
        (str(number), embedding.kind, str(len(embedding.vector)), f"{norm:.4f}", one_line(embedding.source))
        for number, embedding, norm in zip(numbers, embeddings, norms, strict=True)
    )
    listed = Table((*columns, Column("of")), rows)
    return [listed, *([_cosines_table(embeddings)] if len(embeddings) > 1 else [])]


def kept_line(totals: EmbedTotals, file: str) -> str:
    """What a file of embeddings holds now."""
    skipped = f"; {totals.skipped} skipped" if totals.skipped else ""
    vectors = f"{totals.images} of images, {totals.texts} of texts, of {totals.dimensions} dimensions"
    return f"{one_line(file)}: unit vectors, {vectors}{skipped}"


def models_table(entries: Sequence[ModelEntry]) -> Table:
    """The catalogue, one model a row."""
    titles = ("name", "kind", "parameters", "licence", "cached", "source")
    columns = tuple(Column(title, "right" if title == "parameters" else "left") for title in titles)
    rows = tuple(_model_row(entry) for entry in entries)
    return Table(columns, rows, notes=("* used when no model is named",) if any(e.default for e in entries) else ())


def model_lines(entry: ModelEntry) -> list[str]:
    """Everything that the catalogue says of one model, a field a line."""
    fields = {
        "name": entry.name,
        "description": entry.description,
        "kind": entry.kind,
        "parameters": count(entry.parameters),
        "licence": entry.licence or _UNKNOWN,
        "source": entry.source,
        "revision": entry.revision or _UNKNOWN,
        "cached": _yes_no(entry.cached),
        "default": _yes_no(entry.default),
        "defined in": f"the {entry.defined_in} catalogue",
    } | ({"folder": entry.folder} if entry.folder else {})
    return [f"{name:<12}{one_line(text)}" for name, text in fields.items()]


def files_table(files: Sequence[ModelFile]) -> Table:
    """The files of a checkpoint, with their checksums."""
    columns = (Column("file"), Column("size", "right"), Column("sha256"))
    return Table(columns, tuple((one_line(f.name), size(f.size_bytes), f.sha256 or _UNKNOWN) for f in files))


def pulled_line(pulled: Pulled) -> str:
    """What was fetched of a model, how large it is, and where it stands."""
    whole = sum(file.size_bytes for file in pulled.files)
    fetched = sum(file.size_bytes for file in pulled.fetched)
    if not pulled.fetched:
        done = f"already there, {size(whole)}"
    else:
        done = f"fetched {size(fetched)}" + (f" of {size(whole)}" if fetched < whole else "")
    return one_line(f"{pulled.name}: {done} in {_files(pulled.fetched or pulled.files)}: {pulled.folder}")


def removed_line(removed: Removed) -> str:
    """How many bytes are free again, and where they were."""
    return one_line(f"{removed.name}: removed {size(removed.size_bytes)}: {removed.folder}")


def feature_cache_table(cache: FeatureCache) -> Table:
    """The image features that are kept, the most recently used first."""
    columns = (
        Column("entry"),
        Column("model"),
        Column("dtype"),
        Column("size", "right"),
        Column("unused for", "right"),
    )
    rows = tuple(
        (entry.key[:12], one_line(entry.model), entry.dtype, size(entry.size_bytes), duration(entry.age_s))
        for entry in cache.entries
    )
    return Table(columns, rows)


def feature_cache_line(cache: FeatureCache) -> str:
    """How much is kept of how much, and where."""
    return f"{_entries(len(cache.entries))}, {size(cache.size_bytes)} of {size(cache.limit_bytes)}: {cache.folder}"


def cleared_line(cleared: Cleared) -> str:
    """How much is gone, and what is left."""
    gone = f"removed {_entries(cleared.entries)}, {size(cleared.size_bytes)}"
    return one_line(f"{gone}; {_entries(cleared.left)} left, {size(cleared.left_bytes)}: {cleared.folder}")


def duration(seconds: float) -> str:
    """A time span as people say it, rounded down: 40 s, 5 min, 3 h, 12 d."""
    for limit, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{int(seconds // limit)} {unit}"
    return f"{int(seconds)} s"


def size(size_bytes: int) -> str:
    """A number of bytes as people write it, in powers of ten: 98.4 MB."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.1f} {unit}"
    return f"{size_bytes} B"


def probability(logprob: float) -> str:
    """A probability in per cent, from its natural logarithm."""
    return f"{100.0 * math.exp(logprob):.2f}%"


def bar(share: float, terminal: Terminal) -> str:
    """A bar for a share between 0 and 1; any share above 0 shows at least its first step."""
    if not terminal.unicode:
        return "#" * round(share * _BAR_CELLS)
    eighths = max(round(share * _BAR_CELLS * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def count(number: int | None) -> str:
    """A number of parameters as people write it: 8.1M, 2.2B."""
    if number is None:
        return _UNKNOWN
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number)


def _scored_row(token: ScoredToken, widest: int, terminal: Terminal) -> tuple[str, ...]:
    tops = [f"{_top_text(top, terminal)} {probability(top.logprob)}" for top in token.top]
    return (
        str(token.index),
        visible(token.token, token.bytes, space=_space(terminal)),
        str(token.rank),
        probability(token.logprob),
        _nats(token.surprisal),
        _nats(token.entropy),
        *tops,
        *[""] * (widest - len(tops)),
    )


def _choice_row(choice: Choice, terminal: Terminal) -> tuple[str, ...]:
    return (
        one_line(choice.option),
        _percent(choice.probability),
        bar(choice.probability, terminal).ljust(_BAR_CELLS),
        _percent(choice.normalized),
        f"{choice.logprob:.3f}",
        str(choice.tokens),
        *map(_percent, choice.by_order),
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.2f}%"


def _ranked_table(position: Position, terminal: Terminal) -> Table:
    columns = (
        Column("rank", "right"),
        Column("token"),
        Column("probability", "right"),
        Column(""),
        Column("id", "right"),
    )
    rows = tuple(
        (str(rank), _top_text(top, terminal), probability(top.logprob), _fixed_bar(top, terminal), str(top.id))
        for rank, top in enumerate(position.top, start=1)
    )
    where = f"after position {position.index}, {_position_text(position, terminal)}"
    return Table(columns, rows, f"{where} (entropy {position.entropy:.3f} nats)", _what_follows(position, terminal))


def _what_follows(position: Position, terminal: Terminal) -> tuple[str, ...]:
    if position.next_token is None or position.logprob is None:
        return ()
    token = _shown(position.next_token, terminal)
    likeliness = f"rank {position.rank}, {probability(position.logprob)}, surprisal {_nats(position.surprisal)} nats"
    return (f"what follows: {token} ({likeliness})",)


def _positions_table(positions: Sequence[Position], terminal: Terminal) -> Table:
    widest = max((len(position.top) for position in positions), default=0)
    figures = ("rank", "probability", "surprisal", "entropy")
    columns = (
        Column("index", "right"),
        Column("token"),
        Column("next token"),
        *(Column(title, "right") for title in figures),
        *(Column(f"top {rank}") for rank in range(1, widest + 1)),
    )
    rows = tuple(_position_row(position, widest, terminal) for position in positions)
    return Table(columns, rows, notes=("surprisal and entropy in nats",))


def _position_row(position: Position, widest: int, terminal: Terminal) -> tuple[str, ...]:
    tops = [f"{_top_text(top, terminal)} {probability(top.logprob)}" for top in position.top]
    first = position.index - position.count + 1
    return (
        f"{first}-{position.index}" if position.count > 1 else str(position.index),
        _position_text(position, terminal),
        _UNKNOWN if position.next_token is None else _shown(position.next_token, terminal),
        _UNKNOWN if position.rank is None else str(position.rank),
        _UNKNOWN if position.logprob is None else probability(position.logprob),
        _nats(position.surprisal),
        _nats(position.entropy),
        *tops,
        *[""] * (widest - len(tops)),
    )


def _scores_table(scores: Sequence[Score], named: bool) -> Table:
    columns = (
        Column("label"),
        Column("sigmoid (each on its own)", "right"),
        Column("softmax (against the others)", "right"),
        Column("logit", "right"),
    )
    ranked = sorted(scores, key=lambda score: score.logit, reverse=True)
    rows = tuple((one_line(s.label), _share(s.sigmoid), _share(s.softmax), f"{s.logit:.3f}") for s in ranked)
    return Table(columns, rows, one_line(scores[0].image) if named else None)


def composed_table(composed: Composed) -> Table:
    """The parts of a composition, in the order of the diagram."""
    columns = (Column("part"), Column("from"), Column("parameters", "right"))
    rows = tuple((part.role, one_line(part.source), f"{part.parameters:,}") for part in composed.parts)
    return Table(columns, rows, notes=(f"fusion: {composed.fusion}",))


def _per_image(scores: Sequence[T], images: int) -> Iterator[Sequence[T]]:
    # Counted out, not grouped by name: the same file may be given twice.
    each = max(len(scores) // max(images, 1), 1)
    return (scores[i : i + each] for i in range(0, len(scores), each))


def _classes_table(scores: Sequence[ClassScore], named: bool) -> Table:
    several = any(score.sigmoid is not None for score in scores)
    columns = (
        Column("rank", "right"),
        Column("label"),
        Column("sigmoid (each on its own)" if several else "softmax (against the others)", "right"),
        Column("logit", "right"),
        Column("id", "right"),
    )
    rows = tuple(
        (str(rank), one_line(s.label), _share(s.sigmoid if several else s.softmax), f"{s.logit:.3f}", str(s.id))
        for rank, s in enumerate(scores, start=1)
    )
    return Table(columns, rows, one_line(scores[0].image) if named else None)


def _cosines_table(embeddings: Sequence[Embedding]) -> Table:
    """Cosines, which for vectors of length 1 are dot products; columns by the numbers of the table before."""
    numbered = list(enumerate(embeddings, start=1))
    images = [pair for pair in numbered if pair[1].kind == "image"]
    texts = [pair for pair in numbered if pair[1].kind == "text"]
    down, across = (images, texts) if images and texts else (numbered, numbered)
    columns = (Column("cosine"), *(Column(str(number), "right") for number, _ in across))
    rows = tuple(
        (f"{number} {one_line(row.source)}", *(f"{_dot(row, column):.4f}" for _, column in across))
        for number, row in down
    )
    return Table(columns, rows)


def _dot(one: Embedding, other: Embedding) -> float:
    return math.fsum(a * b for a, b in zip(one.vector, other.vector, strict=True))


def _model_row(entry: ModelEntry) -> tuple[str, ...]:
    name = one_line(entry.name) + (" *" if entry.default else "")
    size, licence = count(entry.parameters), one_line(entry.licence or _UNKNOWN)
    return name, entry.kind, size, licence, _yes_no(entry.cached), one_line(entry.source)


def _position_text(position: Position, terminal: Terminal) -> str:
    text = _shown(position.token, terminal)
    if position.kind == "image" and not position.token:
        text = "<image>"
    return f"{text} x{position.count}" if position.count > 1 else text


def _top_text(top: TopToken, terminal: Terminal) -> str:
    return visible(top.token, top.bytes, space=_space(terminal))


def _shown(token: str, terminal: Terminal) -> str:
    return visible(token, space=_space(terminal))


def _space(terminal: Terminal) -> str:
    return "·" if terminal.unicode else "_"


def _fixed_bar(top: TopToken, terminal: Terminal) -> str:
    # Padded, so that the column is as wide in every table and ids stand under each other.
    return bar(math.exp(top.logprob), terminal).ljust(_BAR_CELLS)


def _nats(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4f}"


def _files(files: Sequence[ModelFile]) -> str:
    return f"{len(files)} file" + ("s" if len(files) != 1 else "")


def _entries(number: int) -> str:
    return f"{number} {'entry' if number == 1 else 'entries'}"


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
