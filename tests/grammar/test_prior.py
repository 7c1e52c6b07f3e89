"""prior: of a grammar: the ways of each choice share its probability, and what is understood depends on it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.grammar.file import GrammarError
from asr.grammar.network import word_graph
from asr.grammar.templates import load_grammar
from asr.text import BLANK_ID, CharTokenizerConfig
from asr.understanding.result import CommandSearch
from tests.grammar.test_templates import write_grammar

GRAMMAR = """
language: en
prior: 1
intents:
  Light: {data: [{sentences: ["[please] light on"]}]}
  Play:
    data:
      - {sentences: ["play {title}"], metadata: {weight: 3}}
      - {sentences: ["stop"]}
lists:
  title: {values: [jazz, rock, {in: soul, metadata: {weight: 2}}]}
"""


def test_the_ways_of_a_choice_share_its_probability(tmp_path: Path) -> None:
    weights = {
        " ".join(words): weight
        for words, weight in word_graph(load_grammar(write_grammar(tmp_path, GRAMMAR))).sentences()
    }
    expected = {
        "please light on": 1 / 2 * 1 / 2,
        "light on": 1 / 2 * 1 / 2,
        "play jazz": 1 / 2 * 3 / 4 * 1 / 4,
        "play rock": 1 / 2 * 3 / 4 * 1 / 4,
        "play soul": 1 / 2 * 3 / 4 * 2 / 4,
        "stop": 1 / 2 * 1 / 4,
    }
    assert {text: math.exp(weight) for text, weight in weights.items()} == pytest.approx(expected, rel=1e-3)
    assert sum(map(math.exp, weights.values())) == pytest.approx(1.0, rel=1e-3)


def test_without_a_prior_weights_are_the_file_s(tmp_path: Path) -> None:
    grammar = load_grammar(write_grammar(tmp_path, GRAMMAR.replace("prior: 1\n", "")))
    weights = {" ".join(words): math.exp(weight) for words, weight in word_graph(grammar).sentences()}
    assert weights == pytest.approx(
        {"please light on": 1, "light on": 1, "play jazz": 3, "play rock": 3, "play soul": 6, "stop": 1}, rel=1e-3
    )
    half = word_graph(replace(grammar, prior=0.5)).weigh(["stop"])
    assert half == pytest.approx(0.5 * math.log(1 / 8), abs=1e-3)  # of an intent of two, of a weight of 1 in 4


def test_a_rare_title_needs_more_to_be_heard_and_is_as_surely_understood(tmp_path: Path) -> None:
    """Between "fan" and the one title of 200 that is as near to what is said, the prior decides."""
    titles = ", ".join(f"f{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghij")
    text = f"""
language: en
intents:
  Fan: {{data: [{{sentences: ["fan"]}}]}}
  Play: {{data: [{{sentences: ["{{title}}"]}}]}}
lists: {{title: {{values: [{titles}]}}}}
"""
    tokenizer = CharTokenizerConfig().train(["abcdefghijklmnopqrst "])
    scores = np.full((3, tokenizer.vocabulary_size), -9.0, dtype=np.float32)
    for frame, letters in enumerate(("f", "a", "nb")):
        for letter, score in zip(letters, (-1.2, -1.0) if frame == 2 else (-0.1,), strict=True):
            scores[frame, tokenizer.encode(letter)] = score
    scores[:, BLANK_ID] = -5.0
    found = {}
    for prior in (0.0, 0.5):
        grammar = replace(load_grammar(write_grammar(tmp_path, text)), prior=prior)
        found[prior] = CommandSearch(grammar, tokenizer).understand(scores, seconds_per_encoding=0.04).guesses
    assert [each[0].intent for each in found.values()] == ["Play", "Fan"]
    by_text = [{guess.text: guess.score for guess in guesses} for guesses in found.values()]
    assert by_text[0]["fan"] == pytest.approx(by_text[1]["fan"], abs=1e-5)


@pytest.mark.parametrize("value", ["2", "-0.5", "often"])
def test_a_prior_that_is_no_share_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=rf"grammar.yaml:3: prior: found '?{value}"):
        load_grammar(write_grammar(tmp_path, GRAMMAR.replace("prior: 1", f"prior: {value}")))
