"""From scores to a sentence of the grammar, to its intent and slots, or to "not understood"."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.grammar.parsing import Meaning, SentenceParser
from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.text import BLANK_ID, CharTokenizerConfig, SentencePieceTokenizerConfig
from asr.understanding.rejection import LOWEST_RATIO, Rejection
from asr.understanding.result import CommandGuess, CommandResult, CommandSearch
from asr.understanding.scoring import Labelled, Proportion, same_value, score_commands
from tests.grammar.test_templates import SMALL, write_grammar

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sampled_sentence_means_what_it_was_sampled_for(path: Path) -> None:
    grammar = load_grammar(path)
    parser = SentenceParser(grammar)
    for command in Sampler(grammar).sample(80, min_count=0, rng=np.random.default_rng(2)):
        meanings = parser.parse(command.spoken)
        assert (command.intent, command.slots) in [(each.intent, each.slots) for each in meanings], command


def test_parsing_a_small_grammar(tmp_path: Path) -> None:
    parser = SentenceParser(load_grammar(write_grammar(tmp_path, SMALL)))
    assert parser.parse("Switch on living room light!") == [Meaning("TurnOn", {"domain": "light", "area": "lounge"})]
    for text in ("", "switch on", "switch on living room light light", "turn", "light s on", "hello"):
        assert parser.parse(text) == []


def test_each_meaning_is_there_once_the_heaviest_first(tmp_path: Path) -> None:
    text = """
language: en
intents:
  A: {data: [{sentences: ["go {x}", "go (up|up)", "[go] up"], slots: {kind: [1, 2]}}]}
  B: {data: [{sentences: ["go {x}"], metadata: {weight: 2}}, {sentences: ["go {x} {x:y}"]}]}
lists:
  x: {values: [up, {in: up, out: 1}, {in: down, out: 0}]}
"""
    parser = SentenceParser(load_grammar(write_grammar(tmp_path, text)))
    kind = {"kind": [1, 2]}
    heavy = math.log(2)
    assert parser.parse("go up") == [
        Meaning("B", {"x": "up"}, heavy),
        Meaning("B", {"x": 1}, heavy),
        Meaning("A", {**kind, "x": "up"}),
        Meaning("A", {**kind, "x": 1}),
        Meaning("A", kind),
    ]
    assert parser.parse("up") == [Meaning("A", kind)]
    assert [meaning.slots for meaning in parser.parse("go down up")] == [{"x": 0, "y": "up"}, {"x": 0, "y": 1}]


TOKENIZER = CharTokenizerConfig().train(["abcdefghijklmnopqrstuvwxyz '"])


@pytest.fixture(scope="module")
def search() -> CommandSearch:
    return CommandSearch.load(COMMANDS / "demo.yaml", TOKENIZER)


def speech_of(text: str, *, certainty: float = 6.0, seed: int = 0) -> np.ndarray:
    """Scores of a model that hears this text: 2 frames of silence, then each token for a frame and a blank."""
    logits = np.random.default_rng(seed).normal(size=(2 * len(text) + 4, TOKENIZER.vocabulary_size))
    logits[:, BLANK_ID] += certainty
    for place, token in enumerate(TOKENIZER.encode(text)):
        logits[2 + 2 * place, token] += 2 * certainty
    return torch.from_numpy(logits).log_softmax(-1).float().numpy()


def test_a_command_is_understood_with_its_slots_words_and_times(search: CommandSearch) -> None:
    result = search.understand(speech_of("set the kitchen lights to red"), seconds_per_encoding=0.02)
    assert (result.understood, result.text, result.heard) == (True, *["set the kitchen lights to red"] * 2)
    assert (result.intent, result.slots) == ("HassLightSet", {"area": "kitchen", "color": "red"})
    assert [word.word for word in result.words] == result.text.split()
    # "set" is said in frames 2, 4, 6; "the" in 10, 12, 14
    assert [(word.start, word.end) for word in result.words[:2]] == [(0.04, 0.14), (0.2, 0.3)]
    assert all(word.confidence == 1.0 for word in result.words)
    assert (round(result.score, 3), result.confidence > 0.9) == (0.0, True)
    assert len(result.guesses) == 3
    assert result.guesses[0] == CommandGuess(result.text, result.intent, result.slots, result.score)
    assert result.guesses[1].score < result.guesses[0].score
    assert json.loads(json.dumps(result.to_dict()))["slots"] == result.slots


def test_a_word_that_was_hardly_heard_has_little_confidence(search: CommandSearch) -> None:
    result = search.understand(speech_of("set the kitchen lights to rat"), seconds_per_encoding=0.02)
    assert (result.text, result.heard) == ("set the kitchen lights to red", "set the kitchen lights to rat")
    assert [word.confidence > 0.9 for word in result.words] == [True] * 5 + [False]


@pytest.mark.parametrize(
    "text", ["", "q", "the quick brown fox jumps over the lazy dog", "set the", "kitchen red lights"]
)
def test_anything_else_is_not_understood(search: CommandSearch, text: str) -> None:
    result = search.understand(speech_of(text), seconds_per_encoding=0.02)
    assert (result.understood, result.text, result.intent, result.slots, result.words) == (False, "", None, {}, ())
    assert result.confidence < 0.5
    assert result.heard == text


def test_no_speech_is_never_understood_whatever_the_threshold() -> None:
    search = CommandSearch.load(COMMANDS / "demo.yaml", TOKENIZER, rejection=Rejection(threshold=-1e9))
    assert search.understand(speech_of("play rack"), seconds_per_encoding=0.02).understood
    silence = search.understand(speech_of("    "), seconds_per_encoding=0.02)
    assert (silence.understood, silence.heard, silence.slots) == (False, "", {})
    nothing = search.understand(speech_of("stop")[:0], seconds_per_encoding=0.02)
    assert (nothing.understood, nothing.guesses, nothing.score) == (False, (), LOWEST_RATIO)


def test_weights_prefer_but_do_not_count_as_sound(tmp_path: Path) -> None:
    text = """
language: en
intents:
  A: {data: [{sentences: ["go up"], metadata: {weight: 20}}]}
  B: {data: [{sentences: ["go us"]}]}
"""
    search = CommandSearch.load(write_grammar(tmp_path, text), TOKENIZER)
    scores = speech_of("go us")
    scores[10] = scores[2]  # "go u?": nothing to choose by but the weights
    result = search.understand(scores, seconds_per_encoding=0.02)
    assert [guess.text for guess in result.guesses] == ["go up", "go us"]
    assert all(guess.score <= 0 for guess in result.guesses)
    sound = 5 * (result.guesses[0].score - result.guesses[1].score)  # scores are a token's
    assert result.margin == pytest.approx(math.log(20) + sound, abs=1e-3)


def test_guesses_are_meanings_not_spellings(tmp_path: Path) -> None:
    """64 ways to say either, all of them better than any of the other."""
    text = """
language: en
intents:
  Go: {data: [{sentences: ["[a][ b][ c][ d][ e][ f] go {way}"]}]}
lists:
  way: {values: [{in: (up|us), out: up}, {in: down, out: down}, {in: (off|of), out: away}]}
"""
    search = CommandSearch.load(write_grammar(tmp_path, text), TOKENIZER)
    scores = speech_of("a b c d e f go up")
    result = search.understand(scores, seconds_per_encoding=0.02)
    assert result.slots["way"] == "up"
    assert sorted(guess.slots["way"] for guess in result.guesses) == ["away", "down", "up"]
    others = [hypothesis.score for hypothesis in search.search.search(scores, num_best=150)]
    texts = [search._sentence(each) for each in search.search.search(scores, num_best=150)]
    best = {way: max(score for score, text in zip(others, texts) if text.endswith(way)) for way in ("up", "own", "of")}
    assert result.margin == pytest.approx(best["up"] - max(best["own"], best["of"]), abs=1e-3)
    assert result.to_dict()["margin"] == result.margin


def test_the_only_meaning_has_no_margin(tmp_path: Path) -> None:
    path = write_grammar(tmp_path, "language: en\nintents: {A: {data: [{sentences: ['go (up|us)']}]}}")
    result = CommandSearch.load(path, TOKENIZER).understand(speech_of("go up"), seconds_per_encoding=0.02)
    assert (result.margin, result.evidence.margin, len(result.guesses)) == (None, math.inf, 1)


def test_other_meanings_are_found_as_by_trying_all(tmp_path: Path) -> None:
    """Where nothing is clear, some spelling may hide a later meaning, but hardly ever, and never the best one."""
    text = """
language: en
intents:
  Go: {data: [{sentences: ["(go|to) [a] {way} [now]", "{way} (it|at)"]}]}
  No: {data: [{sentences: ["(no|so) {way}"]}]}
lists:
  way: {values: [ab, ac, bc, {in: (cab|cap), out: cab}]}
"""
    search = CommandSearch.load(write_grammar(tmp_path, text), TOKENIZER)
    num_exact = 0
    for seed in range(20):
        scores = speech_of("go a ab now", certainty=1.0, seed=seed)
        everything: dict[tuple[str, str], float] = {}
        for hypothesis in search.search.search(scores, num_best=1000):
            everything.setdefault(search._find_meaning(hypothesis.tokens), hypothesis.score)
        assert len(everything) == 8
        expected = sorted(everything.values(), reverse=True)
        found = search.search.search_kinds(scores, num_best=8, kind_of=search._find_meaning)
        assert found[0][0].score == pytest.approx(expected[0], abs=1e-3)
        num_exact += found[1][0].score == pytest.approx(expected[1], abs=1e-3)
        assert len({kind for _, kind in found}) == len(found) > 2
        for hypothesis, kind in found:
            assert hypothesis.score <= everything[kind] + 1e-3
            assert len(hypothesis.tokens) == len(hypothesis.frames)
            assert list(hypothesis.frames) == sorted(hypothesis.frames)
    assert num_exact >= 19


def test_words_of_pieces_are_whole(tmp_path: Path) -> None:
    texts = ["turn on the kitchen lights", "turn off the bedroom lights", "stop the music"] * 3
    tokenizer = SentencePieceTokenizerConfig(vocabulary_size=27).train(texts)
    path = write_grammar(tmp_path, "language: en\nintents: {A: {data: [{sentences: ['turn on the kitchen lights']}]}}")
    tokens = tokenizer.encode("turn on the kitchen lights")
    scores = np.full((2 * len(tokens), tokenizer.vocabulary_size), -9.0, dtype=np.float32)
    for place, token in enumerate(tokens):
        scores[2 * place, token] = scores[2 * place + 1, BLANK_ID] = 0.0
    result = CommandSearch.load(path, tokenizer).understand(scores, seconds_per_encoding=1.0)
    assert [word.word for word in result.words] == ["turn", "on", "the", "kitchen", "lights"]
    starts = [word.start for word in result.words]
    assert starts == sorted(set(starts))
    assert all(before.end <= after.start for before, after in pairwise(result.words))


def result_of(text: str, intent: str | None, slots: dict, *, understood: bool = True) -> CommandResult:
    guesses = (CommandGuess(text, intent or "", slots, -0.1),)
    return CommandResult(
        understood, text, intent, slots if understood else {}, (), -0.1, -0.1, -0.1, 0.9, guesses, text
    )


def test_commands_are_scored_by_intent_and_every_labelled_slot() -> None:
    right = result_of("two lattes", "Order", {"number": 2, "drink": "Latte", "milk": "whole"})
    wrong = result_of("a mocha", "Order", {"number": 1, "drink": "mocha"})
    other = result_of("stop", "Stop", {})
    rejected = result_of("a latte", None, {"drink": "latte"}, understood=False)
    score = score_commands(
        [
            Labelled("Order", {"number": "2", "drink": " latte "}, right, 1.0),  # a slot more is no fault
            Labelled("Order", {"drink": "latte"}, wrong, 1.0),
            Labelled("Order", {"drink": "latte"}, other, 1.0),
            Labelled("", {"drink": "latte"}, rejected, 1.0),
            Labelled(None, {}, other, 1800.0),
            Labelled(None, {}, rejected, 1800.0),
        ]
    )
    assert score.accepted == Proportion(1, 4)
    assert score.guessed == Proportion(2, 4)
    assert score.understood == Proportion(3, 4)
    assert score.intents == Proportion(2, 4)
    assert score.slots == {"drink": Proportion(1, 4), "number": Proportion(1, 1)}
    assert score.all_slots == Proportion(2, 5)
    assert score.confused == [("drink", "latte", "mocha", 1), ("drink", "latte", "", 1)]  # by the best guess
    assert (score.false_accepts, score.other_hours) == (Proportion(1, 2), 1.0)
    assert Proportion(0, 0).rate is None
    assert same_value(21.0, "21")
    assert not same_value(None, "none")


def test_a_guess_has_what_the_file_says_beside_its_template(tmp_path: Path) -> None:
    text = "language: en\nintents: {A: {data: [{sentences: [stop], response: done, metadata: {level: 2}}]}}"
    (tmp_path / "a.yaml").write_text(text)
    (guess,) = (
        CommandSearch.load(tmp_path / "a.yaml", TOKENIZER)
        .understand(speech_of("stop"), seconds_per_encoding=0.02)
        .guesses
    )
    assert (guess.response, guess.metadata) == ("done", {"level": 2})
