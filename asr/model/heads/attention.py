"""The attention head: a recurrent decoder that writes the transcript token by token, looking at the encodings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from asr.model.cells import CellConfig, ConvLSTMConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.heads.attention_shape import diagonality, entropy, off_diagonal
from asr.model.heads.head import DevFigures, ForcedSteps, Head
from asr.model.heads.labels import check_labels
from asr.model.heads.mechanisms import AttentionConfig, AttentionMemory, LocationAttentionConfig
from asr.model.layers.dropout import Dropout
from asr.model.layers.masking import valid_frames
from asr.model.layers.uncompiled import uncompiled
from asr.section import LARGEST_WIDTH, MOST_LAYERS, Section
from asr.text import BLANK_ID, BOS_ID, EOS_ID, PAD_ID

SHORTEST_WATCHED = 4  # tokens that a transcript needs to have a diagonal
COLLAPSED_BELOW = 0.5  # diagonality; where attention follows speech it is above 0.9


class GuidedAttentionConfig(Section):
    """A loss on attention that strays from the diagonal (Tachibana et al. 2018), so that little data converges."""

    weight: float = Field(1.0, gt=0.0, description="of a token's mean distance, beside its own loss")
    width: float = Field(0.3, gt=0.0, description="what is allowed, as a share of the utterance")


class AttentionHeadConfig(Section):
    kind: Literal["attention"] = "attention"
    weight: float = Field(1.0, gt=0.0, description="share of this head's loss in the sum over heads")
    attention: AttentionConfig = Field(LocationAttentionConfig(), description="how the decoder weighs the encodings")
    cell: CellConfig = Field(LSTMConfig(), description="what the decoder is made of")
    num_layers: int = Field(1, ge=1, le=MOST_LAYERS, description="recurrent layers of the decoder")
    embedding_size: int = Field(128, ge=1, le=LARGEST_WIDTH, description="of a token")
    input_feeding: bool = Field(True, description="the decoder reads each context; without, it trains faster")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="of the embeddings and of what is read out")
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0, description="share of the target given to all other tokens")
    scheduled_sampling: float = Field(
        0.0, ge=0.0, lt=1.0, description="chance that a step reads the model's own last guess in training"
    )
    guided_attention: GuidedAttentionConfig | None = Field(None, description="keep attention near the diagonal")

    @model_validator(mode="after")
    def _tokens_have_no_bands(self) -> "AttentionHeadConfig":
        if isinstance(self.cell, ConvLSTMConfig):
            raise ValueError(
                "cell.kind: 'conv_lstm' convolves over the frequency bands of a frame, and tokens have none; "
                "choose another cell, such as 'lstm'"
            )
        return self

    def build(self, encoding_size: int, *, vocabulary_size: int) -> "AttentionHead":
        return AttentionHead(self, encoding_size, vocabulary_size=vocabulary_size)


@dataclass(frozen=True)
class DecoderState:
    """All that the decoder knows of the tokens so far."""

    context: Float[Tensor, "row context"]  # what was last looked at
    weights: Float[Tensor, "row head time"]  # and where; zeros before the first step
    cells: tuple[tuple[Tensor, ...], ...]  # of each layer, each [row, hidden]

    def rows(self, index: Int[Tensor, " chosen"]) -> "DecoderState":
        """Returns the state of these rows only."""
        cells = tuple(tuple(part[index] for part in layer) for layer in self.cells)
        return DecoderState(self.context[index], self.weights[index], cells)


class AttentionHead(Head):
    """A recurrent decoder with attention (Chan et al. 2016, "Listen, Attend and Spell", equations 6-11).

        s[u] = RNN([y[u-1], c[u-1]], s[u-1])          without input feeding: RNN(y[u-1], s[u-1])
        c[u] = attention(s[u], encodings)
        p(y[u]) = softmax(W tanh(V [s[u], c[u]]))

    y[0] is <bos>, and a transcript ends with <eos>. The loss is minus the natural log of the transcript's probability,
    <eos> included. In training only, labels are smoothed (Szegedy et al. 2016) over all that can follow, steps may
    read the model's own guess (Bengio et al. 2015; drawn from PyTorch's own generator, as dropout is), and attention is
    guided. Nothing is remembered between calls but the state that is passed.
    """

    kind = "attention"

    def __init__(self, config: AttentionHeadConfig, encoding_size: int, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config, self.vocabulary_size = config, vocabulary_size
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.layers = nn.ModuleList()
        size = config.embedding_size + (encoding_size if config.input_feeding else 0)
        for _ in range(config.num_layers):
            layer = config.cell.build(size)
            if config.input_feeding:  # of one step at a time, where the plain loop is the fastest
                layer.path = "reference"
            self.layers.append(layer)
            size = layer.output_size
        self.attention = config.attention.build(encoding_size=encoding_size, query_size=size)
        self.readout = nn.Linear(size + encoding_size, size)
        self.projection = nn.Linear(size, vocabulary_size)
        self.dropout = Dropout(config.dropout)
        impossible = torch.zeros(vocabulary_size, dtype=torch.bool)
        impossible[[BLANK_ID, PAD_ID, BOS_ID]] = True
        self.register_buffer("impossible", impossible, persistent=False)

    # The loop over tokens would be unrolled into code that takes minutes to compile.
    @uncompiled
    def loss(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Returns each utterance's own loss; raises LabelError for a label that is no token of a transcript."""
        check_labels("attention head", tokens, token_lengths, vocabulary_size=self.vocabulary_size)
        forced = self(encodings, lengths, tokens, token_lengths)
        spoken = valid_frames(token_lengths, tokens.shape[1] + 1)
        labels = functional.pad(tokens, (0, 1)).masked_fill(~spoken, EOS_ID)
        each = -forced.log_probs.gather(2, labels[:, :, None])[:, :, 0]
        smoothing, guide = self.config.label_smoothing, self.config.guided_attention
        if self.training and smoothing:
            possible = forced.log_probs[:, :, ~self.impossible]  # type: ignore
            each = (1 - smoothing) * each - smoothing * possible.mean(dim=-1)
        if self.training and guide is not None:
            weights = forced.weights.mean(dim=1)
            num_steps, num_frames = weights.shape[1:]
            far = off_diagonal(
                token_lengths + 1, lengths, num_steps=num_steps, num_frames=num_frames, width=guide.width
            )
            each = each + guide.weight * (weights * far).sum(dim=-1)
        return each.masked_fill(~valid_frames(token_lengths + 1, each.shape[1]), 0.0).sum(dim=1)

    def forward(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> ForcedSteps:
        """Returns the decoder on given transcripts; steps past a transcript's <eos> mean nothing.

        read        <bos> t  u  r  n
        predicted   t     u  r  n  <eos>
        """
        read = functional.pad(tokens, (1, 0), value=BOS_ID)
        read = read.masked_fill(~valid_frames(token_lengths + 1, read.shape[1]), PAD_ID)
        memory = self.attention.prepare(encodings, lengths)
        # As in the cells: what is carried from step to step is kept in the weights' own precision.
        with torch.autocast(encodings.device.type, enabled=False):
            state = self.start(memory)
            if self.config.input_feeding or (self.training and self.config.scheduled_sampling):
                decoded, weights = self._step_by_step(read, state, memory)
            else:
                decoded, weights = self._all_at_once(read, state, memory)
        return ForcedSteps(self._log_probs(decoded), weights)

    def forced_steps(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> ForcedSteps:
        return self(encodings, lengths, tokens, token_lengths)

    def dev_sums(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
        *,
        watched: Sequence[int],
    ) -> dict[str, float]:
        """Returns the shape of the attention of the watched utterances that are long enough to have a diagonal."""
        rows = [row for row in watched if token_lengths[row] >= SHORTEST_WATCHED]
        if not rows:
            return {}
        weights = self(encodings[rows], lengths[rows], tokens[rows], token_lengths[rows]).weights.mean(dim=1)
        steps = token_lengths[rows] + 1
        return {
            "diagonality": float(diagonality(weights, steps).sum()),
            "entropy": float(entropy(weights, steps, lengths[rows]).sum()),
            "shown": float(len(rows)),
        }

    def dev_figures(self, sums: Mapping[str, float]) -> DevFigures:
        """Says whether the attention follows the speech (asr/model/heads/attention_shape.py)."""
        if not sums.get("shown"):
            return DevFigures()
        followed, spread = sums["diagonality"] / sums["shown"], sums["entropy"] / sums["shown"]
        values = {"attention_diagonality": followed, "attention_entropy": spread}
        if followed >= COLLAPSED_BELOW:
            return DevFigures(values)
        return DevFigures(
            values,
            f"the attention does not follow the speech: diagonality {followed:.2f} of 1, entropy {spread:.2f} of 1. "
            "If it stays so, add a ctc head beside it, or guided_attention: {weight: 1.0} to the head, or begin with "
            "shorter utterances",
        )

    def start(self, memory: AttentionMemory, *, num_each: int = 1) -> DecoderState:
        """Returns the state before <bos>, with `num_each` rows an utterance."""
        rows = len(memory.valid) * num_each
        nothing = memory.values.new_zeros(rows, self.attention.context_size)
        weights = memory.values.new_zeros(rows, self.attention.num_heads, memory.valid.shape[1])
        cells = tuple(tuple(part.expand(rows, -1) for part in layer.initial_state) for layer in self.layers)  # type: ignore[union-attr]
        return DecoderState(nothing, weights, cells)

    def step(
        self, tokens: Int[Tensor, " row"], state: DecoderState, memory: AttentionMemory
    ) -> tuple[Float[Tensor, "row vocabulary"], DecoderState]:
        """Read one more token of each row: log-probabilities of what follows, and the new state.

        Rows lie utterance by utterance, as many of each; <blank>, <pad> and <bos> never follow.
        """
        decoded, state = self._advance(self.embedding(tokens), state, memory)
        return self._log_probs(decoded), state

    def _advance(
        self, embedded: Float[Tensor, "row embedding"], state: DecoderState, memory: AttentionMemory
    ) -> tuple[Float[Tensor, "row decoded"], DecoderState]:
        values = self.dropout(embedded)
        if self.config.input_feeding:
            values = torch.cat((values, state.context), dim=-1)
        values, cells = self._run_layers(values[:, None], state.cells)
        context, weights = self.attention(values[:, 0], state.weights, memory)
        return torch.cat((values[:, 0], context), dim=-1), DecoderState(context, weights, cells)

    def _run_layers(
        self, values: Float[Tensor, "row step value"], cells: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Float[Tensor, "row step hidden"], tuple[tuple[Tensor, ...], ...]]:
        after = []
        for number, layer in enumerate(self.layers):
            values, state = layer(self.dropout(values) if number else values, cells[number])
            after.append(state)
        return values, tuple(after)

    def _step_by_step(
        self, read: Int[Tensor, "batch step"], state: DecoderState, memory: AttentionMemory
    ) -> tuple[Float[Tensor, "batch step decoded"], Float[Tensor, "batch head step time"]]:
        embedded, decoded, weights = self.embedding(read), [], []
        for number, values in enumerate(embedded.unbind(1)):
            if number and self.training and self.config.scheduled_sampling:
                values = self._sometimes_guessed(values, decoded[-1])
            step, state = self._advance(values, state, memory)
            decoded.append(step)
            weights.append(state.weights)
        return torch.stack(decoded, dim=1), torch.stack(weights, dim=2)

    def _all_at_once(
        self, read: Int[Tensor, "batch step"], state: DecoderState, memory: AttentionMemory
    ) -> tuple[Float[Tensor, "batch step decoded"], Float[Tensor, "batch head step time"]]:
        """Without input feeding the layers do not wait for the attention, and attention by content for nobody."""
        values, _ = self._run_layers(self.dropout(self.embedding(read)), state.cells)
        if isinstance(self.config.attention, LocationAttentionConfig):
            contexts, maps, weights = [], [], state.weights
            for query in values.unbind(1):
                context, weights = self.attention(query, weights, memory)
                contexts.append(context)
                maps.append(weights)
            return torch.cat((values, torch.stack(contexts, dim=1)), dim=-1), torch.stack(maps, dim=2)
        before = state.weights.repeat_interleave(values.shape[1], dim=0)
        context, weights = self.attention(values.flatten(0, 1), before, memory)
        decoded = torch.cat((values, context.unflatten(0, values.shape[:2])), dim=-1)
        return decoded, weights.unflatten(0, values.shape[:2]).transpose(1, 2)

    @torch.no_grad()
    def _guess(self, decoded: Float[Tensor, "batch decoded"]) -> Int[Tensor, " batch"]:
        return torch.multinomial(self._log_probs(decoded).exp(), 1)[:, 0]

    def _sometimes_guessed(
        self, values: Float[Tensor, "batch embedding"], decoded: Float[Tensor, "batch decoded"]
    ) -> Float[Tensor, "batch embedding"]:
        chosen = torch.rand(len(values), device=values.device) < self.config.scheduled_sampling
        return torch.where(chosen[:, None], self.embedding(self._guess(decoded)), values)

    def _log_probs(self, decoded: Float[Tensor, "*rows decoded"]) -> Float[Tensor, "*rows vocabulary"]:
        """Returns log-probabilities in float32 at least, whatever the precision of the rest."""
        logits = self.projection(self.dropout(torch.tanh(self.readout(decoded))))
        logits = logits.masked_fill(self.impossible, -torch.inf)
        return functional.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)
