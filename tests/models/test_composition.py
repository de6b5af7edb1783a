"""Compositions against plainly written references, and against the checkpoints that their parts come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from tests import families, tiny
from vlmcli.catalog import CompositionSpec, ModelSpec, PartSpec
from vlmcli.engine.decode import decode
from vlmcli.errors import InputError, ModelError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.assemble import assemble, save_between
from vlmcli.models.load import load
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message, Sampling
from vlmcli.weights.resolve import Checkpoint

FUSIONS = ("concat", "cross-attention", "hybrid")
Compose = Callable[..., Vlm]


@pytest.fixture
def compose(checkpoint: Callable[[str], Checkpoint]) -> Compose:
    """``compose("hybrid", tiles=4)``: a tiny SigLIP encoder, a random projector and a tiny Llama, joined."""

    def make(fusion: str = "concat", vision: str = "siglip", decoder: str = "llama", **joined: Any) -> Vlm:
        parts = {"vision": checkpoint(vision), "decoder": checkpoint(decoder)}
        projector = joined.pop("projector", PartSpec())
        if projector.source:
            parts["projector"] = checkpoint(projector.source)
        spec = CompositionSpec(PartSpec(vision), projector, PartSpec(decoder), fusion, **{"every": 1, **joined})  # type: ignore[arg-type]
        entry = ModelSpec("composed", "vlm", "composition", composition=spec)
        made = load(Checkpoint(parts["decoder"].folder, "composed", None, entry, parts=parts), device="cpu")
        assert isinstance(made, Vlm)
        return made

    return make


def question(*sizes: tuple[int, int], text: str = "What is in the image?") -> Prompt:
    """A question about as many pictures as sizes."""
    pictures = tuple(tiny.picture(i, size) for i, size in enumerate(sizes))
    return Prompt((Message("user", text, len(sizes)),), pictures)


@torch.no_grad()
def logits_of(vlm: Vlm, inputs: Inputs) -> Tensor:
    """All logits [T, V]."""
    return vlm.model(**inputs.tensors).logits[0]  # type: ignore[no-any-return]


def open_gates(vlm: Vlm) -> None:
    for layer in vlm.model.cross_attention.layers:
        layer.gate.data.fill_(0.7)
        layer.feed_forward_gate.data.fill_(-0.4)


@torch.no_grad()
def plain_block(layer: Any, hidden: Tensor, memory: list[tuple[Tensor, int]]) -> Tensor:
    """Gated cross-attention of one prompt [T, E] over images ([m, E], visible from), position by position."""
    result = []
    for position, x in enumerate(hidden):
        seen = [part for part, start in memory if position >= start]
        if not seen:
            result.append(x)
            continue
        keys = layer.norm_seen(torch.cat(seen))  # [m, E]
        query, key, value = layer.query(layer.norm(x)), layer.key(keys), layer.value(keys)
        size = len(query) // layer.heads
        heads = []
        for h in range(layer.heads):
            own = slice(h * size, (h + 1) * size)
            weights = (key[:, own] @ query[own] / math.sqrt(size)).softmax(0)  # [m]
            heads.append(weights @ value[:, own])
        x = x + math.tanh(layer.gate) * layer.out(torch.cat(heads))
        result.append(x + math.tanh(layer.feed_forward_gate) * layer.feed_forward(x))
    return torch.stack(result)


@torch.no_grad()
def plain_forward(vlm: Vlm, inputs: Inputs) -> Tensor:
    """What a composition computes, written out for one prompt and a Llama: logits [T, V]."""
    model, tensors = vlm.model, inputs.tensors
    crops, starts = tensors["crops"].tolist(), tensors["starts"].tolist()
    embeddings = model.projector(model.vision(tensors["pixel_values"]))  # [N, p, E]
    spliced: list[Tensor] = []
    memory: list[tuple[Tensor, int]] = []
    for count, start in zip(crops, starts, strict=True):
        own, embeddings = embeddings[:count], embeddings[count:]
        if model.fusion == "concat":
            spliced += own.flatten(0, 1)
        elif model.fusion == "cross-attention":
            memory.append((own.flatten(0, 1), start))
        else:
            spliced += own[0]
            memory.append(((own[1:] if count > 1 else own).flatten(0, 1), start))
    words = model.decoder.get_input_embeddings()
    rows = [spliced.pop(0) if i == vlm.image_token_id else words(torch.tensor(i)) for i in inputs.ids]
    assert not spliced
    llama, hidden = model.decoder.model, torch.stack(rows)  # [T, E]
    positions = torch.arange(len(rows))[None]
    rotary = llama.rotary_emb(hidden[None], positions)
    mask = torch.full((len(rows), len(rows)), float("-inf")).triu(1)[None, None]
    for number, block in enumerate(llama.layers):
        if model.cross_attention is not None and number in model.cross_attention.places:
            hidden = plain_block(
                model.cross_attention.layers[model.cross_attention.places.index(number)], hidden, memory
            )
        hidden = block(hidden[None], attention_mask=mask, position_ids=positions, position_embeddings=rotary)[0]
        hidden = hidden[0] if hidden.dim() == 3 else hidden
    return model.decoder.lm_head(llama.norm(hidden))  # type: ignore[no-any-return]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(("sizes", "tiles"), [(((40, 40),), 1), (((40, 40), (90, 30)), 4)])
def test_forward_is_the_plain_reference(
    compose: Compose, fusion: str, sizes: tuple[tuple[int, int], ...], tiles: int
) -> None:
    vlm = compose(fusion, tiles=tiles)
    if vlm.model.cross_attention is not None:
        open_gates(vlm)
    inputs = vlm.prepare(question(*sizes))
    ours, plain = logits_of(vlm, inputs).softmax(-1), plain_forward(vlm, inputs).softmax(-1)
    assert (ours - plain).abs().max() < 1e-5


@pytest.mark.parametrize("row", families.COMPOSITIONS, ids=lambda row: row.name)
def test_the_models_of_the_table(compose: Compose, row: families.Composition) -> None:
    projector = PartSpec(options={"kind": row.projector})
    vlm = compose(row.fusion, row.vision, row.decoder, projector=projector, tiles=row.tiles)
    if vlm.model.cross_attention is not None:
        open_gates(vlm)
    inputs = vlm.prepare(question((90, 40), (40, 40)))
    ours, plain = logits_of(vlm, inputs).softmax(-1), plain_forward(vlm, inputs).softmax(-1)
    assert (ours - plain).abs().max() < 1e-5


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_answer_depends_on_the_picture(compose: Compose, fusion: str) -> None:
    vlm = compose(fusion, tiles=4)
    if vlm.model.cross_attention is not None:
        open_gates(vlm)
    one, other = (Prompt(question((90, 40)).messages, (tiny.picture(seed, (90, 40)),)) for seed in (1, 2))
    assert (logits_of(vlm, vlm.prepare(one))[-1] - logits_of(vlm, vlm.prepare(other))[-1]).abs().max() > 1e-3


@pytest.mark.parametrize("fusion", FUSIONS)
def test_cached_decoding_is_one_forward(compose: Compose, fusion: str) -> None:
    """The pictures stay in the cache: a step gets the new id and nothing else."""
    vlm = compose(fusion, tiles=4)
    if vlm.model.cross_attention is not None:
        open_gates(vlm)
    inputs = vlm.prepare(question((90, 40)))
    events = list(decode(vlm, inputs, Sampling(max_tokens=6)))
    said = [event.id for event in events]
    longer = dict(inputs.tensors)
    longer["input_ids"] = torch.tensor([[*inputs.ids, *said]])
    longer["attention_mask"] = torch.ones_like(longer["input_ids"])
    with torch.no_grad():
        full = vlm.model(**longer).logits[0].log_softmax(-1)  # [T + 6, V]
    for event in events:
        at = len(inputs.ids) + event.index - 1
        assert abs(float(full[at, event.id]) - event.logprob) < 1e-4
        assert int(full[at].argmax()) == event.id


@pytest.mark.parametrize("fusion", FUSIONS)
def test_prompts_of_a_batch_see_their_own_pictures(compose: Compose, fusion: str) -> None:
    vlm = compose(fusion, tiles=4)
    if vlm.model.cross_attention is not None:
        open_gates(vlm)
    asked = [question((90, 40)), question((40, 40), (30, 90), text="What is the difference between these two?")]
    batch = vlm.prefill_batch(vlm.prepare_batch(asked))
    alone = [vlm.prefill(vlm.prepare(each)) for each in asked]
    for step in range(3):
        together = batch.logits.softmax(-1)  # [B, V]
        apart = torch.stack([state.logits for state in alone]).softmax(-1)  # [B, V]
        assert (together - apart).abs().max() < 1e-5, f"a padded batch differs at step {step}"
        ids = together.argmax(-1).tolist()
        vlm.step_batch(batch, ids)
        for state, token_id in zip(alone, ids, strict=True):
            vlm.step(state, token_id)


def test_closed_gates_leave_the_decoder_as_it_was(compose: Compose, model: Callable[[str], Vlm]) -> None:
    """Llama 3.2's promise: text alone gets exactly the logits that the decoder alone gives; and so do pictures."""
    vlm, decoder = compose("cross-attention"), model("llama")
    text = vlm.prepare(question())
    assert text.ids == decoder.prepare(question()).ids
    own = logits_of(decoder, decoder.prepare(question()))
    assert torch.equal(logits_of(vlm, text), own)
    shown = vlm.prepare(Prompt((Message("user", "<image>What is this?"),), (tiny.picture(),), raw=True))
    bare = decoder.prepare(Prompt((Message("user", "What is this?"),), raw=True))
    assert shown.ids == bare.ids
    assert torch.equal(logits_of(vlm, shown), logits_of(decoder, bare))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradients_reach_only_what_is_not_frozen(compose: Compose, fusion: str) -> None:
    vlm = compose(fusion, tiles=4)
    composed = vlm.model
    composed.freeze(["vision", "decoder"])
    if composed.cross_attention is not None:
        open_gates(vlm)
    inputs = vlm.prepare(question((90, 40)))
    composed(**inputs.tensors, labels=inputs.tensors["input_ids"].clamp(max=200)).loss.backward()
    learning = {
        "projector": composed.projector,
        **({"cross_attention": composed.cross_attention} if composed.cross_attention else {}),
    }
    for name, part in learning.items():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters()), name
    for part in (composed.vision, composed.decoder):
        assert all(p.grad is None for p in part.parameters())


def test_a_checkpoint_and_the_composition_of_its_parts_say_the_same(
    compose: Compose, model: Callable[[str], Vlm]
) -> None:
    whole = model("llava")
    parts = compose("concat", vision="llava", decoder="llava", projector=PartSpec("llava"))
    assert parts.info.notes == ()
    for asked in (question((40, 40)), question((40, 40), (70, 50)), question()):
        assert parts.prepare(asked).ids == whole.prepare(asked).ids
        theirs = list(decode(whole, whole.prepare(asked), Sampling(max_tokens=10)))
        ours = list(decode(parts, parts.prepare(asked), Sampling(max_tokens=10)))
        assert [event.id for event in ours] == [event.id for event in theirs]
        assert max(abs(math.exp(a.logprob) - math.exp(b.logprob)) for a, b in zip(ours, theirs, strict=True)) < 1e-5


@pytest.mark.parametrize("vision", ["clip", "siglip", "internvl"])
@pytest.mark.parametrize("kind", ["linear", "mlp", "pixel-shuffle-mlp", "average-pool", "perceiver"])
def test_any_encoder_meets_any_projector(compose: Compose, vision: str, kind: str) -> None:
    options = {"kind": kind, **({"heads": 4} if kind == "perceiver" else {})}
    vlm = compose("concat", vision=vision, projector=PartSpec(options=options))
    inputs = vlm.prepare(question((40, 40)))
    assert sum(inputs.is_image) == vlm.model.projector.tokens(vlm.model.vision.tokens)
    assert len(list(decode(vlm, inputs, Sampling(max_tokens=3)))) == 3
    assert vlm.info.notes == ("the projector is random: it has not been trained",)


def test_a_mixture_of_experts_is_a_decoder_like_any_other(compose: Compose, tmp_path: Path) -> None:
    tokens = tiny.tokenizer()
    config = hf.MixtralConfig(**tiny.DECODER, num_local_experts=4, num_experts_per_tok=2, **tiny.token_ids(tokens))
    folder = tiny.save(tmp_path, hf.MixtralForCausalLM(config), tokens)
    decoder = Checkpoint(folder, "experts", None, None)
    spec = CompositionSpec(
        PartSpec(options={"patch_px": 8, "side_px": 32}), PartSpec(options={"kind": "linear"}), PartSpec("x")
    )
    model, processor = assemble(spec, {"decoder": decoder}, torch.float32)
    made = processor(["<image>look"], images=[[tiny.picture()]])
    assert int((made["input_ids"] == processor.image_token_id).sum()) == 16
    assert torch.isfinite(model(**made).logits).all()


def test_what_was_saved_random_says_so_until_it_is_trained(compose: Compose, tmp_path: Path) -> None:
    first = compose("hybrid")
    file = tmp_path / "projector.safetensors"
    save_between(first.model, file, ["projector", "cross_attention"])
    again = compose("hybrid", projector=PartSpec(file=file))
    assert again.info.notes == first.info.notes and len(first.info.notes) == 2
    for name, value in first.model.projector.state_dict().items():
        assert torch.equal(value, again.model.projector.state_dict()[name])
    save_between(first.model, file, ["cross_attention"])
    assert compose("hybrid", projector=PartSpec(file=file)).info.notes == first.info.notes[1:]
    save_between(first.model, file)
    assert compose("cross-attention", projector=PartSpec(file=file)).info.notes == ()


def test_a_projector_for_other_parts_is_refused(compose: Compose, tmp_path: Path) -> None:
    file = tmp_path / "projector.safetensors"
    save_between(compose().model, file)
    with pytest.raises(ModelError, match="do not fit"):
        compose(projector=PartSpec(file=file, options={"kind": "average-pool"}))


def test_the_same_seed_gives_the_same_random_projector(compose: Compose) -> None:
    state, other = (compose("hybrid").model.projector.state_dict() for _ in range(2))
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_images_and_placeholders_must_match(compose: Compose) -> None:
    vlm = compose()
    with pytest.raises(InputError, match="0 image placeholders for 1 images"):
        vlm.prepare(Prompt((Message("user", "no slot"),), (tiny.picture(),), raw=True))
