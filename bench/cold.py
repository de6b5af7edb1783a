"""Cold start: a new process asks the embedded model, beside the script that transformers' documentation shows."""

from __future__ import annotations

import sys

from bench.processes import ROOT, VLM, first_byte_s, whole_s
from bench.report import Comparison, in_turn, table
from vlmcli.weights.resolve import BUILTIN

_SCRIPT = """
import sys
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder, picture, question = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder)
model = AutoModelForImageTextToText.from_pretrained(folder)
content = [{"type": "image", "image": Image.open(picture)}, {"type": "text", "text": question}]
turns = [{"role": "user", "content": content}]
inputs = processor.apply_chat_template(
    turns, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
ids = model.generate(**inputs, max_new_tokens=1, do_sample=False)
print(processor.decode(ids[0, -1]), flush=True)
"""

# What makes PyPI's torchvision import beside a CPU-only torch: without it the script ends in an error there.
_MEND = """
import torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def run(rounds: int = 5) -> str:
    """The time to the first token, and to the end of the process."""
    picture, question = str(ROOT / "examples" / "shapes.png"), "What colour is the star?"
    ours = (*VLM, "ask", "-q", "--no-cache", "--max-tokens", "1", picture, question)
    arguments = (str(BUILTIN / "picturebook"), picture, question)
    theirs = (sys.executable, "-c", _SCRIPT, *arguments)
    try:
        first_byte_s(theirs)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        theirs = (sys.executable, "-c", _MEND + _SCRIPT, *arguments)
    first_byte_s(ours)  # files that both read come from the disk's cache from here on
    first = in_turn(rounds, lambda: first_byte_s(ours), lambda: first_byte_s(theirs))
    whole = in_turn(rounds, lambda: whole_s(ours), lambda: whole_s(theirs))
    return table(
        [
            Comparison("cold start, first token", *first, unit="s", at_least=2.0),
            Comparison("cold start, whole process", *whole, unit="s", at_least=2.0),
        ]
    )
