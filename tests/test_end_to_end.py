"""The whole command, from words to exit code: what goes wrong ends in one helpful line."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from vlmcli.api.load import load
from vlmcli.cli.main import main
from vlmcli.cli.runtime import Runtime
from vlmcli.weights.resolve import Checkpoint

PICTURE = "picture.png"
Folder = Callable[[str], Path]


def vlm(*argv: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process, with real models."""
    out, err = io.StringIO(), io.StringIO()
    code = main(argv, Runtime(load, None, out, err))
    return code, out.getvalue(), err.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG file of that size, without its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with good and bad files in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLM_CONFIG_DIR", str(tmp_path / "config"))
    Image.effect_noise((60, 40), 90).convert("RGB").save(PICTURE)
    Image.open(PICTURE).save("whole.jpg")
    Path("cut.jpg").write_bytes(Path("whole.jpg").read_bytes()[:300])
    Path("empty.png").touch()
    Path("text.jpg").write_text("not an image")
    Path("huge.png").write_bytes(png_header(50_000, 50_000))
    Path("flat.png").write_bytes(png_header(0, 7))
    Path("folder.png").mkdir()
    return tmp_path


@pytest.fixture
def llava(checkpoint: Callable[[str], Checkpoint]) -> str:
    return str(checkpoint("llava").folder)


def is_one_line(text: str) -> bool:
    return text.startswith("error: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("nowhere.jpg", "no such file: nowhere.jpg"),
        ("folder.png", "directory"),
        ("empty.png", "empty"),
        ("text.jpg", "text.jpg"),
        ("cut.jpg", "cut.jpg"),
        ("huge.png", "2500"),
        ("flat.png", "flat.png"),
    ],
)
def test_bad_images(here: Path, llava: str, image: str, said: str) -> None:
    code, out, err = vlm("ask", image, "What is this?", "-m", llava)
    assert (code, out) == (3, "")
    assert is_one_line(err) and said in err, err


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F"])
def test_odd_images_are_answered(here: Path, llava: str, mode: str) -> None:
    kind = "tiff" if mode in ("CMYK", "I", "F") else "png"
    Image.new(mode, (30, 20)).save(f"odd.{kind}")
    code, _, err = vlm("ask", f"odd.{kind}", "What is this?", "-m", llava, "--max-tokens", "2")
    assert code == 0, err


def test_an_animation_gives_its_first_frame_and_a_note(here: Path, llava: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    code, _, err = vlm("ask", "moving.gif", "What is this?", "-m", llava, "--max-tokens", "2")
    assert code == 0 and "first" in err and "3" in err


def test_a_prompt_longer_than_the_context_names_the_numbers(here: Path, llava: str) -> None:
    code, _, err = vlm("ask", "a word " * 5000, "-m", llava)
    assert code == 3 and is_one_line(err)
    assert sum(word.strip(",.").isdigit() for word in err.split()) >= 2, err


def test_a_model_that_nobody_knows_is_answered_with_near_names(here: Path) -> None:
    code, _, err = vlm("ask", "hello", "-m", "picturebok")
    assert code == 4 and is_one_line(err) and "picturebook" in err


def test_folders_that_are_no_checkpoints(here: Path, folder_of: Folder) -> None:
    (here / "nothing").mkdir()
    assert vlm("ask", "hello", "-m", "./nothing")[0] == 4
    pickled = folder_of("llama")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    code, _, err = vlm("ask", "hello", "-m", str(pickled))
    assert code == 4 and is_one_line(err) and "pickle" in err


def test_corrupt_weights(here: Path, folder_of: Folder) -> None:
    folder = folder_of("llama")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, _, err = vlm("ask", "hello", "-m", str(folder))
    assert code == 4 and is_one_line(err) and "model.safetensors" in err


def test_a_hub_model_while_offline(here: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(here / "hf")}
    command = [sys.executable, "-m", "vlmcli.cli.main", "ask", "hello", "-m", "some/model"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 4 and is_one_line(done.stderr) and "HF_HUB_OFFLINE" in done.stderr


@pytest.mark.parametrize("command", [("ask",), ("topk",)])
def test_nan_logits(here: Path, folder_of: Folder, command: tuple[str, ...]) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of("llama")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    code, _, err = vlm(*command, "hello", "-m", str(folder))
    assert code == 1 and "NaN" in err and err.count("\n") == 1


def test_errors_are_json_where_json_was_asked_for(here: Path, llava: str) -> None:
    code, out, _ = vlm("ask", "nowhere.jpg", "What?", "-m", llava, "--json")
    assert code == 3 and json.loads(out)["error"]["message"] == "no such file: nowhere.jpg"


def test_a_placeholder_in_the_prompt_is_no_image(here: Path, llava: str) -> None:
    code, _, err = vlm("ask", PICTURE, "What is <image>?", "-m", llava)
    assert code == 3 and is_one_line(err) and "<image>" in err


def test_raw_prompts_must_hold_a_slot_for_each_image(here: Path, llava: str) -> None:
    assert vlm("ask", PICTURE, "What?", "-m", llava, "--raw")[0] == 3
    assert vlm("ask", PICTURE, "<image>\nWhat?", "-m", llava, "--raw", "--max-tokens", "2")[0] == 0


def test_max_pixels(here: Path, llava: str) -> None:
    code, _, err = vlm("ask", PICTURE, "What?", "-m", llava, "--max-pixels", "2000")
    assert code == 3 and is_one_line(err) and "2400" in err.replace(",", "").replace("60x40", "2400")


def test_same_seed_same_words(here: Path, llava: str) -> None:
    words = ("ask", PICTURE, "What?", "-m", llava, "--max-tokens", "12", "--temperature", "1.5")
    first, again, other = (vlm(*words, "--seed", seed)[1] for seed in ("1", "1", "2"))
    assert first == again != other


@pytest.fixture
def siglip(checkpoint: Callable[[str], Checkpoint]) -> str:
    return str(checkpoint("siglip").folder)


def test_kept_vectors_score_as_their_images(here: Path, siglip: str) -> None:
    labels, mode = ("a cat", "a dog"), ("-m", siglip, "--json")
    code, out, err = vlm("embed", PICTURE, "whole.jpg", "a tree", "-o", "kept.safetensors", *mode)
    assert (code, json.loads(out)["counts"]) == (0, {"images": 2, "texts": 1, "skipped": 0}), err
    again = json.loads(vlm("zeroshot", "--embeddings", "kept.safetensors", *labels, *mode)[1])
    fresh = json.loads(vlm("zeroshot", PICTURE, "whole.jpg", *labels, *mode)[1])
    assert again["scores"] == fresh["scores"]
    assert [image["sha256"] for image in again["images"]] == [image["sha256"] for image in fresh["images"]]


def test_vectors_of_another_model_are_refused_by_name(
    here: Path, siglip: str, checkpoint: Callable[[str], Checkpoint]
) -> None:
    clip = str(checkpoint("clip").folder)
    assert vlm("embed", PICTURE, "-o", "kept.jsonl", "-m", siglip)[0] == 0
    code, out, err = vlm("zeroshot", "--embeddings", "kept.jsonl", "a cat", "-m", clip)
    assert (code, out) == (3, "") and is_one_line(err)
    assert f"kept.jsonl was made by {siglip} at sha256:" in err and f"not by {clip} at sha256:" in err


def test_a_broken_image_does_not_stop_the_others(here: Path, siglip: str) -> None:
    code, out, err = vlm("embed", PICTURE, "cut.jpg", "huge.png", "whole.jpg", "-o", "kept.jsonl", "-m", siglip)
    assert code == 6 and "2 of images" in out and "2 skipped" in out
    assert [line.split()[1] for line in err.splitlines()] == ["cut.jpg", "huge.png"]
    assert Path("kept.jsonl").read_text().count('"kind": "image"') == 2


def test_nothing_but_broken_images_writes_nothing(here: Path, siglip: str) -> None:
    assert vlm("embed", "cut.jpg", "empty.png", "-o", "kept.jsonl", "-m", siglip)[0] == 3
    code, out, err = vlm("embed", "cut.jpg", "-o", "kept.jsonl", "-m", siglip)
    assert (code, out) == (3, "") and is_one_line(err)
    assert not [path for path in here.iterdir() if "kept" in path.name]


def test_classify(here: Path, checkpoint: Callable[[str], Checkpoint]) -> None:
    vit = str(checkpoint("vit").folder)
    code, out, _ = vlm("classify", PICTURE, "-m", vit, "-k", "2", "--json")
    scores = json.loads(out)["scores"]
    assert code == 0 and len(scores) == 2 and scores[0]["logit"] > scores[1]["logit"]
    code, out, err = vlm("zeroshot", PICTURE, "a cat", "-m", vit)
    assert (code, out) == (2, "") and is_one_line(err) and "vlm classify" in err


def test_a_closed_pipe_is_quiet(here: Path, llava: str) -> None:
    command = f"{sys.executable} -m vlmcli.cli.main ask {PICTURE} 'What?' -q -m {llava} --max-tokens 200 | head -c 5"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    assert done.stderr == b"" and len(done.stdout) <= 5


def test_two_at_once(here: Path, llava: str) -> None:
    command = [sys.executable, "-m", "vlmcli.cli.main", "ask", PICTURE, "What?", "-q", "-m", llava, "--max-tokens", "8"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in running)
    assert first == second and [process.returncode for process in running] == [0, 0]


def test_a_full_disk_is_one_line(here: Path, llava: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = f"{sys.executable} -m vlmcli.cli.main ask {PICTURE} 'What?' -q -m {llava} --max-tokens 8 > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1 and is_one_line(done.stderr) and "space" in done.stderr


def test_one_checkpoint_draws_and_answers(here: Path, checkpoint: Callable[[str], Checkpoint]) -> None:
    folder = str(checkpoint("emu3").folder)
    drawing = ("draw", "a red fox", "-m", folder, "--size", "32x48", "--seed", "1")
    code, out, err = vlm(*drawing, "-o", "fox.png")
    assert (code, err) == (0, "") and out.startswith("fox.png: 32x48, seed 1, 30 tokens")
    with Image.open("fox.png") as image:
        assert image.size == (32, 48)
    assert vlm(*drawing, "-o", "again.png")[0] == 0 and Path("again.png").read_bytes() == Path("fox.png").read_bytes()
    assert vlm("ask", "fox.png", "What is it?", "-m", folder, "--max-tokens", "2", "-q")[0] == 0
    code, _, err = vlm("draw", "a red fox", "-m", "picturebook", "-o", "no.png")
    assert code == 2 and is_one_line(err) and "cannot draw" in err and "janus-pro-1b" in err
    assert not list(here.glob("*.part")) and not Path("no.png").exists()
