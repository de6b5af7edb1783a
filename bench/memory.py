"""How much memory looking inside takes above the model's own: `python -m bench.memory`.

A random decoder of a tiny width with a vocabulary of 150,000 words reads 3,000 positions. Held at once, the
log-probabilities of all of them would be 1.8 GB. Each command runs in a process of its own; the figure is the
process's peak since the model was loaded (Linux: VmHWM).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.processes import ROOT

POSITIONS, WORDS, WIDTH, LAYERS = 3_000, 150_000, 64, 4
LIMIT_MB = 1_000


def make_model(folder: Path) -> None:
    """A random Llama of width 64 whose every word is a token."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    from vlmcli.models.torchvision_shim import mend_torchvision

    mend_torchvision()  # transformers imports it wherever it is installed
    words = {"<s>": 0, "</s>": 1, "<unk>": 2} | {f"w{number}": number for number in range(3, WORDS)}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens = hf.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2 * POSITIONS,
        bos_token_id=0,
        eos_token_id=1,
    )
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)


def words_of(count: int, first: int = 1_000) -> str:
    """A text of so many tokens."""
    return " ".join(f"w{number}" for number in range(first, first + count))


def topk(model: Any) -> None:
    model.topk(None, words_of(POSITIONS), at="all", raw=True)


def score(model: Any) -> None:
    model.score(None, words_of(POSITIONS - 500), words_of(500, 90_000), raw=True)


def lens(model: Any) -> None:
    model.lens(None, words_of(POSITIONS), raw=True)


COMMANDS: Mapping[str, Callable[[Any], None]] = {"topk": topk, "score": score, "lens": lens}


def peak_of(command: str, folder: str) -> int:
    """Bytes above what the process had when the model was loaded."""
    import torch

    from vlmcli.api.compare import compare
    from vlmcli.api.load import load
    from vlmcli.models.memory import PeakMemory

    meters: list[tuple[PeakMemory, int]] = []

    def loaded(**options: Any) -> Any:
        model = load(options.pop("model"), **options)
        if not meters:
            meter = PeakMemory(torch.device("cpu"))
            if meter.held_bytes is None:
                sys.exit("this system does not tell how much memory a process needs at most")
            meters.append((meter, meter.held_bytes))
        return model

    if command == "compare":
        answer = words_of(50, 90_000)
        compare(None, words_of(POSITIONS), answer, model=folder, other_model=folder, raw=True, loader=loaded)
    else:
        COMMANDS[command](loaded(model=folder))
    (meter, held) = meters[0]
    assert meter.peak_bytes is not None
    return meter.peak_bytes - held


def run() -> str:
    """A line for each command, measured in a process of its own, as Markdown. Raises RuntimeError if one fails."""
    lines = [f"peak memory above the model's own, {POSITIONS:,} positions, {WORDS:,} words; at most {LIMIT_MB:,} MB"]
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        for command in (*COMMANDS, "compare"):
            argv = [sys.executable, "-m", "bench.memory", command, folder]
            done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            peak_mb = int(done.stdout) / 1e6
            lines.append(f"{command:<8} {peak_mb:7,.0f} MB {'ok' if peak_mb <= LIMIT_MB else 'missed'}")
    return "\n".join(["```", *lines, "```"])


if __name__ == "__main__":
    print(peak_of(*sys.argv[1:]) if len(sys.argv) == 3 else run())
