"""One layer of a recurrent encoder: any cell, in one or two directions, over a ragged batch."""

import itertools

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from asr.model.cells import CellConfig
from asr.model.layers.directions import run_both
from asr.model.layers.masking import clear_padding
from asr.model.layers.uncompiled import uncompiled

CellState = tuple[Tensor, ...]  # each [batch, width]


class RecurrentLayer(nn.Module):
    """One layer of a recurrent encoder: a cell forwards in time, and a second one backwards.

    A packed sequence would cost 6-10 times this on a CPU (tests/bench/train_step.py); instead the batch stays
    padded. The compiled kernel runs both cells at once and the second from each utterance's end; elsewhere (on a GPU at
    once too) each utterance is turned round within its own length, so that the second cell too starts on a valid frame
    and reaches the padding last. The outputs are those of a packed bidirectional layer.
    """

    def __init__(self, cell: CellConfig, input_size: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.forwards = cell.build(input_size)
        self.backwards = cell.build(input_size) if bidirectional else None
        self.num_bands = self.forwards.num_bands
        self.output_size = self.forwards.output_size * (2 if bidirectional else 1)

    # torch.compile would unroll the recurrence over time into code that takes minutes to compile; the cells have
    # kernels of their own, so it compiles what is around them.
    @uncompiled
    def forward(
        self,
        inputs: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch time hidden"]:
        """Returns the outputs of each utterance, zeros past its length.

        Recurrent dropout and zoneout draw from `generator`, or from PyTorch's own, in training only.
        """
        if self.backwards is not None:
            return run_both(self.forwards, self.backwards, inputs, lengths, generator=generator)
        outputs, _ = self.forwards(inputs, generator=generator)
        return clear_padding(outputs, lengths)

    def resume(
        self, inputs: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"], state: CellState | None
    ) -> tuple[Float[Tensor, "batch time hidden"], CellState]:
        """Go on in one direction from the state in which an earlier chunk ended; None: from the beginning.

        Each utterance's new state is the one after its own last frame. The scan is cut where an utterance ends:

            lengths 5 and 3:  a b c | d e      after the first cut both take the state,
                              f g h | . .      after the second one the first alone
        """
        if state is None:
            state = tuple(part.expand(len(inputs), -1) for part in self.forwards.initial_state)
        ends = sorted({0, *lengths.tolist()})
        outputs = [inputs.new_zeros(len(inputs), 0, self.forwards.output_size)]
        for start, end in itertools.pairwise(ends):
            chunk, new = self.forwards(inputs[:, start:end], state)
            outputs.append(chunk)
            going_on = (lengths >= end)[:, None]
            state = tuple(torch.where(going_on, after, before) for after, before in zip(new, state, strict=True))
        return clear_padding(torch.cat(outputs, dim=1), lengths), state
