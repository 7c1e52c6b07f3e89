"""The recurrent encoder: subsampling, then a stack of any cell in one or two directions."""

from collections.abc import Collection
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from asr.model.cells import CellConfig
from asr.model.cells.conv_lstm import ConvLSTMConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.layers.dropout import Dropout
from asr.model.layers.look_ahead import RowConvolution
from asr.model.layers.masking import clear_padding
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.layers.streaming import StreamState, Waiting, no_frames, shift_left
from asr.model.layers.subsampling import ConvSubsamplingConfig
from asr.section import LARGEST_WIDTH, MOST_LAYERS, Section


class RecurrentEncoderConfig(Section):
    kind: Literal["recurrent"] = "recurrent"
    subsampling: ConvSubsamplingConfig = Field(
        ConvSubsamplingConfig(), description="convolutions before the layers, which shorten the log-mels"
    )
    cell: CellConfig = Field(LSTMConfig(), description="what every layer is made of")
    num_layers: int = Field(3, ge=1, le=MOST_LAYERS, description="recurrent layers")
    bidirectional: bool = Field(True, description="a second cell reads each utterance from its end")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="dropout on the output of each layer")
    layer_norm: bool = Field(True, description="normalise the output of each layer")
    residual: bool = Field(False, description="add to each layer's output its input, where they are equally wide")
    streaming: bool = Field(False, description="promise to encode while somebody speaks; checked when this is loaded")
    look_ahead: int = Field(
        0, ge=0, le=LARGEST_WIDTH, description="subsampled frames of the future that each encoding sees, streaming"
    )

    @model_validator(mode="after")
    def _directions_allow_it(self) -> "RecurrentEncoderConfig":
        if self.bidirectional and self.streaming:
            raise ValueError(
                "streaming: a bidirectional encoder needs the end of an utterance before its first encoding; set "
                "bidirectional: false (with look_ahead: 10, say, for a little of the future), or streaming: false"
            )
        if self.bidirectional and self.look_ahead:
            raise ValueError(
                f"look_ahead: {self.look_ahead} frames, but a bidirectional encoder sees the whole future already; "
                "set look_ahead: 0 or bidirectional: false"
            )
        return self

    @model_validator(mode="after")
    def _bands_divide_the_frames(self) -> "RecurrentEncoderConfig":
        size = self.subsampling.output_size
        if isinstance(self.cell, ConvLSTMConfig) and size % self.cell.num_bands:
            raise ValueError(
                f"cell.num_bands: {self.cell.num_bands} bands do not divide the {size} values of a subsampled frame; "
                "choose a subsampling.output_size that is a multiple, or kind: conv_lstm for the whole encoder"
            )
        return self

    def build(self, num_mels: int) -> "RecurrentEncoder":
        return RecurrentEncoder(self, num_mels)


class RecurrentEncoder(nn.Module):
    """Log-mels to encodings: convolutional subsampling, then recurrent layers with normalisation and dropout.

    The shape of Deep Speech 2 (Amodei et al. 2016, arXiv:1512.02595) with layer normalisation (Ba et al. 2016)
    in the place of batch normalisation, because that would make an utterance depend on its batch.
    """

    def __init__(self, config: RecurrentEncoderConfig, num_mels: int) -> None:
        super().__init__()
        self.subsampling = config.subsampling.build(num_mels)
        sizes = [self.subsampling.output_size]
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.num_layers):
            layer = RecurrentLayer(config.cell, sizes[-1], bidirectional=config.bidirectional)
            self.layers.append(layer)
            self.norms.append(nn.LayerNorm(layer.output_size) if config.layer_norm else nn.Identity())
            sizes.append(layer.output_size)
        self.dropout = Dropout(config.dropout)
        self.look_ahead = RowConvolution(sizes[-1], config.look_ahead) if config.look_ahead else None
        self.config, self.num_mels, self.output_size = config, num_mels, sizes[-1]

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        return self.subsampling.output_lengths(lengths)

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled encoding"], Int[Tensor, " batch"]]:
        encodings, lengths, _ = self.encode(features, lengths)
        return encodings, lengths

    def encode(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"],
        *,
        intermediate: Collection[int] = (),
    ) -> tuple[Float[Tensor, "batch subsampled encoding"], Int[Tensor, " batch"], dict[int, Tensor]]:
        """The encodings, their lengths, and the outputs of layers below by number, from 1, with padding as it comes."""
        frames, lengths = self.subsampling(features, lengths)
        outputs: dict[int, Tensor] = {}
        for number, layer in enumerate(self.layers):
            frames = self._after_layer(number, frames, layer(frames, lengths))
            if number + 1 in intermediate:
                outputs[number + 1] = frames
        if self.look_ahead is not None:
            frames = self.look_ahead(frames, lengths)
        return clear_padding(frames, lengths), lengths, outputs

    def _after_layer(self, number: int, inputs: Tensor, outputs: Tensor) -> Float[Tensor, "batch time hidden"]:
        outputs = self.dropout(self.norms[number](outputs))
        return inputs + outputs if self.config.residual and inputs.shape == outputs.shape else outputs

    def stream(
        self,
        features: Float[Tensor, "batch chunk mel"],
        lengths: Int[Tensor, " batch"],
        state: StreamState | None = None,
        *,
        is_last: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch new encoding"], Int[Tensor, " batch"], StreamState]:
        """Returns the encodings that a further chunk of each stream makes possible, and what to hand in with the next
        one.

        Chunks may be of any length, even 0 and another for each stream; `state` None begins. Put together, the
        encodings are those of `forward` on the whole, in evaluation mode, once `is_last` has been said of the
        stream: until then the last few wait for the frames that they still see. A stream that has ended is not to
        be gone on with. Raises ValueError for a bidirectional encoder.
        """
        if self.config.bidirectional:
            raise ValueError(
                "encoder: bidirectional, so it cannot stream: it needs an utterance's end before its first encoding; "
                "train one with bidirectional: false"
            )
        if state is None:
            state = self._start(features)
        if is_last is None:
            is_last = torch.zeros_like(state.has_context)
        waiting = state.features.append(features, lengths)
        frames, lengths, num_done = self._subsample_chunk(waiting, state.has_context, is_last)
        cells = []
        for number, layer in enumerate(self.layers):
            outputs, cell = layer.resume(frames, lengths, state.cells[number])  # type: ignore[operator]
            frames = self._after_layer(number, frames, outputs)
            cells.append(cell)
        encodings, lengths, ahead = self._look_ahead_chunk(state.ahead.append(frames, lengths), is_last)
        # The last subsampled frame's own log-mels stay: the next one's first convolutions see them too.
        dropped = (num_done - 1).clamp(min=0) * self.subsampling.factor
        return encodings, lengths, StreamState(waiting.drop(dropped), num_done > 0, tuple(cells), ahead)

    def _start(self, features: Float[Tensor, "batch chunk mel"]) -> StreamState:
        nothing = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        cells = (None,) * len(self.layers)
        return StreamState(no_frames(features, self.num_mels), nothing, cells, no_frames(features, self.output_size))

    def _subsample_chunk(
        self, waiting: Waiting, has_context: Bool[Tensor, " batch"], is_last: Bool[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch new size"], Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """New subsampled frames, their numbers, and how many can be had of all log-mels that wait.

        Subsampled frame t sees the log-mels from factor * t - (factor - 1) to factor * t + (factor - 1), which is
        the last of its own group. So it can be had once its group is whole, or the stream has ended, and must be
        computed with one group of context:

            factor 4:   [a b c d] [e f g h] [i j      the second frame sees b ... h; keep e f g h i j
        """
        groups = waiting.lengths // self.subsampling.factor
        num_done = torch.where(is_last, self.output_lengths(waiting.lengths), groups)
        new = num_done - (has_context & (num_done > 0)).to(num_done.dtype)
        if not waiting.frames.shape[1] or not int(new.max()):
            return waiting.frames.new_zeros(len(new), 0, self.subsampling.output_size), torch.zeros_like(new), num_done
        frames, _ = self.subsampling(waiting.frames, waiting.lengths)
        return clear_padding(shift_left(frames, num_done - new, new), new), new, num_done

    def _look_ahead_chunk(
        self, waiting: Waiting, is_last: Bool[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch new encoding"], Int[Tensor, " batch"], Waiting]:
        """Returns the encodings that all frames they see are there for."""
        if self.look_ahead is None or not waiting.frames.shape[1]:
            done = waiting.lengths
            return clear_padding(waiting.frames, done), done, waiting.drop(done)
        held_back = torch.where(is_last, 0, self.look_ahead.num_frames)
        done = (waiting.lengths - held_back).clamp(min=0)
        encodings = self.look_ahead(waiting.frames, waiting.lengths)[:, : int(done.max())]
        return clear_padding(encodings, done), done, waiting.drop(done)
