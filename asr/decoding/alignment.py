"""Aligns tokens with CTC scores: when each word was said, and how probable the model found it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from asr.text import BLANK_ID, WORD_START, Tokenizer

QUIET_SHARE = 0.25  # of an utterance's range of loudness; what lies below it is no part of a word
LONGEST_DIP = 10  # log-mel frames of quiet inside a word: the closure of a stop consonant
LONGEST_REACH = 50  # log-mel frames that a word may lie before or after where the model shows it


@dataclass(frozen=True)
class TokenSpan:
    """Says where the best path of a CTC head has one token."""

    start_encoding: int  # its first
    end_encoding: int  # the one after its last
    log_posterior: float  # natural logarithm, of the encoding that shows it best


@dataclass(frozen=True)
class WordSpan:
    """A word of a hypothesis and where it was said."""

    text: str
    start_frame: float  # log-mel frames from the beginning
    end_frame: float
    posterior: float  # 0 to 1: the geometric mean of its tokens' posteriors


def align_tokens(log_probs: Float[Tensor, "time vocabulary"], tokens: Sequence[int]) -> list[TokenSpan]:
    """Returns the most probable way to say exactly these tokens, by the log-probabilities of one utterance's CTC head.

    Viterbi over the states of CTC (Graves et al. 2006, section 3.2), by torchaudio. Tokens that another decoding
    found and that are too many for the encodings lie evenly over all of them, with a posterior of 0.
    """
    if not tokens:
        return []
    num_frames, num_equal = len(log_probs), sum(left == right for left, right in itertools.pairwise(tokens))
    if num_frames < len(tokens) + num_equal:
        return spread_tokens(len(tokens), num_frames)
    scores = log_probs.detach().float().cpu().contiguous()
    # The best path of all is that of its own tokens, which is what the usual decoding finds.
    starts, ends, labels = _labels(scores.argmax(dim=1).numpy())
    if labels != list(tokens):
        from torchaudio.functional import forced_align  # a tenth of a program's start, which few need

        targets = torch.tensor([tokens], dtype=torch.int32)
        starts, ends, labels = _labels(forced_align(scores[None], targets, blank=BLANK_ID)[0][0].numpy())
    values = scores.numpy()
    return [
        TokenSpan(start, end, float(values[start:end, token].max()))
        for token, start, end in zip(labels, starts, ends, strict=True)
    ]


def _labels(path: Int[np.ndarray, " time"]) -> tuple[list[int], list[int], list[int]]:
    """a a _ a b b _: labels a a b, which start at 0, 3 and 4 and end at 2, 4 and 6."""
    changes = np.flatnonzero(path[1:] != path[:-1]) + 1
    starts, ends = np.concatenate(([0], changes)), np.concatenate((changes, [len(path)]))
    spoken = path[starts] != BLANK_ID
    return starts[spoken].tolist(), ends[spoken].tolist(), path[starts[spoken]].tolist()


def spread_tokens(num_tokens: int, num_encodings: int) -> list[TokenSpan]:
    """Spreads tokens evenly over all encodings: where nothing says more of their place."""
    edges = np.linspace(0, num_encodings, num_tokens + 1).round().astype(int).tolist()
    return [TokenSpan(start, end, -np.inf) for start, end in itertools.pairwise(edges)]


def place_tokens(frames: Sequence[int], log_probs: Sequence[float], num_encodings: int) -> list[TokenSpan]:
    """Tokens from the encodings at which a decoder looked for them, in order, each to the next one's."""
    ends = [*frames[1:], num_encodings]
    return [
        TokenSpan(start, max(start + 1, end), log_prob)
        for start, end, log_prob in zip(frames, ends, log_probs, strict=True)
    ]


def word_places(tokens: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """Returns the places of the tokens of each word; a space between words belongs to none.

    t u r n _ o n  ->  [0 1 2 3] [5 6]
    """
    pieces = tokenizer.pieces
    words: list[list[int]] = []
    word: list[int] = []
    for place, token in enumerate(tokens):
        if word and len(tokenizer.decode([tokens[word[-1]], token]).split()) > 1:
            words.append(word)
            word = []
        if tokenizer.decode([token]).strip():
            word.append(place)
        elif word and not pieces[token].strip(f" {WORD_START}"):
            words.append(word)
            word = []
    return [*words, word] if word else words


def spell_words(
    tokens: Sequence[int], spans: Sequence[TokenSpan], tokenizer: Tokenizer, *, frames_per_encoding: float
) -> list[WordSpan]:
    """Returns the words of a hypothesis, from where their first token starts to where their last one ends."""
    return [
        WordSpan(
            text=tokenizer.decode([tokens[place] for place in places]).strip(),
            start_frame=spans[places[0]].start_encoding * frames_per_encoding,
            end_frame=spans[places[-1]].end_encoding * frames_per_encoding,
            posterior=float(np.exp(np.mean([spans[place].log_posterior for place in places]))),
        )
        for places in word_places(tokens, tokenizer)
    ]


def reach_out(words: Sequence[WordSpan], features: Float[Tensor, "frame mel"]) -> list[WordSpan]:
    """Returns each word from where it is heard to start to where it is heard to end.

    CTC shows a token for a moment, often late, and a word of one token for no longer. So a word reaches out, up to
    LONGEST_REACH frames, over what is loud; of two words, up to the quietest frame between them:

        loudness   . : | | : . : | | | : .
        shown            ^           ^
        reached      [       ] [         ]

    Loudness is the mean of the log-mels, normalised or not. `words` are in order; they never overlap afterwards
    where they did not before.
    """
    if not words:
        return []
    loudness = features.mean(dim=1).cpu().numpy()
    in_order = np.sort(loudness)  # np.percentile takes ten times as long
    low, high = (float(in_order[round(share * (len(in_order) - 1))]) for share in (0.05, 0.95))
    loud: list[bool] = (loudness > low + QUIET_SHARE * (high - low)).tolist()
    shown = [(min(int(word.start_frame), len(loud)), min(round(word.end_frame), len(loud))) for word in words]
    quietest = [_quietest(loudness, left[1], right[0]) for left, right in itertools.pairwise(shown)]
    limits = [0, *quietest, len(loud)]
    return [
        replace(
            word,
            start_frame=_reach(loud, start, max(limits[number], start - LONGEST_REACH), step=-1),
            end_frame=_reach(loud, end, min(limits[number + 1], end + LONGEST_REACH), step=1),
        )
        for number, (word, (start, end)) in enumerate(zip(words, shown))
    ]


def _quietest(loudness: Float32[np.ndarray, " frame"], start: int, end: int) -> int:
    """Returns the quietest frame between; where there is none, the second word's first."""
    return start + int(loudness[start:end].argmin()) if start < end else end


def _reach(loud: list[bool], edge: int, limit: int, *, step: int) -> int:
    """Returns the furthest edge of what is loud from `edge` towards `limit`, over dips that are short enough."""
    reached = edge
    for place in range(edge, limit, step):
        if loud[place if step > 0 else place - 1]:
            reached = place + step
        elif abs(place + step - reached) > LONGEST_DIP:
            break
    return reached
