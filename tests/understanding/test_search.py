"""The search of a grammar: equal to trying every sentence and every alignment, and blind to what shares the batch."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding.hypothesis import Hypothesis
from asr.grammar.word_graph import Graph, build_graph
from asr.model.heads.ctc import CTCHead
from asr.text import BLANK_ID, CharTokenizerConfig, PhonemeTokenizerConfig, SentencePieceTokenizerConfig, Tokenizer
from asr.understanding.search import GrammarSearch, best_path
from asr.understanding.token_graph import SpellingError, WordReader, spell

CHARACTERS = CharTokenizerConfig().train(["abn o"])


def graph_of(sentences: dict[str, float]) -> Graph[str]:
    """A graph of the sentences, each with its weight."""
    edges: list[list[tuple[str, int, float]]] = [[]]
    finals = {}
    for sentence, weight in sentences.items():
        state = 0
        for word in sentence.split():
            edges.append([])
            edges[state].append((word, len(edges) - 1, 0.0))
            state = len(edges) - 1
        finals[state] = weight
    return build_graph(edges, finals)


def random_scores(seed: int, num_frames: int, vocabulary_size: int = CHARACTERS.vocabulary_size) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(scale=2.0, size=(num_frames, vocabulary_size))
    return torch.from_numpy(logits).log_softmax(-1).float().numpy()


def best_alignment(scores: np.ndarray, tokens: list[int]) -> float:
    """The best of all ways to lay the tokens over the frames, by the definition."""
    best = -math.inf
    labels = sorted({BLANK_ID, *tokens})
    for path in itertools.product(labels, repeat=len(scores)):
        if [label for label, _ in itertools.groupby(path) if label != BLANK_ID] == tokens:
            best = max(best, float(sum(scores[frame, label] for frame, label in enumerate(path))))
    return best


def exhaustively(scores: np.ndarray, sentences: dict[str, float]) -> list[tuple[str, float]]:
    found = [(text, best_alignment(scores, CHARACTERS.encode(text)) + weight) for text, weight in sentences.items()]
    return sorted((pair for pair in found if math.isfinite(pair[1])), key=lambda pair: -pair[1])


SENTENCES = {"a": 0.0, "no": 0.0, "noo": -0.5, "n o": 0.3, "on": 0.0, "an": 0.2, "bab": 0.0, "oo": 0.1, "b a": 0.0}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.sets(st.sampled_from(sorted(SENTENCES)), min_size=1, max_size=6),
    st.booleans(),
)
def test_it_is_the_best_of_all_sentences_and_alignments(
    seed: int, num_frames: int, chosen: set[str], weighted: bool
) -> None:
    sentences = {text: SENTENCES[text] if weighted else 0.0 for text in sorted(chosen)}
    scores = random_scores(seed, num_frames)
    expected = exhaustively(scores, sentences)
    found = GrammarSearch(graph_of(sentences), CHARACTERS).search(scores, num_best=4)
    assert [CHARACTERS.decode(each.tokens) for each in found] == [text for text, _ in expected[:4]]
    np.testing.assert_allclose([each.score for each in found], [score for _, score in expected[:4]], atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_frames_are_those_of_a_path_with_that_score(seed: int) -> None:
    """Each token from its frame on for as long as pays, then blanks: that must give the score that was claimed."""
    scores = random_scores(seed, 40)
    found = GrammarSearch(graph_of(SENTENCES), CHARACTERS).search(scores, num_best=6)
    assert len(found) == 6
    for each in found:
        ends = [*each.frames[1:], 40]
        total = SENTENCES[CHARACTERS.decode(each.tokens)] + float(scores[: each.frames[0], BLANK_ID].sum())
        for place, (token, start, end) in enumerate(zip(each.tokens, each.frames, ends)):
            repeats = place + 1 < len(each.tokens) and each.tokens[place + 1] == token
            spans = range(start + 1, end + (0 if repeats else 1))
            total += max(float(scores[start:cut, token].sum() + scores[cut:end, BLANK_ID].sum()) for cut in spans)
        assert total == pytest.approx(each.score, abs=1e-3)


def test_a_large_grammar_is_as_exact_as_its_sentences_one_by_one() -> None:
    """Against the alignment of each of 1024 sentences, one after another."""
    words = ["a", "ab", "no", "on"]
    graph = build_graph([[(word, place + 1, 0.0) for word in words] for place in range(5)] + [[]], {5: 0.0})
    assert (graph.num_states, graph.num_sentences) == (6, 1024)
    scores = random_scores(3, 40)
    found = GrammarSearch(graph, CHARACTERS).search(scores, num_best=5)
    texts = [" ".join(each) for each in itertools.product(words, repeat=5)]
    by_hand = sorted(((_viterbi(scores, CHARACTERS.encode(text)), text) for text in texts), reverse=True)
    assert [CHARACTERS.decode(each.tokens) for each in found] == [text for _, text in by_hand[:5]]
    np.testing.assert_allclose([each.score for each in found], [score for score, _ in by_hand[:5]], atol=1e-3)


def _viterbi(scores: np.ndarray, tokens: list[int]) -> float:
    labels = [BLANK_ID]
    for token in tokens:
        labels += [token, BLANK_ID]
    state = np.full(len(labels), -np.inf)
    state[:2] = scores[0, labels[:2]]
    skips = np.array([place > 1 and place % 2 and labels[place] != labels[place - 2] for place in range(len(labels))])
    for frame in range(1, len(scores)):
        one, two = np.append(-np.inf, state[:-1]), np.append([-np.inf] * 2, state[:-2])
        state = np.maximum(np.maximum(state, one), np.where(skips, two, -np.inf)) + scores[frame, labels]
    return float(state[-2:].max())


class GivenScores(CTCHead):
    """A head whose encodings are its log-probabilities already."""

    def __init__(self) -> None:
        super().__init__(1, vocabulary_size=CHARACTERS.vocabulary_size)

    def forward(self, encodings: torch.Tensor) -> torch.Tensor:
        return encodings


def test_a_hypothesis_does_not_depend_on_what_shares_its_batch() -> None:
    scores = torch.from_numpy(np.stack([random_scores(seed, 20) for seed in range(5)]))
    lengths = torch.tensor([20, 3, 7, 0, 1])
    search, head = GrammarSearch(graph_of(SENTENCES), CHARACTERS), GivenScores()
    together = search(head, scores, lengths)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = search(head, scores[row : row + 1, : max(1, length)], lengths[row : row + 1])
        assert alone == together[row]
    order = [3, 1, 4, 0, 2]
    assert search(head, scores[order], lengths[order]) == [together[row] for row in order]
    assert together[3] == Hypothesis((), (), -np.inf)  # no frames, no sentence


def test_too_few_frames_for_any_sentence_give_none() -> None:
    search = GrammarSearch(graph_of({"noo": 0.0}), CHARACTERS)
    assert search.search(random_scores(0, 3)) == []  # o o needs a blank between
    assert len(search.search(random_scores(0, 4), num_best=3)) == 1


def test_no_sentence_scores_above_the_filler() -> None:
    scores = random_scores(1, 30)
    best = GrammarSearch(graph_of(dict.fromkeys(SENTENCES, 0.0)), CHARACTERS).search(scores, num_best=9)
    assert len(best) == 9
    assert all(each.score <= float(best_path(scores).sum()) for each in best)
    assert best_path(scores).tolist() == scores.max(axis=1).tolist()


TEXTS = ["turn on the kitchen light", "turn the light off", "lights on", "play some music in the kitchen"]


@pytest.mark.parametrize("config", [CharTokenizerConfig(), SentencePieceTokenizerConfig(vocabulary_size=30)])
def test_sentences_are_spelled_as_the_tokenizer_spells_them_whole(config) -> None:
    tokenizer: Tokenizer = config.train(TEXTS)
    spelled = spell(graph_of(dict.fromkeys(TEXTS, 0.0)), tokenizer)
    assert sorted(tokens for tokens, _ in spelled.sentences()) == sorted(
        tuple(tokenizer.encode(text)) for text in TEXTS
    )
    longest = max(TEXTS, key=len)
    tokens = tokenizer.encode(longest)
    scores = np.full((2 * len(tokens), tokenizer.vocabulary_size), -9.0, dtype=np.float32)
    for place, token in enumerate(tokens):
        scores[2 * place, token] = scores[2 * place + 1, BLANK_ID] = 0.0
    (best,) = GrammarSearch(graph_of(dict.fromkeys(TEXTS, 0.0)), tokenizer).search(scores)
    assert (tokenizer.decode(best.tokens), best.score) == (longest, 0.0)
    assert best.frames == tuple(range(0, 2 * len(tokens), 2))


def test_weights_decide_between_equals() -> None:
    scores = np.zeros((6, CHARACTERS.vocabulary_size), dtype=np.float32)
    for favourite in ("on", "no"):
        sentences = {"on": 0.0, "no": 0.0, favourite: math.log(2)}
        (best,) = GrammarSearch(graph_of(sentences), CHARACTERS).search(scores)
        assert CHARACTERS.decode(best.tokens) == favourite
        assert best.score == pytest.approx(math.log(2))


def test_words_that_cannot_be_spelled_are_named() -> None:
    with pytest.raises(
        SpellingError, match=r"2 words that the model cannot spell: 'café' \(cfé\), 'x' \(x\); expected"
    ):
        GrammarSearch(graph_of({"café on": 0.0, "x": 0.0, "no": 0.0}), CHARACTERS)
    many = {chr(ord("c") + place) * 3: 0.0 for place in range(11)} | {chr(0x100 + place): 0.0 for place in range(20)}
    with pytest.raises(SpellingError, match=r"31 words .* and 11 more; expected"):
        GrammarSearch(graph_of(many), CHARACTERS)


@pytest.fixture(scope="module")
def phonemes() -> Tokenizer:
    pytest.importorskip("espeakng_loader")
    return PhonemeTokenizerConfig().train(["two to for four lamps"])


def test_the_graph_tells_homophones_apart(phonemes: Tokenizer) -> None:
    graph = graph_of({"to four lamps": 0.0, "two lamps": 0.0, "for two": 0.0})
    for spoken, written in {"two for lamps": "to four lamps", "to lamps": "two lamps", "four to": "for two"}.items():
        tokens = phonemes.encode(spoken)
        for said in (tokens, [token for token in tokens if phonemes.pieces[token] != " "]):
            words = WordReader(graph, phonemes).read(said)
            assert " ".join(word.text for word in words) == written
            assert [said[word.start : word.end] for word in words] == [phonemes.encode(word.text) for word in words]
    with pytest.raises(SpellingError, match="no sentence is spelled 'lamps'; expected one of its graph"):
        WordReader(graph, phonemes).read(phonemes.encode("lamps"))


def test_words_are_read_back_in_every_accent() -> None:
    pytest.importorskip("espeakng_loader")
    tokenizer = PhonemeTokenizerConfig(inventory="language", accents=["en-gb"]).train(["the water on a lamp for beer"])
    graph = graph_of({"water for lamps": 0.0, "beer on water": 0.0})
    british = [tokenizer.spellings(word, is_first=True)[-1] for word in ("beer", "on", "water")]
    said = [*british[0], tokenizer.encode("a b")[1], *british[1], *british[2]]
    words = WordReader(graph, tokenizer).read(said)
    assert [word.text for word in words] == ["beer", "on", "water"]
    assert [said[word.start : word.end] for word in words] == british
    scores = np.full((2 * len(said), tokenizer.vocabulary_size), -9.0, dtype=np.float32)
    scores[0::2, BLANK_ID] = 0.0
    scores[np.arange(1, 2 * len(said), 2), said] = 0.0
    assert GrammarSearch(graph, tokenizer).search(scores, num_best=1)[0].tokens == tuple(said)


def test_a_boundary_between_pronounced_words_may_be_missing(phonemes: Tokenizer) -> None:
    search = GrammarSearch(graph_of({"two lamps": 0.0, "four lamps": 0.0}), phonemes)
    tokens = [token for token in phonemes.encode("four lamps") if phonemes.pieces[token] != " "]
    scores = np.full((2 * len(tokens), phonemes.vocabulary_size), -9.0, dtype=np.float32)
    scores[1::2, BLANK_ID] = -0.1
    scores[2 * np.arange(len(tokens)), tokens] = -0.1
    assert search.search(scores, num_best=1)[0].tokens == tuple(tokens)


def test_scores_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores of 12 tokens; expected 10, as many as the tokenizer has"):
        GrammarSearch(graph_of({"on": 0.0}), CHARACTERS).search(random_scores(0, 4, 12))
