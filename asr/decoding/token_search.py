"""Beam search token by token: what the searches with an attention decoder share.

All hypotheses of all utterances go one token further at a time; tensors are [utterance, place in the beam], and rows of
the decoder are these two flattened. An utterance that is over leaves the tensors.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from asr.decoding.ctc_prefix import CTCPrefixScorer, CTCPrefixState
from asr.decoding.fusion import FusionConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import Scorer, ScorerState
from asr.model.heads.attention import AttentionHead, DecoderState
from asr.model.heads.mechanisms import AttentionMemory
from asr.section import Section
from asr.text import BOS_ID, EOS_ID

_NOTHING = -math.inf
HOPELESS = 10.0
"""An unfinished hypothesis so far (natural log) below the best finished one is no longer followed."""
SEEN = 0.5
"""A frame is covered when so much of all steps' attention has been on it (Chorowski & Jaitly 2016, section 4.2)."""


class TokenSearchOptions(Section):
    """The options of every search with an attention decoder."""

    beam: int = Field(8, ge=1, description="hypotheses followed at a time; 1 is greedy decoding")
    max_tokens_per_encoding: float = Field(
        1.0, gt=0.0, description="a transcript has at most so many tokens for each encoding of its recording"
    )
    length_normalization: float = Field(
        0.0, ge=0.0, description="scores are divided by ((5 + tokens) / 6) to this power (Wu et al. 2016, equation 14)"
    )
    coverage: float = Field(
        0.0, ge=0.0, description="added for each encoding that was looked at; against what is cut off or looped"
    )
    end_threshold: float | None = Field(
        1.5,
        ge=1.0,
        description="a transcript ends only where the end's log-probability by the decoder is above so many times that "
        "of the likeliest token (Hannun et al. 2019, section 3.3); null: anywhere. Against what is cut off by a beam",
    )
    fusion: FusionConfig = Field(
        FusionConfig(), description="what is added to the scores: a language model, bonuses, hotwords"
    )


@dataclass(frozen=True)
class _Beam:
    """Holds what is followed of the utterances that are not over."""

    utterances: Int[Tensor, " active"]  # which of the batch
    tokens: Int[Tensor, "active beam"]  # the last token of each hypothesis
    scores: Float[Tensor, "active beam"]  # of all but CTC's share; -inf: an empty place
    decoder: DecoderState
    memory: AttentionMemory
    prefixes: tuple[CTCPrefixScorer, CTCPrefixState] | None
    language: ScorerState | None
    seen: Float[Tensor, "active beam time"] | None  # the sum of the weights of all steps, where coverage counts

    def keep(self, index: Int[Tensor, " kept"]) -> "_Beam":
        """Only these of the active utterances."""
        width = self.tokens.shape[1]
        rows = (index[:, None] * width + torch.arange(width, device=index.device)).flatten()
        return _Beam(
            utterances=self.utterances[index],
            tokens=self.tokens[index],
            scores=self.scores[index],
            decoder=self.decoder.rows(rows),
            memory=self.memory.rows(index),
            prefixes=None if self.prefixes is None else (
                self.prefixes[0].utterances(index), self.prefixes[1].utterances(index)),
            language=None if self.language is None else tuple(part[rows] for part in self.language),
            seen=None if self.seen is None else self.seen[index],
        )  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """Holds what one step chose, for following the best hypotheses back."""

    utterances: np.ndarray  # [active]
    origins: np.ndarray  # [active beam] the place of each hypothesis before
    tokens: np.ndarray  # [active beam]
    frames: np.ndarray  # [active beam] where the decoder looked for it
    log_probs: np.ndarray  # [active beam] how likely it found it


@dataclass(frozen=True)
class _Finished:
    """The best hypotheses of each utterance that have ended; those that have not yet are -inf."""

    scores: Float[Tensor, "batch beam"]  # by which they are ranked
    totals: Float[Tensor, "batch beam"]  # before any normalisation by length
    steps: Int[Tensor, "batch beam"]  # the number of tokens of each
    places: Int[Tensor, "batch beam"]  # its place in the beam when it ended


class TokenSearch:
    """One batch's search.

    Each step takes the best continuations of all hypotheses of an utterance. Those of them that end are finished; the
    beam goes on with as many that do not. An utterance is over when as many have finished as the beam is wide, when no
    other can catch up (HOPELESS), or at its greatest number of tokens, where everything has to end.
    """

    def __init__(self, options: TokenSearchOptions, head: AttentionHead, scorer: Scorer | None) -> None:
        self._options, self._head, self._scorer = options, head, scorer
        self._steps: list[_Step] = []

    def run(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        *,
        prefixes: CTCPrefixScorer | None = None,
        ctc_weight: float = 0.0,
        silent: Bool[Tensor, " batch"] | None = None,
        num_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each utterance, best first; at least one, which may be empty, as of `silent`
        ones.
        """
        if not encodings.shape[1]:
            encodings = functional.pad(encodings, (0, 0, 0, 1))  # nothing at all can be neither convolved nor compared
        max_tokens = (lengths * self._options.max_tokens_per_encoding).ceil().long()
        if silent is not None:
            max_tokens = max_tokens.masked_fill(silent, 0)
        beam = self._start(encodings, lengths, prefixes)
        shape, device = (len(lengths), self._options.beam), encodings.device
        scores = torch.full(shape, _NOTHING, dtype=torch.float64, device=device)
        number = torch.zeros(shape, dtype=torch.int64, device=device)
        finished = _Finished(scores, scores, number, number)
        for step in range(int(max_tokens.max()) + 1):
            is_last = step >= max_tokens[beam.utterances]
            beam, finished = self._advance(beam, finished, step, is_last, ctc_weight)
            if not len(beam.utterances):
                break
        return _trace(self._steps, finished, num_best)

    def _start(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        prefixes: CTCPrefixScorer | None,
    ) -> _Beam:
        """Returns one empty hypothesis of each utterance, at the first place of its beam."""
        batch, width, device = len(lengths), self._options.beam, encodings.device
        memory = self._head.attention.prepare(encodings, lengths)
        scores = torch.full((batch, width), _NOTHING, dtype=torch.float64, device=device)
        scores[:, 0] = 0.0
        return _Beam(
            utterances=torch.arange(batch, device=device),
            tokens=torch.full((batch, width), BOS_ID, device=device),
            scores=scores,
            decoder=self._head.start(memory, num_each=width),
            memory=memory,
            prefixes=None if prefixes is None else (prefixes, prefixes.start(width)),
            language=None if self._scorer is None else self._scorer.start(batch * width, device),
            seen=scores.new_zeros(batch, width, encodings.shape[1]) if self._options.coverage else None,
        )

    def _advance(
        self, beam: _Beam, finished: _Finished, step: int, is_last: Tensor, ctc_weight: float
    ) -> tuple[_Beam, _Finished]:
        """Goes one token further; the utterances that are over are left out of the new beam."""
        width = self._options.beam
        beam, log_probs, plain, total = self._continue(beam, ctc_weight)
        is_end = torch.arange(total.shape[2], device=total.device) == EOS_ID
        must_end = is_last[:, None, None]
        total = total.masked_fill(must_end & ~is_end, _NOTHING)
        if self._options.end_threshold is not None:
            likeliest = log_probs.masked_fill(is_end, _NOTHING).amax(dim=2, keepdim=True)
            too_soon = log_probs[:, :, EOS_ID, None] < self._options.end_threshold * likeliest
            total = total.masked_fill(too_soon & is_end & ~must_end, _NOTHING)
        # Of 2 x width continuations at most width end, so that as many are left to go on.
        best, places = total.flatten(1).topk(2 * width)
        ends = (places % total.shape[2] == EOS_ID) & (best > _NOTHING)
        ended = torch.where(ends[:, :width], best[:, :width], _NOTHING)
        finished = self._finish(finished, beam.utterances, ended, places[:, :width] // total.shape[2], step)
        alive, order = best.masked_fill(ends, _NOTHING).topk(width)
        # An empty place is the best one again, so that nothing has to do with tokens that nobody said.
        chosen = places.gather(1, order.where(alive > _NOTHING, order[:, :1]))
        origins, tokens = chosen // total.shape[2], chosen % total.shape[2]
        self._record(beam, origins, tokens, log_probs.flatten(1).gather(1, chosen))
        hopeful = alive[:, 0] > finished.totals[beam.utterances].amax(dim=1) - HOPELESS
        goes_on = hopeful & (finished.scores[beam.utterances, -1] == _NOTHING) & ~is_last
        scores = plain.flatten(1).gather(1, chosen).masked_fill(alive == _NOTHING, _NOTHING)
        return self._follow(beam, origins, tokens, scores=scores, kept=goes_on.nonzero()[:, 0]), finished

    def _continue(self, beam: _Beam, ctc_weight: float) -> tuple[_Beam, Tensor, Tensor, Tensor]:
        """Returns the beam after its decoder has read its tokens; and what each token after each hypothesis would
        score.

        [active, beam, vocabulary]: by the decoder alone; the whole hypothesis without CTC's share, which is one of all
        tokens together; and with it.
        """
        shape = (*beam.tokens.shape, -1)
        log_probs, decoder = self._head.step(beam.tokens.flatten(), beam.decoder, beam.memory)
        scores = beam.scores
        seen = beam.seen
        if seen is not None:
            before, seen = seen, seen + decoder.weights.mean(dim=1).view(shape)
            newly = (seen > SEEN).sum(dim=-1) - (before > SEEN).sum(dim=-1)
            scores = scores + self._options.coverage * newly
        log_probs = log_probs.view(shape)
        plain = scores[:, :, None] + (1 - ctc_weight) * log_probs
        language = beam.language
        if language is not None:
            assert self._scorer is not None
            added, language = self._scorer.step(beam.tokens.flatten(), language)
            plain = plain + added.view(shape)
        total = plain
        if beam.prefixes is not None:
            total = plain + ctc_weight * beam.prefixes[0].score(beam.prefixes[1])
        return replace(beam, decoder=decoder, language=language, seen=seen), log_probs, plain, total

    def _finish(self, finished: _Finished, utterances: Tensor, totals: Tensor, places: Tensor, step: int) -> _Finished:
        """Adds the hypotheses that end after `step` tokens, and keeps the best of all."""
        norm = ((5 + step + 1) / 6) ** self._options.length_normalization
        new = _Finished(totals / norm, totals, torch.full_like(places, step), places)
        old = (part[utterances] for part in vars(finished).values())
        both = [torch.cat(pair, dim=1) for pair in zip(old, vars(new).values(), strict=True)]
        best = both[0].topk(totals.shape[1]).indices
        return _Finished(
            *(
                part.index_put((utterances,), joined.gather(1, best))
                for part, joined in zip(vars(finished).values(), both, strict=True)
            )
        )

    def _record(self, beam: _Beam, origins: Tensor, tokens: Tensor, log_probs: Tensor) -> None:
        looked = beam.decoder.weights.mean(dim=1).argmax(dim=-1).view(beam.tokens.shape).gather(1, origins)
        parts = (beam.utterances, origins, tokens, looked, log_probs)
        self._steps.append(_Step(*(part.cpu().numpy() for part in parts)))

    def _follow(self, beam: _Beam, origins: Tensor, tokens: Tensor, *, scores: Tensor, kept: Tensor) -> _Beam:
        """Returns the beam of the chosen continuations, of the utterances that go on."""
        if not len(kept):
            return beam.keep(kept)
        if len(kept) < len(origins):
            beam, origins, tokens, scores = beam.keep(kept), origins[kept], tokens[kept], scores[kept]
        prefixes = beam.prefixes
        if prefixes is not None:
            prefixes = prefixes[0], prefixes[0].advance(prefixes[1], origins, tokens)
        width = origins.shape[1]
        rows = (torch.arange(len(origins), device=origins.device)[:, None] * width + origins).flatten()
        is_moved = width > 1
        return replace(
            beam,
            tokens=tokens,
            scores=scores,
            decoder=beam.decoder.rows(rows) if is_moved else beam.decoder,
            prefixes=prefixes,
            language=tuple(part[rows] for part in beam.language) if beam.language and is_moved else beam.language,
            seen=beam.seen.flatten(0, 1)[rows].view(beam.seen.shape) if beam.seen is not None else None,
        )


def _trace(steps: list[_Step], finished: _Finished, num_best: int) -> list[list[Hypothesis]]:
    """Returns the best hypotheses of each utterance, followed back through the steps."""
    batch, width = finished.scores.shape
    origins, tokens, frames = (np.zeros((len(steps), batch, width), np.int64) for _ in range(3))
    log_probs = np.zeros((len(steps), batch, width))
    for number, step in enumerate(steps):
        origins[number, step.utterances] = step.origins
        tokens[number, step.utterances] = step.tokens
        frames[number, step.utterances] = step.frames
        log_probs[number, step.utterances] = step.log_probs
    scores, lengths, places = (part.cpu().numpy() for part in (finished.scores, finished.steps, finished.places))
    found = []
    for row in range(batch):
        best = []
        for number in range(min(num_best, width)):
            if scores[row, number] == _NOTHING:
                break
            way = np.zeros(lengths[row, number], np.int64)  # the places of the beam that it went through
            place = places[row, number]
            for step in range(len(way) - 1, -1, -1):
                way[step] = place
                place = origins[step, row, place]
            said, looked, likely = (part[np.arange(len(way)), row, way] for part in (tokens, frames, log_probs))
            looked = np.maximum.accumulate(looked)  # a glance back is no word said earlier
            parts = (tuple(part.tolist()) for part in (said, looked, likely))
            found_tokens, found_frames, found_log_probs = parts
            best.append(Hypothesis(found_tokens, found_frames, float(scores[row, number]), found_log_probs))
        found.append(best or [Hypothesis((), (), _NOTHING)])
    return found
