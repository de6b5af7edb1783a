"""A model without its weights: it counts what the loaded one counts, and says what it could not get."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from vlmcli.catalog import ModelSpec
from vlmcli.errors import InputError, ModelError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.outline import skeleton
from vlmcli.models.skeleton import Skeleton
from vlmcli.types.chat import Message
from vlmcli.weights.resolve import Checkpoint


def bones_of(folder: Path) -> Skeleton:
    return skeleton(Checkpoint(folder, "spoilt", None, None))


def edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def keep_the_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: 8 + int.from_bytes(content[:8], "little")])


@pytest.mark.parametrize("family", list(tiny.FAMILIES))
def test_it_has_the_model_s_weights_and_none_of_their_numbers(checkpoint: Any, model: Any, family: str) -> None:
    bones = skeleton(checkpoint(family))
    loaded = {name: tuple(p.shape) for name, p in model(family).model.named_parameters()}
    assert {weight.name: weight.shape for weight in bones.weights()} == loaded
    on_meta = [p.is_meta for p in bones.model.parameters()]
    # Of Grounding DINO transformers copies a few layers to the CPU while it builds them.
    assert all(on_meta) or ("grounding_dino" in family and any(on_meta))
    assert bones.info.device == "meta" and not bones.notes


@pytest.mark.parametrize("size", [(40, 32), (64, 30), (30, 70)])
@pytest.mark.parametrize("family", list(tiny.GENERATORS))
def test_slots_are_those_of_the_loaded_model(checkpoint: Any, model: Any, family: str, size: tuple[int, int]) -> None:
    bones, vlm, image = skeleton(checkpoint(family)), model(family), tiny.picture(1, size)
    if not vlm.sees:
        with pytest.raises(InputError, match="text only"):
            bones.image_shape(image)
        return
    raw = not vlm.has_template
    text = str(getattr(vlm.processor, "image_token", None) or "") if raw else "Another question"
    inputs = vlm.prepare(Prompt((Message("user", text, 1),), (image,), raw))
    assert bones.image_shape(image) == inputs.images[0]
    assert bones.image_shape(image).tokens > 0 or vlm.image_token_id is None  # GIT's images take no slots


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_patches_are_those_of_the_loaded_model(checkpoint: Any, model: Any, family: str) -> None:
    bones, image, dual = skeleton(checkpoint(family)), tiny.picture(1, (64, 30)), model(family)
    (embedded,) = dual.embed_images([dual.prepare_image(image)])
    shape = bones.image_shape(image)
    assert (shape.resized, shape.tokens) == (embedded.resized, embedded.tokens)


def test_the_header_of_the_weights_is_enough(folder_of: Any) -> None:
    folder = folder_of("llava")
    keep_the_header(folder)
    bones = bones_of(folder)
    assert len(bones.stored) == len(bones.weights()) and not bones.notes


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "the dtype is that of config.json: .*no safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 4), "cut short"),
        (lambda folder: edit(folder, model_type="no-such-thing"), "transformers knows no models of type 'no-such-th"),
        (lambda folder: edit(folder, model_type="wav2vec2"), "vlm cannot run it: models of type 'wav2vec2'"),
        (
            lambda folder: edit(folder, vision_config={"model_type": "siglip_vision_model", "hidden_size": 33}),
            "transformers cannot build it: embed_dim",
        ),
        (lambda folder: (folder / "processor_config.json").unlink(), "no image tokens can be counted: "),
        (lambda folder: [file.unlink() for file in folder.glob("tokenizer*")], "no image tokens can be counted: "),
    ],
    ids=["no-weights", "bad-weights", "unknown-type", "other-kind", "unbuildable", "no-processor", "no-tokenizer"],
)
def test_what_is_missing_is_said_in_one_line(folder_of: Any, spoil: Callable[[Path], Any], says: str) -> None:
    folder = folder_of("llava")
    spoil(folder)
    (note,) = bones_of(folder).notes
    assert re.match(f".*{says}", note) and "\n" not in note


def test_an_unknown_type_keeps_its_values(folder_of: Any) -> None:
    folder = folder_of("llava")
    edit(folder, model_type="no-such-thing")
    bones = bones_of(folder)
    assert bones.model is None and bones.weights() == () and len(bones.stored) > 0
    assert bones.config.vision_config.patch_size == 8
    with pytest.raises(InputError, match="no-such-thing"):
        bones.image_shape(tiny.picture())


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_configuration_that_is_none_is_an_error(folder_of: Any, content: str) -> None:
    folder = folder_of("llava")
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError):
        bones_of(folder)


def test_what_the_catalogue_knows_comes_with_it(checkpoint: Any) -> None:
    spec = ModelSpec("mine", "vlm", "path:/mine", licence="mit", template="{{ messages }}")
    bones = skeleton(Checkpoint(checkpoint("llava").folder, "mine", "abc", spec))
    assert (bones.info.id, bones.info.revision, bones.licence, bones.template) == ("mine", "abc", "mit", spec.template)


def test_it_writes_nothing_to_the_terminal(folder_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    bones_of(folder_of("siglip"))
    assert capfd.readouterr() == ("", "")
