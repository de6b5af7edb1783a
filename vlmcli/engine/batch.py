"""Several answers at once: one forward pass for a token of each; who has finished leaves.

Shapes: B prompts at the beginning, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator

from vlmcli.engine.decode import Answering
from vlmcli.models.prompts import Batch
from vlmcli.models.rows import keep_rows
from vlmcli.models.vlm import Vlm
from vlmcli.types.ask import FinishReason, TokenEvent
from vlmcli.types.chat import Sampling


def decode_batch(
    model: Vlm, batch: Batch, sampling: Sampling
) -> Generator[tuple[int, TokenEvent], None, tuple[FinishReason, ...]]:
    """Generate B answers side by side: (row, TokenEvent) as they are made; why each ended is the return value.

    Every row gives the tokens that ``decode`` gives for its prompt alone (a seed counts for each of them). A row that
    has ended leaves the batch, so that the others cost less. Closing the generator stops the work.

    Raises NumericalError, OutOfMemory, InputError.
    """
    answers = [Answering(model, row.ids, sampling) for row in batch.rows]
    active = [index for index, answer in enumerate(answers) if answer.reason is None]
    state = model.prefill_batch(batch)
    if len(active) < len(answers):
        keep_rows(state, active)
    while active:
        said = []
        for slot, index in enumerate(active):
            said.append(answers[index].say(state.logits[slot]))  # [V]
            yield index, said[-1]
        slots = [slot for slot, index in enumerate(active) if answers[index].reason is None]
        if slots and len(slots) < len(active):
            keep_rows(state, slots)
        active = [active[slot] for slot in slots]
        if active:
            model.step_batch(state, [said[slot].id for slot in slots])
    return tuple(answer.reason or "stop" for answer in answers)
