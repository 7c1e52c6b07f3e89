"""Decoding of a CTC head into words of a list only, by flashlight-text, with a language model of words."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from asr.decoding.alignment import align_tokens
from asr.decoding.hypothesis import Hypothesis
from asr.model.heads.ctc import CTCHead
from asr.section import Section
from asr.text import BLANK_ID, PAD_ID, Tokenizer
from asr.text.special import unspellable


class LexiconError(ValueError):
    """Words or a language model that the lexicon search cannot use, or flashlight-text is missing."""


@dataclass(frozen=True)
class WordModel:
    """A language model of words, for KenLM to read, and its words."""

    path: Path  # ARPA or KenLM binary
    words: Sequence[str]  # without <unk>, <s> and </s>


class LexiconFusionConfig(Section):
    """Says what is added to the scores of the head."""

    asks_for: ClassVar[Literal["tokens", "words"]] = "words"
    language_model: str | None = Field(None, description="run folder of n-grams of words, or an ARPA file of words")
    weight: float = Field(0.5, ge=0.0, description="of the language model's log-probabilities")
    word_bonus: float = Field(0.0, description="added for each word; a language model alone prefers few")


class CTCLexiconConfig(Section):
    kind: Literal["ctc_lexicon"] = "ctc_lexicon"
    searched_heads: ClassVar[tuple[str, ...]] = ("ctc",)
    beam: int = Field(50, ge=1, description="hypotheses kept after each frame")
    beam_threshold: float = Field(30.0, gt=0.0, description="hypotheses further than this below the best are dropped")
    num_candidates: int = Field(40, ge=1, description="the likeliest tokens of a frame, by which hypotheses grow")
    fusion: LexiconFusionConfig = Field(
        LexiconFusionConfig(), description="what is added to the scores: a language model of words, a bonus"
    )

    def build(self, tokenizer: Tokenizer, language_model: WordModel | None = None) -> "CTCLexicon":
        return CTCLexicon(self, tokenizer, language_model)


class CTCLexicon:
    """The likeliest sequence of a language model's words, by the best path of a CTC head that spells it.

    The words are a trie of tokens (Ortmanns, Ney and Aubert 1997), each path scored by its best alignment (Collobert,
    Puhrsch and Synnaeve 2016, arXiv:1609.03193, section 2.3). A word that is not in the list is never written.
    """

    searched_heads = CTCLexiconConfig.searched_heads

    def __init__(self, config: CTCLexiconConfig, tokenizer: Tokenizer, language_model: WordModel | None) -> None:
        """Raises LexiconError without a language model, or where none of its words can be spelled."""
        if language_model is None:
            raise LexiconError(
                "ctc_lexicon: no language model; expected fusion.language_model: RUN, n-grams of words as conf/lm_ngram"
                ".yaml makes with unit: word"
            )
        self.config, self._tokenizer = config, tokenizer
        self._space = tokenizer.pieces.index(" ") if " " in tokenizer.pieces else None
        self._decoder = self._open(language_model)

    def _open(self, language_model: WordModel) -> Any:
        try:
            from torchaudio.models.decoder import ctc_decoder
        except (ImportError, RuntimeError):
            raise LexiconError(
                "ctc_lexicon: flashlight-text is needed; install it with: pip install 'earshot[lexicon]'"
            ) from None
        missing = unspellable(set(language_model.words), self._tokenizer)
        words = [word for word in language_model.words if word not in missing]
        if not words:
            raise LexiconError(
                f"{language_model.path}: the tokenizer spells none of its {len(language_model.words)} words; expected "
                "a model of words; for one of tokens use kind: ctc_beam"
            )
        names = [f"<{number}>" for number in range(self._tokenizer.vocabulary_size)]
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as lexicon:
            lexicon.writelines(f"{word}\t{' '.join(names[token] for token in self._spell(word))}\n" for word in words)
            lexicon.flush()
            return ctc_decoder(
                lexicon=lexicon.name,
                tokens=names,
                lm=str(language_model.path),
                nbest=self.config.beam,
                beam_size=self.config.beam,
                beam_size_token=min(self.config.num_candidates, len(names)),
                beam_threshold=self.config.beam_threshold,
                lm_weight=self.config.fusion.weight * math.log(10),  # KenLM's scores are of base 10
                word_score=self.config.fusion.word_bonus,
                blank_token=names[BLANK_ID],
                sil_token=names[PAD_ID if self._space is None else self._space],
                unk_word="<unk>",
            )

    def _spell(self, word: str) -> list[int]:
        """Returns the tokens of a word, and a space behind them if the tokenizer parts words by one."""
        tokens = self._tokenizer.encode(word)
        return tokens if self._space is None else [*tokens, self._space]

    def __call__(
        self, head: CTCHead, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Hypothesis]:
        found = self.search(head, encodings, lengths)
        return [best[0] if best else Hypothesis((), (), -math.inf) for best in found]

    @torch.inference_mode()
    def search(
        self,
        head: CTCHead,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        *,
        num_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each utterance, best first; none where no words fit into its frames."""
        log_probs = head(encodings).cpu()
        return [
            self._search(scores[:length], num_best) for scores, length in zip(log_probs, lengths.tolist(), strict=True)
        ]

    def _search(self, log_probs: Float[Tensor, "time vocabulary"], num_best: int) -> list[Hypothesis]:
        """Returns one utterance; nobody says the space behind the last word, so it gets a frame of its own, for
        nothing:

        frames      t u r n _ o n |
        said        t u r n _ o n _
        """
        scores = log_probs
        if self._space is not None:
            last = torch.full((1, scores.shape[1]), -1e4)
            last[0, [BLANK_ID, self._space]] = 0.0
            scores = torch.cat((scores, last))
        if not len(scores):
            return [Hypothesis((), (), 0.0)]
        (found,) = self._decoder(scores[None].contiguous(), torch.tensor([len(scores)]))
        distinct: dict[str, float] = {}  # two alignments of the same words are one hypothesis
        for each in found:
            distinct.setdefault(" ".join(each.words), float(each.score))
        return [self._hypothesis(text, score, log_probs) for text, score in list(distinct.items())[:num_best]]

    def _hypothesis(self, text: str, score: float, log_probs: Float[Tensor, "time vocabulary"]) -> Hypothesis:
        tokens = tuple(self._tokenizer.encode(text))
        return Hypothesis(tokens, tuple(span.start_encoding for span in align_tokens(log_probs, tokens)), score)
