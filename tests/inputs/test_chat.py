"""Messages become the model's own prompt text, and what a template would lose is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny
from vlmcli.errors import InputError
from vlmcli.inputs import chat
from vlmcli.inputs.chat import Prompt
from vlmcli.types.chat import Message

NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ m['content'] }}{% endfor %}"
)
DROPS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}{% endfor %}"
DROPS_ONE = "{% for m in messages %}<image>{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}"
DROPS_IMAGES = "{% for m in messages %}{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}"


def test_a_conversation_in_order(model: Any) -> None:
    messages = (
        Message("system", "be brief"),
        Message("user", "first", images=1),
        Message("assistant", "a cat"),
        Message("user", "second", images=1),
    )
    text = chat.render(model("llava").processor, messages)
    assert text == ("<s>system: be brief\nuser: <image>\nfirst\nassistant: a cat\nuser: <image>\nsecond\nassistant:")


def test_the_beginning_of_sequence_stands_once(model: Any) -> None:
    for family in ("llama", "llava"):
        vlm = model(family)
        ids = vlm.prepare(Prompt((Message("user", "hello"),))).ids
        assert ids.count(vlm.tokenizer.bos_token_id) == 1


def test_a_raw_prompt_stands_as_it_is(model: Any) -> None:
    vlm = model("llama")
    encoded = chat.encode(vlm.processor, Prompt((Message("user", "The dog jumped"),), raw=True))
    assert encoded.text == "The dog jumped"
    assert vlm.tokenizer.decode(encoded.tensors["input_ids"][0]) == "<s>The dog jumped"


def test_a_template_of_the_catalogue_replaces_the_own_one(model: Any) -> None:
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    assert chat.render(model("llama").processor, (Message("user", "hi"),), template) == "[hi]"


def test_a_template_that_pastes_strings_gets_placeholders(model: Any) -> None:
    """Some checkpoints have only a text template; images then stand before the text, in the order given."""
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
    text = chat.render(model("llava").processor, (Message("user", "hi", images=2),), template)
    assert text == "user: <image>\n<image>\nhi"


def test_without_a_template_the_remedy_is_named(model: Any) -> None:
    with pytest.raises(InputError, match="no chat template") as raised:
        chat.render(model("paligemma").processor, (Message("user", "hi"),))
    assert raised.value.hint and "--raw" in raised.value.hint and "models.toml" in raised.value.hint


@pytest.mark.parametrize(
    ("template", "messages", "says"),
    [
        (NO_SYSTEM, (Message("system", "be brief"), Message("user", "hi")), "no system role"),
        (DROPS_SYSTEM, (Message("system", "be brief"), Message("user", "hi")), "drops the system message"),
        (DROPS_ONE, (Message("user", "hi", images=2),), "1 image slots for 2 images"),
        ("{% for %}", (Message("user", "hi"),), "refuses"),
        ("{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}", (Message("user", "hi", images=1),), "."),
    ],
)
def test_a_template_that_refuses_or_drops(model: Any, template: str, messages: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        chat.render(model("llava").processor, messages, template)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("family", "word"),
    [
        ("llava", "<image>"),
        ("qwen2_vl", "<|image_pad|>"),
        ("qwen2_vl", "<|video_pad|>"),
        ("internvl", "<IMG_CONTEXT>"),
        ("internvl", "<img>"),
        ("idefics3", "<fake_token_around_image>"),
    ],
)
def test_a_placeholder_in_the_words_of_the_user_is_no_image(model: Any, family: str, word: str) -> None:
    with pytest.raises(InputError, match="contains") as raised:
        chat.render(model(family).processor, (Message("user", f"what does {word} mean?", images=1),))
    assert word in raised.value.message


def test_a_text_only_model_reads_such_a_word_as_text(model: Any) -> None:
    assert "<image>" in chat.render(model("llama").processor, (Message("user", "what is <image>?"),))


def test_a_text_only_model_refuses_images(model: Any) -> None:
    with pytest.raises(InputError, match="text only"):
        chat.encode(model("llama").processor, Prompt((Message("user", "hi", images=1),), (tiny.picture(),)))


def test_a_template_that_drops_all_images(model: Any) -> None:
    """It may have left them to the processor; where that adds none either, the prompt is refused."""
    prompt = Prompt((Message("user", "hi", images=1),), (tiny.picture(),))
    with pytest.raises(InputError, match="refuses this prompt"):
        chat.encode(model("llava").processor, prompt, DROPS_IMAGES)


def test_messages_and_images_must_agree(model: Any) -> None:
    with pytest.raises(InputError, match="show 2 images, and 1"):
        chat.encode(model("llava").processor, Prompt((Message("user", "hi", images=2),), (tiny.picture(),)))


def test_a_plain_line_break_is_no_placeholder(model: Any) -> None:
    """Some processors name ordinary characters among their tokens; no prompt may fail for them."""
    import copy

    processor = copy.copy(model("llava").processor)
    processor.row_end_token = "\n"
    assert "one\ntwo" in chat.render(processor, (Message("user", "one\ntwo", images=1),))
