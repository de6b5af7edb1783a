"""What our decode step changes in what a real model says: nothing in float32, a little once weights are quantised.

``python -m bench.quality [MODEL]`` (default smollm2-135m, which ``vlm pull smollm2-135m`` fetches) prints, over 200
greedy steps, how many tokens are those of transformers in float32 until the first that is not, and how far the logits
are from its until then; and the mean Kullback-Leibler divergence of the next token's distribution from float32's, over
a page of text.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcli.api.load import load
from vlmcli.inputs.chat import Prompt
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message

STEPS = 200
QUESTION = "Why is the sky blue, and why is it red in the evening?"

# Charles Darwin, On the Origin of Species (1859), the opening of the introduction: in the public domain.
PAGE = """When on board H.M.S. Beagle, as naturalist, I was much struck with certain facts in the distribution of the
inhabitants of South America, and in the geological relations of the present to the past inhabitants of that continent.
These facts seemed to me to throw some light on the origin of species--that mystery of mysteries, as it has been called
by one of our greatest philosophers. On my return home, it occurred to me, in 1837, that something might perhaps be made
out on this question by patiently accumulating and reflecting on all sorts of facts which could possibly have any
bearing on it. After five years' work I allowed myself to speculate on the subject, and drew up some short notes; these
I enlarged in 1844 into a sketch of the conclusions, which then seemed to me probable: from that period to the present
day I have steadily pursued the same object. I hope that I may be excused for entering on these personal details, as I
give them to show that I have not been hasty in coming to a decision. My work is now nearly finished; but as it will
take me two or three more years to complete it, and as my health is far from strong, I have been urged to publish this
Abstract. I have more especially been induced to do this, as Mr. Wallace, who is now studying the natural history of the
Malay archipelago, has arrived at almost exactly the same general conclusions that I have on the origin of species."""


@dataclass(frozen=True)
class Quality:
    """One way to run a model against float32 transformers: ``same`` of 200 tokens until the first that differs.

    ``largest_error`` is of logits, where the tokens are the same; ``divergence`` the mean KL divergence in nats.
    """

    name: str
    steps: str
    same: int
    largest_error: float
    divergence: float

    def line(self) -> str:
        same = f"{self.same} of {STEPS}"
        return f"{self.name:<16}{same:>12}  {self.largest_error:12.2e}  {self.divergence:12.2e}  {self.steps}"


def greedy(vlm: Vlm) -> tuple[list[int], Tensor]:
    """The tokens of an answer that does not end, and the logits [N, V] that each was taken from."""
    state = vlm.prefill(vlm.prepare(Prompt((Message("user", QUESTION),))))
    said, logits = [], [state.logits.float()]
    for _ in range(STEPS):
        said.append(int(logits[-1].argmax()))
        logits.append(vlm.step(state, said[-1]).float())
    return said, torch.stack(logits)


def forced(vlm: Vlm) -> Tensor:
    """The log-probabilities [N, V] of a page's tokens, one step each."""
    inputs = vlm.prepare(Prompt((Message("user", PAGE.replace("\n", " ")),), raw=True))
    first = vlm.prepare(Prompt((Message("user", "When on"),), raw=True))
    state = vlm.prefill(first)
    logits = [vlm.step(state, token) for token in inputs.ids[len(first.ids) :]]
    return torch.stack(logits).float().log_softmax(-1)


def measure(name: str) -> list[Quality]:
    """float32 by transformers first, which all others are compared with."""
    from vlmcli.models.steps import OrdinarySteps

    plain = load(name, device="cpu", dtype="float32").vlm
    plain.steps = OrdinarySteps()
    said, logits = greedy(plain)
    page = forced(plain)
    found = []
    for dtype, quantize in (("float32", None), ("bfloat16", None), ("float32", "int8"), ("float32", "int4")):
        vlm = load(name, device="cpu", dtype=dtype, quantize=quantize).vlm
        own, own_logits = greedy(vlm)
        same = next((i for i, (a, b) in enumerate(zip(said, own, strict=True)) if a != b), STEPS)
        error = float((own_logits[: same + 1] - logits[: same + 1]).abs().max())
        divergence = float((page.exp() * (page - forced(vlm))).sum(-1).mean())
        found.append(Quality(quantize or dtype, vlm.steps.note, same, error, divergence))
    return found


def run(name: str = "smollm2-135m") -> str:
    """A table, as Markdown."""
    head = f"{name:<16}{'same tokens':>12}  {'logits':>12}  {'divergence':>12}  step"
    return "\n".join(["```", head, *(row.line() for row in measure(name)), "```"])


if __name__ == "__main__":
    print(run(*sys.argv[1:]))
