"""Attention: where in an utterance's encodings the decoder looks for its next token.

An utterance's keys and values are made once; then every query gives weights over its frames and their mean, the
context. Several queries may ask about one utterance at a time (the hypotheses of a beam, or all steps of a transcript):
rows lie utterance by utterance, row r belongs to utterance r // (rows // batch).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from asr.model.layers.masking import clear_padding, valid_frames
from asr.section import LARGEST_WIDTH, Section


class AttentionOptions(Section):
    """The options that every kind of attention takes."""

    num_heads: int = Field(
        1, ge=1, le=LARGEST_WIDTH, description="places looked at at once, each with keys and values of its own"
    )
    attention_size: int = Field(128, ge=1, le=LARGEST_WIDTH, description="width of queries and keys, over all heads")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "AttentionOptions":
        if self.attention_size % self.num_heads:
            raise ValueError(
                f"attention_size: {self.attention_size} is no multiple of the {self.num_heads} heads; "
                f"choose {self.num_heads * max(1, self.attention_size // self.num_heads)}"
            )
        return self


class ContentAttentionConfig(AttentionOptions):
    """Looks for what fits the decoder's state."""

    kind: Literal["content"] = "content"

    def build(self, *, encoding_size: int, query_size: int) -> "ContentAttention":
        return ContentAttention(self, encoding_size=encoding_size, query_size=query_size)


class LocationAttentionConfig(AttentionOptions):
    """Looks for what fits the decoder's state near where it looked before."""

    kind: Literal["location"] = "location"
    num_filters: int = Field(10, ge=1, le=LARGEST_WIDTH, description="convolutions over the weights of the step before")
    kernel_size: int = Field(31, ge=1, le=LARGEST_WIDTH, description="their width in encodings; odd")
    sharpening: float = Field(1.0, ge=1.0, description="energies are multiplied by it: higher looks at fewer frames")
    window: int | None = Field(
        None, ge=1, description="when recognising, encodings looked at on each side of the median of the step before"
    )

    @model_validator(mode="after")
    def _kernel_has_a_middle(self) -> "LocationAttentionConfig":
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size: {self.kernel_size} is even and has no middle; "
                f"choose {self.kernel_size - 1} or {self.kernel_size + 1}"
            )
        return self

    def build(self, *, encoding_size: int, query_size: int) -> "LocationAttention":
        return LocationAttention(self, encoding_size=encoding_size, query_size=query_size)


class DotProductAttentionConfig(AttentionOptions):
    """Looks for what fits the decoder's state, by products alone: the cheapest, best with several heads."""

    kind: Literal["dot_product"] = "dot_product"
    num_heads: int = Field(
        4, ge=1, le=LARGEST_WIDTH, description="places looked at at once, each with keys and values of its own"
    )

    def build(self, *, encoding_size: int, query_size: int) -> "DotProductAttention":
        return DotProductAttention(self, encoding_size=encoding_size, query_size=query_size)


AttentionConfig = Annotated[
    ContentAttentionConfig | LocationAttentionConfig | DotProductAttentionConfig, Field(discriminator="kind")
]


@dataclass(frozen=True)
class AttentionMemory:
    """Holds what is looked at: it is made once an utterance and used at every step."""

    keys: Float[Tensor, "batch head time key"]
    values: Float[Tensor, "batch head time value"]
    valid: Bool[Tensor, "batch time"]

    def rows(self, index: Int[Tensor, " chosen"]) -> "AttentionMemory":
        """Returns the memory of these utterances only."""
        return AttentionMemory(self.keys[index], self.values[index], self.valid[index])


class Attention(nn.Module, ABC):
    """Has what all kinds share; each gives its `energies`. With one head the values are the encodings themselves."""

    def __init__(self, options: AttentionOptions, *, encoding_size: int, query_size: int) -> None:
        super().__init__()
        if encoding_size % options.num_heads:
            raise ValueError(
                f"attention.num_heads: {options.num_heads} heads do not divide the {encoding_size} values of an "
                "encoding; choose a number that does"
            )
        self.num_heads, self.context_size = options.num_heads, encoding_size
        self.sharpening: float = 1.0
        self.window: int | None = None
        self.query = nn.Linear(query_size, options.attention_size)
        self.key = nn.Linear(encoding_size, options.attention_size, bias=False)
        self.value = nn.Linear(encoding_size, encoding_size) if options.num_heads > 1 else nn.Identity()

    def prepare(
        self, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> AttentionMemory:
        """Prepares the memory in the precision of the weights, under autocast too: small differences of energies
        decide.
        """
        encodings = clear_padding(encodings, lengths)
        keys, values = (
            made.to(self.query.weight.dtype).unflatten(-1, (self.num_heads, -1)).transpose(1, 2).contiguous()
            for made in (self.key(encodings), self.value(encodings))
        )
        return AttentionMemory(keys, values, valid_frames(lengths, encodings.shape[1]))

    def forward(
        self,
        queries: Float[Tensor, "row query"],
        before: Float[Tensor, "row head time"],
        memory: AttentionMemory,
    ) -> tuple[Float[Tensor, "row context"], Float[Tensor, "row head time"]]:
        """Returns the context of each row and its weights; `before` are those of the step before, zeros at the first.

        Where an utterance has no frame at all, both are zeros.
        """
        batch, time = memory.valid.shape
        energies = self.energies(self.query(queries).view(batch, -1, self.num_heads, 1, self.key_size), before, memory)
        allowed = self._allowed(before, memory)
        lowest = torch.finfo(energies.dtype).min
        weights = functional.softmax((self.sharpening * energies).masked_fill(~allowed, lowest), dim=-1)
        weights = weights * memory.valid[:, None, None, :]
        contexts = weights.transpose(1, 2) @ memory.values  # [batch, head, row of the utterance, value]
        return contexts.transpose(1, 2).reshape(len(queries), -1), weights.reshape(len(queries), self.num_heads, time)

    @abstractmethod
    def energies(
        self, queries: Float[Tensor, "batch each head 1 key"], before: Tensor, memory: AttentionMemory
    ) -> Float[Tensor, "batch each head time"]:
        """Returns how well each frame fits each query, before the softmax."""

    @property
    def key_size(self) -> int:
        return self.query.out_features // self.num_heads

    def _allowed(self, before: Float[Tensor, "row head time"], memory: AttentionMemory) -> Bool[Tensor, "..."]:
        """Frames of the utterance; when recognising with a window, those about the median of the step before."""
        valid = memory.valid[:, None, None, :]
        if self.window is None or self.training:
            return valid
        passed = before.cumsum(dim=-1)
        median = (passed < 0.5).sum(dim=-1, keepdim=True)
        frames = torch.arange(before.shape[-1], device=before.device)
        near = (frames - median).abs() <= self.window
        near = near | (passed[:, :, -1:] < 0.5)  # the first step has nothing before it
        return valid & near.view(len(valid), -1, *near.shape[1:])


class ContentAttention(Attention):
    """e[t] = v . tanh(W s + V h[t] + b): Bahdanau et al. 2015 (arXiv:1409.0473), appendix A.1.2."""

    def __init__(self, options: AttentionOptions, *, encoding_size: int, query_size: int) -> None:
        super().__init__(options, encoding_size=encoding_size, query_size=query_size)
        self.energy = nn.Parameter(torch.empty(self.num_heads, self.key_size, 1))
        nn.init.uniform_(self.energy, -(self.key_size**-0.5), self.key_size**-0.5)

    def energies(
        self, queries: Float[Tensor, "batch each head 1 key"], before: Tensor, memory: AttentionMemory
    ) -> Float[Tensor, "batch each head time"]:
        return (torch.tanh(queries + memory.keys[:, None]) @ self.energy).squeeze(-1)


class LocationAttention(ContentAttention):
    """e[t] = v . tanh(W s + V h[t] + U f[t] + b), where f convolves the weights of the step before.

    Chorowski et al. 2015 (arXiv:1506.07503), equations 8 and 9; sharpening and windowing from its sections 2.2 and
    2.3. The heads' weights are convolved together.
    """

    def __init__(self, config: LocationAttentionConfig, *, encoding_size: int, query_size: int) -> None:
        super().__init__(config, encoding_size=encoding_size, query_size=query_size)
        self.sharpening, self.window = config.sharpening, config.window
        side = config.kernel_size // 2
        self.convolution = nn.Conv1d(self.num_heads, config.num_filters, config.kernel_size, padding=side, bias=False)
        self.location = nn.Linear(config.num_filters, config.attention_size, bias=False)

    def energies(
        self, queries: Float[Tensor, "batch each head 1 key"], before: Tensor, memory: AttentionMemory
    ) -> Float[Tensor, "batch each head time"]:
        places = self.location(self.convolution(before).transpose(1, 2))  # [row, time, head key]
        places = places.view(*queries.shape[:2], -1, self.num_heads, self.key_size).transpose(2, 3)
        return (torch.tanh(queries + memory.keys[:, None] + places) @ self.energy).squeeze(-1)


class DotProductAttention(Attention):
    """e[t] = (W s) . (V h[t]) / sqrt(width): Vaswani et al. 2017, equation 1; in LAS: Chiu et al. 2018."""

    def energies(
        self, queries: Float[Tensor, "batch each head 1 key"], before: Tensor, memory: AttentionMemory
    ) -> Float[Tensor, "batch each head time"]:
        products = queries.squeeze(3).transpose(1, 2) @ memory.keys.transpose(2, 3)
        return products.transpose(1, 2) * self.key_size**-0.5
