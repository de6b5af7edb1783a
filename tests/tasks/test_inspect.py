"""What a model is made of: figures of the configuration, and tokens of the image that was asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import tiny, tiny_gguf
from vlmcli.catalog import CompositionSpec, ModelSpec, PartSpec
from vlmcli.errors import InputError
from vlmcli.inputs.image import load_image
from vlmcli.models.load import load
from vlmcli.models.outline import skeleton
from vlmcli.tasks.inspect import inspect
from vlmcli.weights.resolve import Checkpoint


def test_llava(checkpoint: Any) -> None:
    anatomy = inspect(skeleton(checkpoint("llava")))
    assert (anatomy.model.id, anatomy.model.dtype, anatomy.model.device) == ("llava", "float32", "meta")
    assert (anatomy.family, anatomy.method, anatomy.licence) == ("llava", "A", None)
    assert (anatomy.patch, anatomy.image_size, anatomy.context) == ((8, 8), (32, 32), 512)
    assert anatomy.vocabulary == skeleton(checkpoint("llava")).config.text_config.vocab_size
    assert anatomy.parameters == sum(part.parameters or 0 for part in anatomy.parts) > 0
    assert anatomy.size_bytes == 4 * anatomy.parameters


def test_a_blank_image_has_the_encoder_s_own_size(checkpoint: Any) -> None:
    (image,) = inspect(skeleton(checkpoint("llava"))).images
    assert (image.source, image.original, image.resized, image.tokens) == ("a blank image", (32, 32), (32, 32), 16)


def test_an_encoder_without_a_size_gets_a_photograph(checkpoint: Any) -> None:
    (image,) = inspect(skeleton(checkpoint("qwen2_vl"))).images
    assert image.original == (640, 480) and image.tokens > 0


def test_tokens_grow_with_the_image(checkpoint: Any) -> None:
    bones = skeleton(checkpoint("qwen2_vl"))
    small, large = (inspect(bones, image_size=size).images[0] for size in ((56, 56), (112, 56)))
    assert (small.original, large.original) == ((56, 56), (112, 56))
    assert large.tokens == 2 * small.tokens


def test_images_of_one_s_own(checkpoint: Any) -> None:
    images = [load_image(tiny.picture(seed, size)) for seed, size in ((1, (56, 56)), (2, (112, 56)))]
    infos = inspect(skeleton(checkpoint("qwen2_vl")), images).images
    assert [info.sha256 for info in infos] == [image.info.sha256 for image in images]
    assert [info.tokens for info in infos] == [4, 8]


def test_a_text_only_model_has_no_image(checkpoint: Any) -> None:
    bones = skeleton(checkpoint("llama"))
    anatomy = inspect(bones)
    assert (anatomy.method, anatomy.images, anatomy.patch, anatomy.notes) == ("none", (), None, ())
    with pytest.raises(InputError, match="text only"):
        inspect(bones, image_size=(32, 32))


def test_an_image_that_nobody_asked_for_is_no_reason_to_fail(folder_of: Any, checkpoint: Any) -> None:
    bones = skeleton(checkpoint("llava"))
    bones.model.config.text_config.max_position_embeddings = 8
    anatomy = inspect(bones)
    assert anatomy.images == () and "context is 8" in anatomy.notes[0]
    with pytest.raises(InputError, match="context is 8"):
        inspect(bones, image_size=(32, 32))


@pytest.mark.parametrize(("fusion", "method"), [("concat", "A"), ("cross-attention", "B"), ("hybrid", "hybrid")])
def test_a_composition_is_told_by_its_parts(checkpoint: Any, fusion: Any, method: str) -> None:
    parts = {"vision": checkpoint("siglip"), "decoder": checkpoint("llama")}
    spec = CompositionSpec(PartSpec("v"), PartSpec(), PartSpec("d"), fusion, every=1, tiles=4)
    entry = ModelSpec("mine", "vlm", "composition", licence="mit", composition=spec)
    composed = replace(parts["decoder"], id="mine", spec=entry, parts=parts)
    anatomy = inspect(skeleton(composed), image_size=(64, 32))
    model: Any = load(composed, device="cpu")
    assert (anatomy.method, anatomy.licence, anatomy.context) == (method, "mit", 512)
    assert anatomy.parameters == sum(p.numel() for p in model.model.parameters())
    roles = ["encoder", "projector", *(["fusion"] if fusion != "concat" else []), "decoder"]
    assert [part.role for part in anatomy.parts] == roles
    assert anatomy.notes == model.info.notes
    assert anatomy.images[0].tokens == {"concat": 3 * 16, "cross-attention": 0, "hybrid": 16}[fusion]


def test_a_gguf_file_is_a_decoder(checkpoint: Any, tmp_path: Path) -> None:
    tiny_gguf.llama(tmp_path / "tiny.gguf", checkpoint("llama").folder, quantised=True)
    anatomy = inspect(skeleton(Checkpoint(tmp_path, "tiny", None, None, gguf="tiny.gguf")))
    whole = inspect(skeleton(checkpoint("llama")))
    (decoder,) = anatomy.parts
    assert (anatomy.method, decoder.parameters) == ("none", whole.parameters)
    assert decoder.size_bytes is not None and decoder.size_bytes < (whole.size_bytes or 0)


@pytest.mark.parametrize("family", ["owlv2", "grounding_dino", "sam2"])
def test_what_does_not_answer_has_no_method(checkpoint: Any, family: str) -> None:
    assert inspect(skeleton(checkpoint(family))).method == "none"
