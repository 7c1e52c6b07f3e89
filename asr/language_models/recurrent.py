"""A recurrent language model: any cell of the family over the tokens of a sentence."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from asr.model.cells import CellConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.layers.dropout import Dropout
from asr.model.layers.uncompiled import uncompiled
from asr.section import LARGEST_WIDTH, MOST_LAYERS, Section
from asr.text import BOS_ID


class RecurrentLanguageModelConfig(Section):
    kind: Literal["recurrent"] = "recurrent"
    embedding_size: int = Field(128, ge=1, le=LARGEST_WIDTH, description="of a token")
    cell: CellConfig = Field(LSTMConfig(), description="what every layer is made of")
    num_layers: int = Field(1, ge=1, le=MOST_LAYERS, description="recurrent layers")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="of the embeddings and of each layer's output")
    tied: bool = Field(False, description="the embeddings are the output's weights too, through a projection")

    def build(self, vocabulary_size: int) -> "RecurrentLanguageModel":
        return RecurrentLanguageModel(self, vocabulary_size)


class RecurrentLanguageModel(nn.Module):
    """The probability of each token given all before it (Mikolov et al. 2010), and a Scorer for the searches.

    Dropout is not on the recurrent connections (Zaremba et al. 2014, arXiv:1409.2329, equation 7), unless the cell
    itself is given some; tied weights are those of Inan et al. 2017 (arXiv:1611.01462, section 4).
    """

    def __init__(self, config: RecurrentLanguageModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.layers = nn.ModuleList()
        size = config.embedding_size
        for _ in range(config.num_layers):
            self.layers.append(config.cell.build(size))  # type: ignore
            size = self.layers[-1].output_size  # type: ignore[assignment]
        # Tied, the output's weights are the embeddings; a file of weights must not hold them twice.
        self.narrowing = nn.Linear(size, config.embedding_size, bias=False) if config.tied else None  # type: ignore
        self.projection = None if config.tied else nn.Linear(size, vocabulary_size)  # type: ignore
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size)) if config.tied else None
        self.dropout = Dropout(config.dropout)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self, tokens: Int[Tensor, "batch token"], token_lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "1 batch"]:
        """Returns minus the natural-log probability of each sentence, as the losses of one head.

        `tokens` end with EOS_ID, which counts as one. The layers read from left to right, so that padding cannot
        change what is before it:

            read        <bos> t  u  r  n
            predicted   t     u  r  n  <eos>
        """
        read = functional.pad(tokens[:, :-1], (1, 0), value=BOS_ID)
        log_probs, _ = self._run(read, None)
        losses = -log_probs.gather(2, tokens[:, :, None])[:, :, 0]
        spoken = torch.arange(tokens.shape[1], device=tokens.device)[None, :] < token_lengths[:, None]
        return losses.masked_fill(~spoken, 0.0).sum(dim=1)[None]

    def start(self, num_rows: int, device: torch.device) -> tuple[Tensor, ...]:
        """Returns the state before any token: of each layer in turn, all that its cell carries from step to step."""
        parts = (part for layer in self.layers for part in layer.initial_state)  # type: ignore[union-attr]
        return tuple(part.detach().to(device).expand(num_rows, -1) for part in parts)

    @torch.inference_mode()
    def step(
        self, tokens: Int[Tensor, " row"], state: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "row vocabulary"], tuple[Tensor, ...]]:
        """Returns the log-probabilities of what follows after one more token, and the new state (Scorer)."""
        log_probs, state = self._run(tokens[:, None], state)
        return log_probs[:, 0], state

    def _run(
        self, tokens: Int[Tensor, "batch token"], state: tuple[Tensor, ...] | None
    ) -> tuple[Float[Tensor, "batch token vocabulary"], tuple[Tensor, ...]]:
        values, after, first = self.dropout(self.embedding(tokens)), [], 0
        for layer in self.layers:
            number = len(layer.initial_state)  # type: ignore[arg-type]
            values, new = self._layer(layer, values, None if state is None else state[first : first + number])
            values, first = self.dropout(values), first + number
            after += new
        return functional.log_softmax(self._logits(values).float(), dim=-1), tuple(after)

    def _logits(self, values: Float[Tensor, "batch token hidden"]) -> Float[Tensor, "batch token vocabulary"]:
        if self.projection is not None:
            return self.projection(values)
        assert self.narrowing is not None
        return functional.linear(self.narrowing(values), self.embedding.weight, self.output_bias)

    # As in the encoders: torch.compile would unroll the recurrence; the cells have kernels of their own.
    @uncompiled
    def _layer(self, layer: nn.Module, values: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple]:
        return layer(values, state)
