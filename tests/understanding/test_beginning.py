"""What was said so far of a command: the best beginning of a sentence, its words, and whether more can follow."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.recognition.stream import Beginning
from asr.text import CharTokenizerConfig, PhonemeTokenizerConfig, SentencePieceTokenizerConfig
from asr.understanding.result import CommandSearch
from asr.understanding.search import GrammarSearch
from asr.understanding.token_graph import SpellingError, WordReader
from tests.grammar.test_commands import TOKENIZER, speech_of
from tests.grammar.test_templates import write_grammar
from tests.understanding.test_search import CHARACTERS, SENTENCES, best_alignment, graph_of, random_scores


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(0, 5), st.sets(st.sampled_from(sorted(SENTENCES)), min_size=1, max_size=5))
def test_it_is_the_best_of_all_beginnings_and_alignments(seed: int, num_frames: int, chosen: set[str]) -> None:
    scores = random_scores(seed, num_frames)
    found = GrammarSearch(graph_of({text: SENTENCES[text] for text in chosen}), CHARACTERS).search_beginning(scores)
    totals = {
        text[:size]: best_alignment(scores, CHARACTERS.encode(text[:size]))
        + max(SENTENCES[each] for each in chosen if each.startswith(text[:size]))
        for text in chosen
        for size in range(len(text) + 1)
    }
    assert totals[CHARACTERS.decode(found)] == pytest.approx(max(totals.values()), abs=1e-4)


GRAPH = graph_of({"turn on": 0.0, "turn on the light": 0.0, "turn on the lights": 0.0, "stop": 0.0})


@pytest.mark.parametrize("config", [CharTokenizerConfig(), SentencePieceTokenizerConfig(vocabulary_size=19)])
def test_whole_words_are_read_from_the_beginning(config: CharTokenizerConfig | SentencePieceTokenizerConfig) -> None:
    tokenizer = config.train(["turn on the lights stop turn on the light"])
    reader = WordReader(GRAPH, tokenizer)
    tokens = tokenizer.encode("turn on the lights")
    for size in range(len(tokens) + 1):
        words, states = reader.read_beginning(tokens[:size])
        said = tokenizer.decode(tokens[:size]).split()
        assert list(words) == [word for word in said if word in {"turn", "on", "the", "light", "lights"}]
        assert len(states) == (said == list(words))
    (state,) = reader.read_beginning(tokenizer.encode("turn on"))[1]
    assert state in GRAPH.finals
    assert GRAPH.edges[state]


def test_a_boundary_alone_begins_no_word() -> None:
    tokenizer = CharTokenizerConfig().train(["turn on the lights"])
    reader = WordReader(GRAPH, tokenizer)
    assert reader.read_beginning(tokenizer.encode("turn on ")) == reader.read_beginning(tokenizer.encode("turn on"))


def test_words_that_sound_alike_are_all_thought_of() -> None:
    pytest.importorskip("espeakng_loader")
    tokenizer = PhonemeTokenizerConfig().train(["two to for four lamps"])
    graph = graph_of({"two": 0.0, "to four lamps": 0.5})
    words, states = WordReader(graph, tokenizer).read_beginning(tokenizer.encode("two"))
    assert words == ("to",)
    assert len(states) == 2


def test_what_no_sentence_begins_with_is_refused() -> None:
    with pytest.raises(SpellingError, match="no sentence begins 'nn'; expected one of its graph to"):
        WordReader(graph_of({"no": 0.0}), CHARACTERS).read_beginning(CHARACTERS.encode("nn"))


GRAMMAR = """
language: en
skip_words: [please, "if you can"]
intents:
  A: {data: [{sentences: ["turn on [the light]", "stop"]}]}
"""


@pytest.mark.parametrize(
    ("said", "words", "is_whole", "can_go_on"),
    [
        ("", "", False, True),
        ("turn", "turn", False, True),
        ("turn o", "turn", False, True),
        ("turn on", "turn on", True, True),
        ("turn on the", "turn on the", False, True),
        ("turn on the light", "turn on the light", True, False),
        ("stop", "stop", True, False),
        ("stop if", "stop if", False, False),
        ("stop if you can", "stop if you can", True, False),
        ("please stop please", "please stop please", True, False),
        ("please turn on", "please turn on", True, True),
    ],
)
def test_words_to_skip_do_not_keep_a_command_open(
    tmp_path: Path, said: str, words: str, is_whole: bool, can_go_on: bool
) -> None:
    search = CommandSearch.load(write_grammar(tmp_path, GRAMMAR), TOKENIZER)
    found = search.begin(speech_of(said))
    if said == "stop if":  # inside of what is skipped: whether words can follow does not matter
        can_go_on = found.can_go_on
    assert found == Beginning(tuple(words.split()), is_whole=is_whole, can_go_on=can_go_on)


def test_without_frames_nothing_is_said(tmp_path: Path) -> None:
    search = CommandSearch.load(write_grammar(tmp_path, GRAMMAR), TOKENIZER)
    assert search.begin(np.zeros((0, TOKENIZER.vocabulary_size), np.float32)) == Beginning((), False, True)
