"""Finds what a command's recording means: sentence, intent, slots, and how sure that is."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from asr.decoding.hypothesis import Hypothesis
from asr.grammar.file import GrammarError
from asr.grammar.grammar import language_fault
from asr.grammar.network import word_graph
from asr.grammar.parsing import Meaning, SentenceParser
from asr.grammar.pronunciations import with_pronunciations
from asr.grammar.templates import Grammar, load_grammar
from asr.recognition.stream import Beginning
from asr.runs.folder import RunFolder
from asr.text import BLANK_ID, Tokenizer
from asr.transcript import Word
from asr.understanding.autoencoder import SecondOpinion, load_autoencoder
from asr.understanding.label_priors import LabelPriors, load_priors
from asr.understanding.rejection import LOWEST_RATIO, Evidence, Rejection, score_ratio
from asr.understanding.search import GrammarSearch, Scores, best_path
from asr.understanding.sizes import Judging, choose_rejection
from asr.understanding.token_graph import SpelledWord, WordReader

MAX_KNOWN = 20_000  # sentences whose meaning is kept: recordings share many of their alternatives

Spans = list[tuple[int, int]]  # of each token its first encoding, and the one after its last


@dataclass(frozen=True)
class CommandGuess:
    """A sentence of the grammar that a recording may be."""

    text: str
    intent: str
    slots: dict[str, Any]
    score: float  # log ratio to the filler, a token; 0 is best
    response: str | None = None  # as the grammar has it: the key of an assistant's answer, and
    metadata: dict[str, Any] = field(default_factory=dict)  # what else it says of the template


@dataclass(frozen=True)
class CommandResult:
    """Holds what was understood of one recording; where nothing was, text, intent, slots and words are empty."""

    understood: bool
    text: str
    intent: str | None
    slots: dict[str, Any]
    words: tuple[Word, ...]
    score: float  # of the best sentence, understood or not, as a guess's; LOWEST_RATIO where none fits
    certainty: float  # of the filler, as in Evidence: low for sounds that the model does not know
    agreement: float  # of the best sentence's tokens, as in Evidence: low where some are made up
    confidence: float  # 0 to 1
    guesses: tuple[CommandGuess, ...]  # the best sentence of each of the best meanings, best first, understood or not
    heard: str  # what the model writes without a grammar
    familiarity: float = 0.0  # of the sound, by the second opinion, 0 the best; without one always 0
    # Natural logarithm: the best sentence's score, with its weight in the grammar, less that of the best one with
    # another intent or slots; None where no other fits.
    margin: float | None = None
    brevity: float = 0.0  # of the best sentence, as in Evidence: -1 / tokens

    @property
    def evidence(self) -> Evidence:
        """Returns what `Rejection` judges it by."""
        return Evidence(
            self.score, self.certainty, self.agreement, self.familiarity, _infinite(self.margin), self.brevity
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the value as JSON types, in which a word is its `text`."""
        found = asdict(self)
        found["words"] = tuple({"text": each.pop("word"), **each} for each in found["words"])
        return found


class CommandSearch:
    """A grammar, ready to find its commands in the scores of a model; changing it needs no training."""

    def __init__(
        self,
        grammar: Grammar,
        tokenizer: Tokenizer,
        *,
        rejection: Rejection | None = None,
        second_opinion: SecondOpinion | None = None,
        priors: LabelPriors | None = None,
        num_best: int = 3,
    ) -> None:
        """Divides scores by `priors` if given. Raises SpellingError for words that the tokenizer cannot spell.

        Raises GrammarError for a grammar in another language, or with pronunciations that the model cannot have.
        """
        if fault := language_fault(grammar, tokenizer):
            raise GrammarError(fault)
        self.priors = priors
        self.grammar, self.num_best = grammar, num_best
        self.rejection, self.second_opinion = rejection or Rejection(), second_opinion
        self.basis = "the threshold is as given" if rejection else "the threshold is a guess"  # where it comes from
        self.graph = word_graph(grammar)
        self.tokenizer = tokenizer = with_pronunciations(tokenizer, grammar, self.graph.symbols)
        self.search = GrammarSearch(self.graph, tokenizer, where=str(grammar.path))
        self._reader, self._parser = WordReader(self.graph, tokenizer), SentenceParser(grammar)
        self._meaning = lru_cache(MAX_KNOWN)(self._find_meaning)

    @classmethod
    def load(
        cls, path: str | Path, tokenizer: Tokenizer, *, rejection: Rejection | None = None, num_best: int = 3
    ) -> CommandSearch:
        """Opens the search of a file of sentence templates."""
        return cls(load_grammar(path), tokenizer, rejection=rejection, num_best=num_best)

    def judged_by(self, judging: Judging, *, second_opinion: SecondOpinion | None) -> CommandSearch:
        """Returns the same search with a threshold that was found for its grammar, or for grammars of its size."""
        judged = copy.copy(self)
        judged.rejection, judged.basis, judged.second_opinion = judging.rejection, judging.basis, second_opinion
        return judged

    @classmethod
    def of_run(cls, run: RunFolder, tokenizer: Tokenizer, path: str | Path) -> CommandSearch:
        """Opens it with all that a run folder knows of this grammar: its calibration, and the priors of its labels.

        Raises what `load_grammar` raises, and RejectionError where the calibration is of other weights.
        """
        grammar = load_grammar(path)
        search = cls(grammar, tokenizer, priors=load_priors(run))
        judging = choose_rejection(
            run.path, grammar=grammar.digest, num_sentences=search.graph.num_sentences, model=run.search_digest()
        )
        autoencoder = judging.rejection.autoencoder
        second = load_autoencoder(run.path, digest=autoencoder) if autoencoder else None
        return search.judged_by(judging, second_opinion=second)

    def understand(self, scores: Scores, *, seconds_per_encoding: float, familiarity: float = 0.0) -> CommandResult:
        """The command in one utterance's log-probabilities, those of a CTC head; familiarity is by `second_opinion`."""
        heard = " ".join(self.tokenizer.decode(_free_tokens(scores)).split())
        scores = self.priors.scale(scores) if self.priors else scores
        alternatives = self._alternatives(scores)
        found = dict(alternatives[: self.num_best])
        ratios = self._ratios(found, scores)
        guesses = tuple(self._guess(text, ratio) for text, ratio in ratios.items())
        text, first = next(iter(found.items()), ("", Hypothesis((), (), -np.inf)))
        spans = token_spans(first, scores)
        agreements = token_agreements(first, spans, scores)
        margin = alternatives[0][1].score - alternatives[1][1].score if len(alternatives) > 1 else None
        evidence = Evidence(
            ratio=ratios.get(text, LOWEST_RATIO),
            certainty=certainty(scores),
            agreement=float(np.mean(agreements)) if agreements else LOWEST_RATIO,
            familiarity=familiarity,
            margin=_infinite(margin),
            brevity=-1 / max(len(agreements), 1),
        )
        understood = bool(found and heard) and self.rejection.accepts(evidence)
        return CommandResult(
            understood=understood,
            text=guesses[0].text if understood else "",
            intent=guesses[0].intent if understood else None,
            slots=guesses[0].slots if understood else {},
            words=self._words(first, spans, agreements, seconds_per_encoding) if understood else (),
            score=evidence.ratio,
            certainty=evidence.certainty,
            agreement=evidence.agreement,
            confidence=self.rejection.confidence(evidence),
            guesses=guesses,
            heard=heard,
            familiarity=familiarity,
            margin=margin,
            brevity=evidence.brevity,
        )

    def begin(self, scores: Scores) -> Beginning:
        """Returns what was said so far of a command, in the log-probabilities of an utterance that may go on."""
        scores = self.priors.scale(scores) if self.priors else scores
        words, states = self._reader.read_beginning(self.search.search_beginning(scores))
        return Beginning(
            words,
            is_whole=not states.isdisjoint(self.graph.finals),
            can_go_on=not states or any(self._can_go_on(state, ()) for state in states),
        )

    def _can_go_on(self, state: int, skipped: tuple[str, ...]) -> bool:
        """Returns whether words can follow that change the meaning: others than one of the words to skip at the end."""
        for word, (target, _) in self.graph.edges[state].items():
            longer = (*skipped, word)
            begins_skip = any(each[: len(longer)] == longer for each in self.grammar.skip_words)
            if not begins_skip or self._can_go_on(target, longer):
                return True
        return False

    def _alternatives(self, scores: Scores) -> list[tuple[str, Hypothesis]]:
        """The best sentence of each of the best meanings, at least two of them where the grammar has as many."""

        found = self.search.search_kinds(scores, num_best=max(2, self.num_best), kind_of=self._meaning)
        return [(self._sentence(hypothesis), hypothesis) for hypothesis, _ in found]

    def _find_meaning(self, tokens: tuple[int, ...]) -> tuple[str, str]:
        """The intent and slots of the sentence that tokens spell; of one that means several things, the heaviest."""
        found = self._parser.parse(" ".join(word.text for word in self._reader.read(tokens)))[0]
        return found.intent, json.dumps(found.slots, sort_keys=True)

    def meanings(self, text: str) -> list[Meaning]:
        """Returns what a sentence means in the grammar; nothing where it is none of its sentences."""
        return self._parser.parse(text)

    def _ratios(self, found: Mapping[str, Hypothesis], scores: Scores) -> dict[str, float]:
        """Compares each sentence with the filler; the weights of the grammar do not count."""
        filler, num_heard = float(best_path(scores).sum(dtype=np.float64)), len(_free_tokens(scores))
        return {
            text: score_ratio(
                command=hypothesis.score - self.graph.weigh(text.split()),
                filler=filler,
                num_tokens=len(hypothesis.tokens),
                num_filler_tokens=num_heard,
            )
            for text, hypothesis in found.items()
        }

    def _guess(self, text: str, ratio: float) -> CommandGuess:
        meaning = self._parser.parse(text)[0]
        return CommandGuess(text, meaning.intent, meaning.slots, ratio, meaning.response, meaning.metadata)

    def _sentence(self, hypothesis: Hypothesis) -> str:
        return " ".join(word.text for word in self._spelled(hypothesis))

    def _spelled(self, hypothesis: Hypothesis) -> list[SpelledWord]:
        return self._reader.read(hypothesis.tokens)

    def _words(self, hypothesis: Hypothesis, spans: Spans, agreements: list[float], seconds: float) -> tuple[Word, ...]:
        return tuple(
            Word(
                word.text,
                start=round(spans[word.start][0] * seconds, 3),
                end=round(spans[word.end - 1][1] * seconds, 3),
                confidence=round(math.exp(float(np.mean(agreements[word.start : word.end]))), 4),
            )
            for word in self._spelled(hypothesis)
        )


def _infinite(margin: float | None) -> float:
    return math.inf if margin is None else margin


def certainty(scores: Scores) -> float:
    """The mean log-probability of the likeliest labels, over the frames in which they are no blank.

    LOWEST_RATIO where there are none.
    """
    spoken = scores.max(axis=1)[scores.argmax(axis=1) != BLANK_ID] if len(scores) else np.zeros(0)
    return max(float(spoken.mean(dtype=np.float64)), LOWEST_RATIO) if spoken.size else LOWEST_RATIO


def token_spans(hypothesis: Hypothesis, scores: Scores) -> Spans:
    """First frame of each token, and the one after its last; blanks follow until the next."""
    spans = []
    for place, (token, start) in enumerate(zip(hypothesis.tokens, hypothesis.frames, strict=True)):
        is_last = place + 1 == len(hypothesis.tokens)
        limit = len(scores) if is_last else hypothesis.frames[place + 1]
        if not is_last and hypothesis.tokens[place + 1] == token:
            limit -= 1  # for the blank between equal tokens
        gains = np.cumsum(scores[start:limit, token] - scores[start:limit, BLANK_ID], dtype=np.float64)
        spans.append((start, start + 1 + int(gains.argmax())))
    return spans


def token_agreements(hypothesis: Hypothesis, spans: Spans, scores: Scores) -> list[float]:
    """Log-probability of each token less that of the likeliest label, in that of its frames where it is best."""
    return [
        float((scores[start:end, token] - scores[start:end].max(axis=1)).max())
        for token, (start, end) in zip(hypothesis.tokens, spans, strict=True)
    ]


def _free_tokens(scores: Scores) -> list[int]:
    """Returns what the best path spells: repeats merged, blanks dropped."""
    return [label for label, _ in itertools.groupby(scores.argmax(axis=1).tolist()) if label != BLANK_ID]
