"""Files of embeddings: what is written comes back, whole or not at all, and nothing else is taken for one."""

from __future__ import annotations

import errno
import json
import resource
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.embeddings import tensors
from vlmcli.inputs.embeddings.form import ROWS
from vlmcli.inputs.embeddings.kept import FORMS, Kept, check_file, keep
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals, TextInfo
from vlmcli.types.result import ImageInfo, ModelInfo, Start, Usage

MADE_BY = ModelInfo("org/model", "ab" * 20, "bfloat16", "cpu")
NEEDS_PYARROW = pytest.mark.skipif(find_spec("pyarrow") is None, reason="PARQUET IS NOT TESTED: pip install pyarrow")
ENDINGS = [".safetensors", ".jsonl", pytest.param(".parquet", marks=NEEDS_PYARROW)]
every_form = pytest.mark.parametrize("ending", ENDINGS)
NASTY = ("two\nlines\r and 日本", 'quote " back \\ slash', "\udc80.png", "\x1b[2J", "\u2028")


def vectors(count: int, dimensions: int = 8) -> torch.Tensor:
    """Unit vectors [count, dimensions] in float32."""
    numbers = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(count))
    return torch.nn.functional.normalize(numbers, dim=-1)


def image(number: int, name: str | None = None) -> ImageInfo:
    return ImageInfo(name or f"{number}.png", f"{number:064x}", (640 + number, 480), (96, 96), 64, ("a note",))


def embeddings(rows: torch.Tensor, texts: int = 0) -> list[Embedding]:
    """Images, and ``texts`` texts at the end."""
    infos = [image(n) if n < len(rows) - texts else TextInfo(f"text {n}", "ff" * 32, 7) for n in range(len(rows))]
    return [Embedding(info, tuple(row)) for info, row in zip(infos, rows.tolist(), strict=True)]


def events(made: list[Embedding], model: ModelInfo = MADE_BY) -> Generator[EmbedEvent, None, None]:
    yield Start(model, (), Usage())
    yield from made
    yield EmbedTotals(len(made), 0, 0, len(made[0].vector), model, Usage())


def written(path: Path, made: list[Embedding], model: ModelInfo = MADE_BY) -> Path:
    list(keep(events(made, model), path))
    return path


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Writing more fails in this process, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# There and back


@every_form
def test_what_is_written_comes_back(tmp_path: Path, ending: str) -> None:
    rows = vectors(5)
    kept = Kept.open(written(tmp_path / f"kept{ending}", embeddings(rows, texts=2)))
    assert kept.model == MADE_BY
    infos, back = zip(*kept.images(), strict=True)
    assert torch.equal(torch.stack(back), rows[:3]), "float32 numbers must survive bit by bit"
    assert infos == tuple(ImageInfo(f"{n}.png", f"{n:064x}", (640 + n, 480)) for n in range(3))


@every_form
def test_more_rows_than_are_read_at_a_time(tmp_path: Path, ending: str) -> None:
    rows = vectors(2 * ROWS + 3, dimensions=2)
    kept = Kept.open(written(tmp_path / f"kept{ending}", embeddings(rows)))
    infos, back = zip(*kept.images(), strict=True)
    assert torch.equal(torch.stack(back), rows)
    assert [info.source for info in infos] == [f"{n}.png" for n in range(len(rows))]


@every_form
def test_any_name_and_text_survives(tmp_path: Path, ending: str) -> None:
    made = [Embedding(image(n, name), (1.0, 0.0)) for n, name in enumerate(NASTY)]
    back = Kept.open(written(tmp_path / f"kept{ending}", made)).images()
    assert [info.source for info, _ in back] == [name.replace("\udc80", "\ufffd") for name in NASTY]


@every_form
def test_a_model_without_a_revision(tmp_path: Path, ending: str) -> None:
    model = replace(MADE_BY, revision=None)
    assert Kept.open(written(tmp_path / f"kept{ending}", embeddings(vectors(1)), model)).model == model


def test_safetensors_reads_it_as_the_page_says(tmp_path: Path) -> None:
    rows = vectors(3)
    path = written(tmp_path / "kept.safetensors", embeddings(rows, texts=1))
    content = load_file(path)
    items = [json.loads(line) for line in bytes(content["items"].tolist()).splitlines()]
    assert torch.equal(content["embeddings"], rows)
    assert items[0] == {"kind": "image", "source": "0.png", "sha256": "0" * 64, "size": [640, 480]}
    assert items[2] == {"kind": "text", "source": "text 2", "sha256": "ff" * 32, "size": None}
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert length % 8 == 0, "tensors begin aligned"


def test_the_room_for_the_header_is_enough_for_any_file() -> None:
    about = {"vlm_embeddings": "x" * 99}
    room = len(tensors._header(about, tensors._LONGEST, 1, tensors._LONGEST))
    for rows, dimensions, items_bytes in ((1, 1, 1), (10**12, 10**5, 10**14)):
        assert len(tensors._header(about, rows, dimensions, items_bytes)) <= room


def test_jsonl_is_plain_to_read(tmp_path: Path) -> None:
    path = written(tmp_path / "kept.jsonl", embeddings(vectors(2), texts=1))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["start", "embedding", "embedding", "done"]
    assert lines[0]["model"] == {"id": "org/model", "revision": "ab" * 20, "dtype": "bfloat16", "device": "cpu"}
    assert lines[1].keys() == {"type", "kind", "source", "sha256", "size", "vector"}


@NEEDS_PYARROW
def test_parquet_is_an_ordinary_table(tmp_path: Path) -> None:
    from pyarrow import parquet

    rows = vectors(3)
    table = parquet.read_table(written(tmp_path / "kept.parquet", embeddings(rows, texts=1)))
    assert table.column_names == ["kind", "source", "sha256", "width", "height", "embedding"]
    assert table.column("kind").to_pylist() == ["image", "image", "text"]
    assert table.column("width").to_pylist() == [640, 641, None]
    assert torch.equal(torch.tensor(table.column("embedding").to_pylist()), rows)


# Whole or not at all


@every_form
def test_every_event_is_passed_on_and_the_file_is_there_before_the_totals(tmp_path: Path, ending: str) -> None:
    made, path = embeddings(vectors(2)), tmp_path / f"kept{ending}"
    for event in keep(events(made), path):
        assert path.exists() == isinstance(event, EmbedTotals)
    assert list(keep(events(made), path)) == list(events(made))


@every_form
def test_what_fails_on_the_way_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    def failing() -> Generator[EmbedEvent, None, None]:
        yield Start(MADE_BY, (), Usage())
        yield from embeddings(vectors(2))
        raise KeyboardInterrupt

    path = tmp_path / f"kept{ending}"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        list(keep(failing(), path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@every_form
def test_a_full_disk_leaves_nothing(tmp_path: Path, ending: str) -> None:
    made = embeddings(vectors(ROWS + 1, dimensions=16))
    with pytest.raises(OSError) as raised, files_of_at_most(100_000):
        written(tmp_path / f"kept{ending}", made)
    assert raised.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_whoever_stops_listening_stops_the_file(tmp_path: Path) -> None:
    closed: list[bool] = []

    def watched() -> Generator[EmbedEvent, None, None]:
        try:
            yield from events(embeddings(vectors(2)))
        finally:
            closed.append(True)

    stream = keep(watched(), tmp_path / "kept.jsonl")
    next(stream), next(stream)
    stream.close()
    assert closed == [True] and list(tmp_path.iterdir()) == []


# What is refused


def test_another_model_is_named_beside_this_one(tmp_path: Path) -> None:
    kept = Kept.open(written(tmp_path / "kept.jsonl", embeddings(vectors(1))))
    kept.check_model(replace(MADE_BY, id="the same by another name", dtype="float32", device="cuda"))
    with pytest.raises(InputError, match=r"made by org/model at abab.*, not by picturebook-dual at sha256:12"):
        kept.check_model(ModelInfo("picturebook-dual", "sha256:12", "float32", "cpu"))


@every_form
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_is_refused(tmp_path: Path, ending: str, number: float) -> None:
    rows = vectors(3)
    path = written(tmp_path / f"kept{ending}", embeddings(rows))
    spoil(path, lambda content: content[1].__setitem__(0, number))
    with pytest.raises(InputError, match="NaN or infinite"):
        list(Kept.open(path).images())


@every_form
def test_vectors_of_another_length_are_refused(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"kept{ending}", embeddings(vectors(3)))
    spoil(path, lambda content: content[1].mul_(1.1))
    with pytest.raises(InputError, match="not of length 1"):
        list(Kept.open(path).images())


def test_half_precision_is_near_enough_to_length_one(tmp_path: Path) -> None:
    rows = vectors(50, dimensions=768).bfloat16()
    rows = torch.nn.functional.normalize(rows, dim=-1).float()
    assert len(list(Kept.open(written(tmp_path / "kept.jsonl", embeddings(rows))).images())) == 50


def spoil(path: Path, change: Callable[[torch.Tensor], Any]) -> None:
    """Change the vectors [n, D] of a file, and nothing else."""
    if path.suffix == ".safetensors":
        content, (name, about) = load_file(path), metadata(path)
        change(content["embeddings"])
        save_file(content, path, {name: about})
    elif path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        rows = torch.tensor([line["vector"] for line in lines[1:-1]])
        change(rows)
        for line, row in zip(lines[1:-1], rows.tolist(), strict=True):
            line["vector"] = row
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        from pyarrow import FixedSizeListArray, array, parquet

        table = parquet.read_table(path)
        rows = torch.tensor(table.column("embedding").to_pylist())
        change(rows)
        column = FixedSizeListArray.from_arrays(array(rows.flatten().numpy()), rows.shape[1])
        place = table.column_names.index("embedding")
        parquet.write_table(table.set_column(place, table.field(place).with_type(column.type), column), path)


def metadata(path: Path) -> tuple[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        (pair,) = file.metadata().items()
        return tuple(pair)  # type: ignore[return-value]


@every_form
@pytest.mark.parametrize("cut", [0.0, 0.2, 0.9])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, ending: str, cut: float) -> None:
    path = written(tmp_path / f"kept{ending}", embeddings(vectors(40)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(InputError, match=rf"kept\{ending}"):
        list(Kept.open(path).images())


def test_a_jsonl_file_that_ends_with_a_whole_line_is_cut_too(tmp_path: Path) -> None:
    path = written(tmp_path / "kept.jsonl", embeddings(vectors(4)))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(InputError, match="cut short"):
        list(Kept.open(path).images())


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "embedding"}',
        '{"type": "embedding", "kind": "cat", "source": "a", "sha256": "", "size": null, "vector": [1.0]}',
        '{"type": "embedding", "kind": "image", "source": "a", "sha256": "", "size": null, "vector": [1.0]}',
        '{"type": "embedding", "kind": "image", "source": "a", "sha256": "", "size": [1, 1], "vector": "x"}',
        '{"type": "embedding", "kind": "image", "source": "a", "sha256": "", "size": [1, 1], "vector": [1.0]}',
        "[]",
        "{",
    ],
)
def test_lines_that_make_no_sense(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "kept.jsonl", embeddings(vectors(2)))
    start, *rest = path.read_text().splitlines()
    path.write_text("\n".join([start, line, *rest]) + "\n")
    with pytest.raises(InputError) as raised:
        list(Kept.open(path).images())
    assert "kept.jsonl" in raised.value.message and "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b""),
        ("x.jsonl", b"\xff\xfe"),
        ("x.jsonl", b'{"type": "done"}\n'),
        ("x.jsonl", b'{"type": "start"}\n'),
        ("x.jsonl", b'{"type": "start", "schema_version": 9, "model": {}}\n'),
        ("x.safetensors", b"\x10"),
        ("x.safetensors", b"\2" + bytes(7) + b"{}"),
        pytest.param("x.parquet", b"PAR1", marks=NEEDS_PYARROW),
    ],
)
def test_what_is_no_file_of_embeddings(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        Kept.open(tmp_path / name)


def test_other_tensors_are_no_embeddings(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="no embeddings that vlm wrote"):
        Kept.open(tmp_path / "model.safetensors")


def test_items_and_vectors_must_be_as_many(tmp_path: Path) -> None:
    path = written(tmp_path / "kept.safetensors", embeddings(vectors(3)))
    content, (name, about) = load_file(path), metadata(path)
    save_file(content | {"embeddings": vectors(2)}, path, {name: about})
    with pytest.raises(InputError, match="damaged"):
        list(Kept.open(path).images())


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for ending in FORMS:
        if ending == ".parquet" and find_spec("pyarrow") is None:
            continue
        with pytest.raises(InputError, match="no such file"):
            Kept.open(tmp_path / f"nowhere{ending}")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        Kept.open(tmp_path / "folder.jsonl")


def test_the_ending_chooses_the_form(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.safetensors, \.jsonl, \.parquet"):
        check_file(tmp_path / "kept.npy")
    with pytest.raises(UsageError):
        Kept.open(tmp_path / "kept")
    check_file(tmp_path / "kept.jsonl")


def test_a_place_that_cannot_be_written_is_noticed_early(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check_file(tmp_path / "no" / "kept.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_file(tmp_path / "folder.jsonl")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmcli.inputs.embeddings.parquet.find_spec", lambda name: None)
    (tmp_path / "kept.parquet").write_bytes(b"PAR1")
    for open_it in (check_file, Kept.open):
        with pytest.raises(UsageError, match="pyarrow") as raised:
            open_it(tmp_path / "kept.parquet")
        assert "vlmcli[parquet]" in (raised.value.hint or "")
