"""The stream of text equals the decoded whole, whatever the tokens are; characters and stop strings stay whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests import tiny
from vlmcli.inputs.detokenize import Detokenizer, Vocabulary

TEXTS = (
    "The quick brown fox jumped over the lazy dog.",
    "naïve café, 猫がいる 🐈‍⬛🇫🇷 — שלום",
    "  leading and   inner spaces\n\n\tand a tab ",
    "plain",
    "\N{REPLACEMENT CHARACTER} is a character too \N{REPLACEMENT CHARACTER}",
)


def llama_like() -> Any:
    """SentencePiece's way with a prefix space that decoding strips: the first token differs from the others."""
    core = tiny.fallback_tokenizer(hf.GemmaTokenizer).backend_tokenizer
    core = Tokenizer.from_str(core.to_str())
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")


def word_level() -> Any:
    """No decoder at all: tokens are joined by spaces."""
    words = sorted({word for text in TEXTS + tiny.CORPUS for word in text.split()})
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<unk>", "</s>", *words])}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {
    "byte-level": tiny.tokenizer,
    "gemma": lambda: tiny.fallback_tokenizer(hf.GemmaTokenizer),
    "llama": llama_like,
    "words": word_level,
}


@pytest.fixture(params=list(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def pieces(tokenizer: Any, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    stream = Detokenizer(Vocabulary(tokenizer), stop)
    return [*(stream.add(i) for i in ids), stream.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_are_the_whole(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids, skip_special_tokens=True)


def test_the_pieces_of_random_tokens_are_the_whole(tokenizer: Any) -> None:
    """Broken UTF-8, special tokens in the middle, more tokens than the window holds."""
    chance = random.Random(0)
    for length in (1, 2, 3, 10, 100, 300, 900):
        ids = [chance.randrange(len(tokenizer)) for _ in range(length)]
        whole = tokenizer.decode(ids, skip_special_tokens=True)
        assert "".join(pieces(tokenizer, ids)) == whole, f"differs at length {length}"


def test_a_long_text_leaves_the_window(tokenizer: Any) -> None:
    ids = tokenizer.encode(" ".join(TEXTS[:2] * 60), add_special_tokens=False)
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids, skip_special_tokens=True)


def test_no_piece_splits_a_character() -> None:
    tokenizer = tiny.tokenizer()
    ids = tokenizer.encode("🐈 猫 é", add_special_tokens=False)
    assert len(ids) > 6, "every character takes several tokens, or the test shows nothing"
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces(tokenizer, ids))


def test_text_comes_as_soon_as_it_is_certain() -> None:
    tokenizer = tiny.tokenizer()
    ids = tokenizer.encode("a photo of a cat", add_special_tokens=False)
    assert all(pieces(tokenizer, ids)[:-1]), "plain words are held back"


def test_an_unfinished_character_comes_at_the_end() -> None:
    tokenizer = tiny.tokenizer()
    ids = tokenizer.encode("🐈", add_special_tokens=False)[:-1]
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize(
    "stop", [("dog",), ("jumped",), ("over the lazy", "zzz"), (".",), ("lazy", "quick"), ("", "fox")]
)
def test_a_stop_string_ends_the_text_before_it(tokenizer: Any, stop: tuple[str, ...]) -> None:
    ids = tokenizer.encode(TEXTS[0], add_special_tokens=False)
    whole = tokenizer.decode(ids)
    end = min(at for at in map(whole.find, filter(None, stop)) if at >= 0)
    stream = Detokenizer(Vocabulary(tokenizer), stop)
    text = ""
    for token_id in ids:
        text += stream.add(token_id)
        assert whole.startswith(text) and len(text) <= end, "text was released that belongs to the stop string"
        if stream.stopped:
            break
    assert stream.stopped and text == whole[:end]
    assert stream.add(ids[0]) == "" and stream.flush() == ""


def test_what_only_began_like_a_stop_string_is_not_lost(tokenizer: Any) -> None:
    ids = tokenizer.encode(TEXTS[0], add_special_tokens=False)
    stop = ("dog. And so on", "fox jumped under", "The quick red")
    assert "".join(pieces(tokenizer, ids, stop)) == tokenizer.decode(ids)


def test_the_bytes_of_the_tokens_are_the_text() -> None:
    """Byte-level tokens joined are the UTF-8 of the text; SentencePiece's too, where no space is stripped."""
    for make in (tiny.tokenizer, TOKENIZERS["gemma"]):
        tokenizer = make()
        vocabulary = Vocabulary(tokenizer)
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False)
            assert b"".join(map(vocabulary.bytes, ids)) == text.encode()


def test_single_tokens() -> None:
    tokenizer = tiny.tokenizer("<image>")
    vocabulary = Vocabulary(tokenizer)
    space_cat = tokenizer.encode("a cat", add_special_tokens=False)[-1]
    assert (vocabulary.token(space_cat), vocabulary.bytes(space_cat)) == (" cat", b" cat")
    assert vocabulary.token(tokenizer.eos_token_id) == "</s>"
    assert vocabulary.token(tokenizer.convert_tokens_to_ids("<image>")) == "<image>"
    assert vocabulary.token(len(tokenizer) + 5) == f"[{len(tokenizer) + 5}]"
    half = tokenizer.encode("é", add_special_tokens=False)[0]
    assert vocabulary.bytes(half) == "é".encode()[:1] and vocabulary.token(half) == "\N{REPLACEMENT CHARACTER}"
