"""The probability that CTC gives to everything that begins with a prefix, for all prefixes of a beam at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from asr.model.layers.masking import valid_frames
from asr.text import BLANK_ID, BOS_ID, EOS_ID, PAD_ID

_NOTHING = -torch.inf


@dataclass(frozen=True)
class CTCPrefixState:
    """The paths that spell each prefix exactly, by how many frames they have used: natural logs of probabilities."""

    blank: Float[Tensor, "batch beam frames"]  # of those that end in a blank; the first entry is of no frame used
    label: Float[Tensor, "batch beam frames"]  # and of those that end in the prefix's last token
    last: Int[Tensor, "batch beam"]  # that token; BLANK_ID of the empty prefix

    def utterances(self, index: Int[Tensor, " chosen"]) -> "CTCPrefixState":
        """Returns the state of these utterances only."""
        return CTCPrefixState(self.blank[index], self.label[index], self.last[index])


@dataclass(frozen=True)
class CTCPrefixScorer:
    """CTC prefix probabilities (Watanabe et al. 2017, "Hybrid CTC/Attention Architecture", algorithm 2).

    With n(g, t) and b(g, t) the probabilities of the paths over t frames that spell the prefix g and end in its last
    token, or in a blank, p_t those of frame t, and c a token to add:

        enter(t) = b(g, t) + n(g, t)               b(g, t) alone where c repeats the last token of g
        prefix(g c) = sum over t of enter(t-1) p_t(c)
        n(g c, t) = (n(g c, t-1) + enter(t-1)) p_t(c)
        b(g c, t) = (b(g c, t-1) + n(g c, t-1)) p_t(blank)

    The sum is one matrix product for all tokens of the vocabulary. The recurrences are computed for the chosen ones
    only, without a loop over frames: divided by the product of all p up to t, each is a running sum.
    """

    log_probs: Float[Tensor, "batch vocabulary time"]  # 0 past each length
    probs: Float[Tensor, "batch time vocabulary"]  # 0 past each length
    lengths: Int[Tensor, " batch"]

    @classmethod
    def of(cls, log_probs: Float[Tensor, "batch time vocabulary"], lengths: Int[Tensor, " batch"]) -> "CTCPrefixScorer":
        """Computes in double precision: at the end of a long utterance small differences of large logarithms matter."""
        if not log_probs.shape[1]:
            log_probs = functional.pad(log_probs, (0, 0, 0, 1))
        valid = valid_frames(lengths, log_probs.shape[1])[:, :, None]
        scores = log_probs.double().masked_fill(~valid, 0.0)
        return cls(scores.transpose(1, 2).contiguous(), scores.exp() * valid, lengths)

    def utterances(self, index: Int[Tensor, " chosen"]) -> "CTCPrefixScorer":
        """Returns the scorer of these utterances only."""
        return CTCPrefixScorer(self.log_probs[index], self.probs[index], self.lengths[index])

    def start(self, beam: int) -> CTCPrefixState:
        """Returns the empty prefix, `beam` times."""
        blank = _from_zero(self.log_probs[:, BLANK_ID].cumsum(dim=-1), 0.0)[:, None].expand(-1, beam, -1)
        last = torch.full(blank.shape[:2], BLANK_ID, device=blank.device)
        return CTCPrefixState(blank, torch.full_like(blank, _NOTHING), last)

    def score(self, state: CTCPrefixState) -> Float[Tensor, "batch beam vocabulary"]:
        """Returns the log-probability of all that begins with each prefix and one token more; EOS_ID: of the prefix
        itself.
        """
        total = torch.logaddexp(state.blank, state.label)
        enter, after_blank = total[:, :, :-1], state.blank[:, :, :-1]
        largest = enter.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(enter.dtype).min)
        sums = (enter - largest).exp() @ self.probs
        again = self.probs.transpose(1, 2).gather(1, state.last[:, :, None].expand_as(enter))
        sums.scatter_(2, state.last[:, :, None], ((after_blank - largest).exp() * again).sum(dim=-1, keepdim=True))
        scores = sums.log() + largest
        scores[:, :, [BLANK_ID, PAD_ID, BOS_ID]] = _NOTHING
        ends = self.lengths[:, None, None].expand(-1, total.shape[1], 1)
        scores[:, :, EOS_ID] = total.gather(2, ends)[:, :, 0]
        return scores

    def advance(
        self, state: CTCPrefixState, origin: Int[Tensor, "batch beam"], tokens: Int[Tensor, "batch beam"]
    ) -> CTCPrefixState:
        """Returns the state after each chosen prefix, at place `origin` of the beam, has grown by a token."""
        places = origin[:, :, None].expand(-1, -1, state.blank.shape[2])
        blank, label = state.blank.gather(1, places), state.label.gather(1, places)
        repeats = (tokens == state.last.gather(1, origin))[:, :, None]
        enter = torch.where(repeats, blank, torch.logaddexp(blank, label))[:, :, :-1]
        of_tokens = self.log_probs.gather(1, tokens[:, :, None].expand_as(enter))
        new_label = _accumulate(enter, of_tokens)
        new_blank = _accumulate(new_label[:, :, :-1], self.log_probs[:, BLANK_ID, None].expand_as(enter))
        return CTCPrefixState(new_blank, new_label, tokens)


def _accumulate(
    entering: Float[Tensor, "batch beam time"], log_probs: Float[Tensor, "batch beam time"]
) -> Float[Tensor, "batch beam frames"]:
    """x[t] = (x[t-1] + entering[t-1]) p[t] from x[0] = 0, in logarithms.

    x[t] = P[t] (entering[0] / P[0] + ... + entering[t-1] / P[t-1])        P[t] = p[1] ... p[t]
    """
    product = log_probs.cumsum(dim=-1)
    before = torch.cat((torch.zeros_like(product[:, :, :1]), product[:, :, :-1]), dim=-1)
    return _from_zero(product + torch.logcumsumexp(entering - before, dim=-1), _NOTHING)


def _from_zero(values: Float[Tensor, "*rows time"], first: float) -> Float[Tensor, "*rows frames"]:
    """Puts an entry before the first."""
    return torch.cat((torch.full_like(values[..., :1], first), values), dim=-1)
