"""What a model is made of: figures of the configuration, and tokens of the image that was asked about."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny
from vlmcli.errors import InputError
from vlmcli.inputs.image import load_image
from vlmcli.models.load import skeleton
from vlmcli.tasks.inspect import inspect


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
