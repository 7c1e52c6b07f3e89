"""Prefix beam search of a CTC head, with whatever scores tokens from their past; batched over utterances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from asr.decoding.alignment import align_tokens
from asr.decoding.fusion import FusionConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import Scorer
from asr.model.heads.ctc import CTCHead
from asr.section import Section
from asr.text import BLANK_ID, BOS_ID, EOS_ID, PAD_ID, Tokenizer

_NOTHING = -math.inf
_NO_PREFIX, _NO_PARENT = -1, -2  # hashes at an empty place of the beam; they never meet
_HASH_FACTOR, _HASH_TERM = 6364136223846793005, 1442695040888963407  # Knuth's MMIX; they wrap at 64 bits
_UNSPOKEN = (BLANK_ID, PAD_ID, BOS_ID, EOS_ID)  # no prefix grows by these
_STAYED = -1  # in the place of a token: the prefix is that of the frame before


class CTCBeamConfig(Section):
    kind: Literal["ctc_beam"] = "ctc_beam"
    searched_heads: ClassVar[tuple[str, ...]] = ("ctc",)
    beam: int = Field(16, ge=1, description="hypotheses kept after each frame; 1 is greedy decoding")
    num_candidates: int = Field(40, ge=1, description="the likeliest tokens of a frame, by which hypotheses grow")
    fusion: FusionConfig = Field(
        FusionConfig(), description="what is added to the scores: a language model, bonuses, hotwords"
    )

    def build(self, tokenizer: Tokenizer, language_model: Scorer | None = None) -> "CTCBeam":
        return CTCBeam(self, self.fusion.build(tokenizer, language_model))


class CTCBeam:
    """The likeliest token sequences, each summed over its paths (Graves 2012, Supervised sequence labelling, 7.5.3).

    A hypothesis of the beam is a prefix together with whether its paths end in a blank. Its score is the
    log-probability of those of its paths that were never left out, and what the scorer adds for its tokens. So a beam
    of 1 without a scorer follows the likeliest label of each frame, which is greedy decoding, with the same score; and
    a beam that leaves nothing out gives exact posteriors. Each utterance is searched by itself; the arithmetic is done
    for all of them at once.
    """

    searched_heads = CTCBeamConfig.searched_heads

    def __init__(self, config: CTCBeamConfig, scorer: Scorer | None = None) -> None:
        self.config, self.scorer = config, scorer

    def __call__(
        self, head: CTCHead, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Hypothesis]:
        return [best[0] for best in self.search(head, encodings, lengths)]

    @torch.inference_mode()
    def search(
        self,
        head: CTCHead,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        *,
        num_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each utterance, best first: `num_best`, or as many as the beam holds at the
        end.
        """
        log_probs = head(encodings)
        search = _Search(self.config, self.scorer, log_probs.double())
        scores, moves = search.run(lengths)
        return [
            [_hypothesis(tokens, score, frames[:length]) for tokens, score in found]
            for found, frames, length in zip(_trace(scores, moves, num_best), log_probs, lengths.tolist(), strict=True)
        ]


def _hypothesis(tokens: tuple[int, ...], score: float, log_probs: Float[Tensor, "time vocabulary"]) -> Hypothesis:
    """Returns a hypothesis with the frames at which its tokens start on the best of their paths."""
    return Hypothesis(tokens, tuple(span.start_encoding for span in align_tokens(log_probs, tokens)), score)


@dataclass(frozen=True)
class _Beam:
    """The prefixes kept after a frame."""

    prefix: Int[Tensor, "batch beam"]  # a hash of the tokens
    parent: Int[Tensor, "batch beam"]  # of the tokens without the last
    last: Int[Tensor, "batch beam"]  # the last token; BLANK_ID of the empty prefix
    blank: Float[Tensor, "batch beam"]  # log-probability of the paths that end in a blank; -inf: not in the beam
    token: Float[Tensor, "batch beam"]  # and of those that end in the last token
    language: Float[Tensor, "batch beam"]  # what the scorer gave for the tokens

    @property
    def total(self) -> Float[Tensor, "batch beam"]:
        return torch.logaddexp(self.blank, self.token)


@dataclass(frozen=True)
class _Growth:
    """Holds what a frame makes of a beam: prefixes that stay, and prefixes that grow by one of the candidates."""

    blank: Float[Tensor, "batch beam"]
    token: Float[Tensor, "batch beam"]
    grown: Float[Tensor, "batch beam candidate"]


@dataclass(frozen=True)
class _Move:
    """Says where each prefix of the new beam was in the old one, and the token by which it grew, or _STAYED."""

    origin: Int[Tensor, "batch beam"]
    token: Int[Tensor, "batch beam"]


class _Search:
    """One batch's search, frame by frame."""

    def __init__(
        self, config: CTCBeamConfig, scorer: Scorer | None, log_probs: Float[Tensor, "batch time vocabulary"]
    ) -> None:
        self._log_probs, self._size = log_probs, log_probs.shape[2]
        self._width = config.beam
        spoken = log_probs.clone()
        spoken[:, :, _UNSPOKEN] = _NOTHING
        number = min(config.num_candidates, self._size - len(_UNSPOKEN))
        self._candidate_scores, self._candidates = spoken.topk(number, dim=-1)
        self._continuations = _Continuations(scorer, len(log_probs), beam=config.beam, device=log_probs.device)

    def run(self, lengths: Int[Tensor, " batch"]) -> tuple[Float[Tensor, "batch beam"], list[_Move]]:
        """Returns the score of each prefix of the last beam, and how it came about."""
        beam, moves = self._start(), []
        for frame in range(int(lengths.max())):
            growth = self._grow(beam, frame)
            is_over = (frame >= lengths).to(beam.last.device)[:, None]
            beam, move = self._select(beam, growth, frame, is_over)
            self._continuations.follow(move)
            moves.append(move)
        return beam.total + beam.language + self._continuations.end(), moves

    def _start(self) -> _Beam:
        """Returns the empty prefix, before the first frame as if after a blank."""
        shape = (len(self._log_probs), self._width)
        device = self._log_probs.device
        nothing = torch.full(shape, _NOTHING, dtype=torch.float64, device=device)
        blank = nothing.clone()
        blank[:, 0] = 0.0
        number = torch.zeros(shape, dtype=torch.int64, device=device)
        beam = _Beam(number, number + _NO_PARENT, number + BLANK_ID, blank, nothing, torch.zeros_like(nothing))
        return _without_empty_places(beam)

    def _grow(self, beam: _Beam, frame: int) -> _Growth:
        """The frame's label is a blank or the last token again, and the prefix stays; or another, and it grows.

        After `b`, a token `b` makes `bb` only of the paths that end in a blank. A prefix that grows into one that is
        in the beam already is no new one; its paths are counted there.
        """
        scores, total = self._log_probs[:, frame], beam.total
        again = scores.gather(1, beam.last).masked_fill(beam.last == BLANK_ID, _NOTHING)
        # [batch, before, after]: is the one the other without its last token?
        is_parent = beam.parent[:, None, :] == beam.prefix[:, :, None]
        has_parent, parent = is_parent.any(dim=1), is_parent.to(torch.uint8).argmax(dim=1)
        same = beam.last == beam.last.gather(1, parent)
        entering = torch.where(same, beam.blank.gather(1, parent), total.gather(1, parent))
        entering = entering.masked_fill(~has_parent, _NOTHING)
        candidates = self._candidates[:, frame, None, :]
        growing = torch.where(candidates == beam.last[:, :, None], beam.blank[:, :, None], total[:, :, None])
        grown = growing + self._candidate_scores[:, frame, None, :]
        is_there = torch.zeros(len(scores), self._width * self._size + 1, dtype=torch.bool, device=scores.device)
        where = torch.where(has_parent, parent * self._size + beam.last, self._width * self._size)
        is_there.scatter_(1, where, True)
        is_there = is_there[:, :-1].view(-1, self._width, self._size)
        return _Growth(
            blank=total + scores[:, BLANK_ID, None],
            token=torch.logaddexp(beam.token, entering) + again,
            grown=grown.masked_fill(is_there.gather(2, candidates.expand_as(grown)), _NOTHING),
        )

    def _select(
        self, beam: _Beam, growth: _Growth, frame: int, is_over: Bool[Tensor, "batch 1"]
    ) -> tuple[_Beam, _Move]:
        """Returns the best hypotheses of all, each prefix at one place; utterances that are over keep theirs."""
        width, candidates = self._width, self._candidates[:, frame]
        gains = self._continuations.of(candidates)
        grown, pair = (growth.grown + beam.language[:, :, None] + gains).flatten(1).topk(width)
        stayed = torch.cat((growth.blank, growth.token), dim=1) + beam.language.repeat(1, 2)
        best = torch.cat((stayed, grown), dim=1).topk(width).indices
        is_kept = torch.zeros(len(best), 3 * width, dtype=torch.bool, device=best.device).scatter_(1, best, True)
        blank, token, added = is_kept.split(width, dim=1)
        kept = _Kept(
            blank=growth.blank.masked_fill(~blank, _NOTHING),
            token=growth.token.masked_fill(~token, _NOTHING),
            grown=growth.grown.flatten(1).gather(1, pair).masked_fill(~added, _NOTHING),
            origin=pair // candidates.shape[1],
            added=candidates.gather(1, pair % candidates.shape[1]),
            gain=gains.flatten(1).gather(1, pair),
        )
        new, move = _place(beam, kept)
        here = torch.arange(width, device=best.device).expand_as(move.origin)
        held = (
            torch.where(is_over, old, now) for old, now in zip(vars(beam).values(), vars(new).values(), strict=True)
        )
        return _Beam(*held), _Move(
            origin=torch.where(is_over, here, move.origin), token=move.token.masked_fill(is_over, _STAYED)
        )


@dataclass(frozen=True)
class _Kept:
    """The hypotheses that are kept after a frame; what is not has no score."""

    blank: Float[Tensor, "batch beam"]  # of the prefixes that stay, at their places
    token: Float[Tensor, "batch beam"]
    grown: Float[Tensor, "batch beam"]  # of the best that grew
    origin: Int[Tensor, "batch beam"]  # from which place each grew
    added: Int[Tensor, "batch beam"]  # by which token
    gain: Float[Tensor, "batch beam"]  # and what the scorer gave for it


def _place(beam: _Beam, kept: _Kept) -> tuple[_Beam, _Move]:
    """Returns a new beam of the prefixes that have a hypothesis left: no more than places, as two may share one."""
    width = beam.prefix.shape[1]
    staying = torch.logaddexp(kept.blank, kept.token) + beam.language
    chosen = torch.cat((staying, kept.grown + beam.language.gather(1, kept.origin) + kept.gain), dim=1)
    slot = chosen.topk(width).indices  # the first `width` stand for prefixes that stay
    is_new, place = slot >= width, slot % width
    origin = torch.where(is_new, kept.origin.gather(1, place), place)
    added = kept.added.gather(1, place)
    before = _Beam(*(value.gather(1, origin) for value in vars(beam).values()))
    new = _Beam(
        prefix=torch.where(is_new, before.prefix * _HASH_FACTOR + (added + _HASH_TERM), before.prefix),
        parent=torch.where(is_new, before.prefix, before.parent),
        last=torch.where(is_new, added, before.last),
        blank=kept.blank.gather(1, place).masked_fill(is_new, _NOTHING),
        token=torch.where(is_new, kept.grown.gather(1, place), kept.token.gather(1, place)),
        language=torch.where(is_new, before.language + kept.gain.gather(1, place), before.language),
    )
    return _without_empty_places(new), _Move(origin, added.masked_fill(~is_new, _STAYED))


def _without_empty_places(beam: _Beam) -> _Beam:
    """Places without a hypothesis get hashes that meet no other."""
    is_empty = beam.total == _NOTHING
    return replace(
        beam,
        prefix=beam.prefix.masked_fill(is_empty, _NO_PREFIX),
        parent=beam.parent.masked_fill(is_empty, _NO_PARENT),
    )


class _Continuations:
    """Holds what the scorer gives for each further token, after each prefix of the beam."""

    def __init__(self, scorer: Scorer | None, batch: int, *, beam: int, device: torch.device) -> None:
        self._scorer, self._shape = scorer, (batch, beam)
        if scorer is not None:
            begin = torch.full((batch,), BOS_ID, device=device)
            rows, state = scorer.step(begin, scorer.start(batch, device))
            each = torch.arange(batch, device=device).repeat_interleave(beam)
            self._rows, self._state = rows[each], tuple(part[each] for part in state)

    def of(self, candidates: Int[Tensor, "batch candidate"]) -> Float[Tensor, "batch beam candidate"]:
        shape = (*self._shape, candidates.shape[1])
        if self._scorer is None:
            return torch.zeros(1, dtype=torch.float64, device=candidates.device).expand(shape)
        return self._rows.view(*self._shape, -1).gather(2, candidates[:, None, :].expand(shape)).double()

    def end(self) -> Float[Tensor, "batch beam"] | float:
        """Returns the scores for the end of the utterance."""
        return self._rows[:, EOS_ID].view(self._shape).double() if self._scorer is not None else 0.0

    def follow(self, move: _Move) -> None:
        """Go along with the beam; only prefixes that grew are scored anew."""
        if self._scorer is None:
            return
        first = torch.arange(self._shape[0], device=move.origin.device)[:, None] * self._shape[1]
        origin = (move.origin + first).flatten()
        self._rows, self._state = self._rows[origin], tuple(part[origin] for part in self._state)
        grew = (move.token != _STAYED).flatten().nonzero()[:, 0]
        if len(grew):
            rows, state = self._scorer.step(move.token.flatten()[grew], tuple(part[grew] for part in self._state))
            self._rows[grew] = rows
            for part, new in zip(self._state, state, strict=True):
                part[grew] = new


def _trace(
    scores: Float[Tensor, "batch beam"], moves: Sequence[_Move], num_best: int
) -> list[list[tuple[tuple[int, ...], float]]]:
    """Returns the tokens of the best prefixes of each utterance with their scores, followed backwards through the
    moves.
    """
    best, place = (value.cpu().numpy() for value in scores.topk(min(num_best, scores.shape[1])))
    rows = np.arange(len(best))[:, None]
    backwards = []
    for move in reversed(moves):
        backwards.append(move.token.cpu().numpy()[rows, place])
        place = move.origin.cpu().numpy()[rows, place]
    tokens = np.stack([*backwards, np.full(best.shape, _STAYED)])[::-1]
    return [
        [
            (tuple(spelled[spelled != _STAYED].tolist()), float(score))
            for spelled, score in zip(tokens[:, row].T, best[row])
            if score > _NOTHING
        ]
        for row in range(len(best))
    ]
