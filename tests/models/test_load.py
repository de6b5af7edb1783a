"""From a folder to a model: which kind, which device, and what is wrong with a bad one, in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from vlmcli.errors import ModelError, OutOfMemory, UsageError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.classifier import Classifier
from vlmcli.models.detector import Detector
from vlmcli.models.device import memory_guard, pick_device, pick_dtype
from vlmcli.models.dual import Dual
from vlmcli.models.load import _or_again, load
from vlmcli.models.segmenter import Segmenter
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message
from vlmcli.weights.resolve import Checkpoint


def load_folder(folder: Path, **options: Any) -> Any:
    return load(Checkpoint(folder, folder.name, None, None), **{"device": "cpu", **options})


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("family", list(tiny.FAMILIES))
def test_the_kind_comes_from_the_configuration(model: Any, family: str) -> None:
    loaded = model(family)
    rooms = {Classifier: tiny.CLASSIFIERS, Dual: tiny.DUALS, Detector: tiny.DETECTORS, Segmenter: tiny.SEGMENTERS}
    assert isinstance(loaded, next((kind for kind, room in rooms.items() if family in room), Vlm))
    assert loaded.info.id == family and loaded.info.device == "cpu" and loaded.info.dtype == "float32"
    assert not loaded.model.training
    assert all(p.dtype == torch.float32 for p in loaded.model.parameters())


def test_the_folder_may_have_any_name(folder_of: Any) -> None:
    """The kind is never guessed from a name."""
    folder = folder_of("llava").rename(folder_of("siglip").parent / "clip-llama-7b")
    assert isinstance(load_folder(folder), Vlm)


def test_only_models_with_an_image_processor_see(model: Any) -> None:
    assert model("llava").sees and not model("llama").sees


def test_a_spread_model_says_the_same(checkpoint: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with one device there is nothing to spread; the hooks for several are accelerate's."""
    from vlmcli.models import load as loading

    maps, read = [], loading._model
    monkeypatch.setattr(loading, "_model", lambda *given: maps.append(given[-1]) or read(*given))
    spread = load(checkpoint("llava"), device_map="auto", dtype="float32")
    assert isinstance(spread, Vlm) and maps == ["auto"]
    prompt = Prompt((Message("user", "What is it?", 1),), (tiny.picture(0, (40, 40)),))
    ours, theirs = (vlm.prefill(vlm.prepare(prompt)).logits.cpu() for vlm in (spread, model("llava")))
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_what_cannot_be_spread_says_so(checkpoint: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be spread"):
        load(Checkpoint(tmp_path, "parts", None, None, gguf="a.gguf"), device_map="auto")


def test_dtype(folder_of: Any) -> None:
    vlm = load_folder(folder_of("llava"), dtype="bfloat16")
    assert vlm.info.dtype == "bfloat16" and vlm.model.dtype == torch.bfloat16


def test_missing_weights_are_an_error(folder_of: Any) -> None:
    """They would silently be random numbers."""
    folder = folder_of("llava")
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "mm_projector" in name or "multi_modal_projector" in name)
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 of the weights"):
        load_folder(folder)


def test_weights_of_another_shape_are_named(folder_of: Any) -> None:
    folder = folder_of("llama")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"tensor model\.norm\.weight is 8, and config\.json asks for 32"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "config.json").write_text("{"), "JSON|json"),
        (
            lambda folder: edit_json(folder / "config.json", lambda c: c.update(model_type="no-such-thing")),
            "no-such-thing",
        ),
        (lambda folder: edit_json(folder / "config.json", lambda c: c.update(model_type="wav2vec2")), "'wav2vec2'"),
        (lambda folder: (folder / "model.safetensors").unlink(), "safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 4), "."),
        (lambda folder: (folder / "processor_config.json").unlink(), "processor"),
        (lambda folder: [f.unlink() for f in folder.glob("tokenizer*")], "."),
    ],
    ids=["broken-json", "unknown-type", "wrong-kind", "no-weights", "bad-weights", "no-processor", "no-tokenizer"],
)
def test_a_bad_checkpoint_is_one_line(folder_of: Any, spoil: Callable[[Path], Any], says: str) -> None:
    folder = folder_of("llava")
    spoil(folder)
    with pytest.raises(ModelError, match=says) as raised:
        load_folder(folder)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("kind", ["florence2", "pix2struct", "udop", "t5gemma2"])
def test_families_of_encoder_decoders_say_that_they_are(folder_of: Any, kind: str) -> None:
    folder = folder_of("llava")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ModelError, match=f"{kind}.*encoder-decoder"):
        load_folder(folder)


def test_an_encoder_decoder_says_that_it_is_one(tmp_path: Path) -> None:
    """BLIP-2 over T5: the same model type as over a decoder."""
    import transformers as hf

    from tests.tiny.parts import square

    tokens = tiny.tokenizer()
    processor = hf.Blip2Processor(square(hf.BlipImageProcessor), tokens, num_query_tokens=4)
    config = hf.Blip2Config(
        vision_config={**tiny.ENCODER, "image_size": 32, "patch_size": 8},
        qformer_config={**tiny.ENCODER, "encoder_hidden_size": 32, "vocab_size": len(tokens)},
        text_config=hf.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, vocab_size=len(tokens)),
        num_query_tokens=4,
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
    )
    folder = tiny.save(tmp_path, hf.Blip2ForConditionalGeneration(config), processor)
    with pytest.raises(ModelError, match="encoder-decoder"):
        load_folder(folder)


def test_loading_writes_nothing_to_the_terminal(folder_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    load_folder(folder_of("llava"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "", "meta"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError):
        pick_device(name)


def test_automatic_choices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(UsageError, match="int3"):
        pick_dtype("int3", torch.device("cpu"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["python", "cuda", "cpu"],
)
def test_memory_running_out_has_one_name(error: Exception) -> None:
    with pytest.raises(OutOfMemory, match="while juggling"), memory_guard("juggling"):
        raise error


def test_other_runtime_errors_keep_their_name() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_guard("juggling"):
        raise RuntimeError("shape mismatch")


def test_an_absurd_allocation_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory), memory_guard("juggling"):
        torch.empty(2**55)


MEND = "from vlmcli.models.torchvision_shim import _declared, mend_torchvision; mended = mend_torchvision(); "


def run(code: str, path: Path | None = None) -> str:
    """The output of a fresh interpreter; modules under ``path`` come first."""
    code = (f"import sys; sys.path.insert(0, {str(path)!r}); " if path else "") + code
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def fake_torchvision(folder: Path, body: str) -> Path:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(body)
    return folder


def test_torchvision_that_was_built_for_another_torch(tmp_path: Path) -> None:
    """Its import registers a kernel of an operator that nobody declared: declare both, and the import works."""
    body = (
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda *args: args[0])\n"
        "ready = True\n"
    )
    code = MEND + "import torchvision; print(mended, len(_declared), torchvision.ready, mend_torchvision())"
    assert run(code, fake_torchvision(tmp_path, body)) == "True 1 True True"


def test_torchvision_that_works_is_left_alone(tmp_path: Path) -> None:
    code = MEND + "print(mended, len(_declared))"
    assert run(code, fake_torchvision(tmp_path, "")) == "False 0"


def test_torchvision_that_fails_for_another_reason_says_so(tmp_path: Path) -> None:
    code = "try:\n    " + MEND + "\nexcept RuntimeError as error:\n    print(error)"
    assert run(f"exec({code!r})", fake_torchvision(tmp_path, "raise RuntimeError('quite another')")) == "quite another"


def test_loading_mends_torchvision_first(checkpoint: Any) -> None:
    """In a fresh process, with nothing of transformers' models imported before; a published layout imports some."""
    for family in ("llama", "nvlm_d"):
        code = (
            "from pathlib import Path; from vlmcli.models.load import load; "
            "from vlmcli.weights.resolve import Checkpoint; "
            f"print(load(Checkpoint(Path({str(checkpoint(family).folder)!r}), 'tiny', None, None), device='cpu').sees)"
        )
        assert run(code) == str(family == "nvlm_d")


def test_the_installed_torchvision_imports_in_either_world() -> None:
    """Whether it fits the installed torch or not, image processors of transformers can be imported afterwards."""
    code = (
        MEND + "from torchvision.transforms.v2 import functional; from transformers import CLIPImageProcessor; print(1)"
    )
    assert run(code) == "1"


def test_a_package_that_is_missing_is_named(folder_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils.import_utils import TIMM_IMPORT_ERROR

    def refuse(*_: Any) -> Any:
        raise ImportError(TIMM_IMPORT_ERROR.format("TimmWrapperModel"))

    monkeypatch.setattr("vlmcli.models.load._read", refuse)
    with pytest.raises(ModelError, match=r"llava needs timm, which is not here") as caught:
        load_folder(folder_of("llava"))
    assert caught.value.hint == "pip install timm"


@pytest.mark.parametrize("family", ["blip", "diffusion_gemma", "pi0"])
def test_a_model_that_writes_no_tokens_is_refused(tmp_path: Path, family: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=f"models of type '{family}' write no answer token by token"):
        load_folder(tmp_path)


@pytest.mark.parametrize("family", ["florence2", "pix2struct", "udop", "t5gemma2", "vision-encoder-decoder"])
def test_an_encoder_decoder_is_refused(tmp_path: Path, family: str) -> None:
    import transformers

    transformers.AutoConfig.for_model(family).save_pretrained(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="encoder-decoder"):
        load_folder(tmp_path)


@pytest.mark.parametrize("waits", [True, False])
def test_what_fails_while_something_waits_is_tried_again(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def read() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise AttributeError("not there yet")
        return "read"

    monkeypatch.setattr("vlmcli.models.load.load_the_rest", lambda: waits)
    if waits:
        assert _or_again(read) == "read"
    else:
        with pytest.raises(AttributeError):
            _or_again(read)
