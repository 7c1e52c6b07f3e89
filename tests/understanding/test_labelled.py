"""Labels instead of transcripts: the best sentence that agrees with a label, against all sentences one by one."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asr.commands import main
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.decoding.endpointing import EndpointingConfig
from asr.fitting import transcripts as label_transcripts
from asr.fitting.transcripts import LabelSearch
from asr.grammar.network import word_graph
from asr.grammar.parsing import SentenceParser
from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer, RecognizerError
from asr.text import BLANK_ID, CharTokenizerConfig
from asr.understanding.labelled import NoSentenceError, constrain
from tests.grammar.test_templates import write_grammar
from tests.support.small_run import write_recordings, write_small_run

GRAMMAR = """
language: en
intents:
  Light:
    data:
      - sentences: ["[do] turn (on|the) {what}[s]", "{what} on [the {where}]"]
        slots: {state: "on"}
      - sentences: ["the {where} {what} [not {what}]"]
  Play: {data: [{sentences: ["play [<extra>] {count} {what}", "turn on {what}"], metadata: {weight: 2}}]}
lists:
  what: {values: [light, {in: "(music|tune)", out: music}, {in: lamp, out: light}]}
  where: {values: [hall, "hot hall"]}
  count: {range: {from: 1, to: 2}}
expansion_rules: {extra: "({where} at|not) once"}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grammar(tmp_path_factory.mktemp("grammar"), GRAMMAR)


def labels_of(path: Path) -> dict[str, dict[str, list]]:
    """Every label of the grammar with the sentences that can mean it, by reading each sentence back."""
    grammar = load_grammar(path)
    parser, labels = SentenceParser(grammar), {}
    for text in sorted({command.text for command in Sampler(grammar).all_commands()}):
        for meaning in parser.parse(text):
            label = json.dumps([meaning.intent, meaning.slots], sort_keys=True)
            labels.setdefault(label, []).append(text)
    return labels


def viterbi(scores: np.ndarray, tokens: list[int]) -> float:
    """The best path of a token sequence through the frames, by the definition of CTC."""
    labels = [BLANK_ID, *(each for token in tokens for each in (token, BLANK_ID))]
    best = [-math.inf] * len(labels)
    best[0] = 0.0
    for number, frame in enumerate(scores):
        before = [-math.inf, -math.inf, *best]
        best = [
            frame[label]
            + max(
                before[place + 2],
                before[place + 1] if number or place == 1 else -math.inf,
                before[place] if place > 1 and number and label not in (BLANK_ID, labels[place - 2]) else -math.inf,
            )
            for place, label in enumerate(labels)
        ]
    return max(best[-2:])


def test_the_sentences_are_those_that_can_mean_the_label(path: Path) -> None:
    grammar = load_grammar(path)
    labels = labels_of(path)
    assert len(labels) > 15
    for label, sentences in labels.items():
        intent, slots = json.loads(label)
        graph = word_graph(constrain(grammar, intent=intent, slots=slots))
        assert sorted(" ".join(words) for words, _ in graph.sentences()) == sentences


def test_values_are_compared_as_people_say_them(path: Path) -> None:
    grammar = load_grammar(path)
    expected = word_graph(constrain(grammar, intent="Play", slots={"what": "light", "where": "hot hall", "count": 2}))
    assert (
        word_graph(constrain(grammar, intent="Play", slots={"what": "Light", "where": "Hot  hall", "count": "2"}))
        == expected
    )
    assert expected.num_sentences == 2  # a light or a lamp


def test_it_is_the_best_of_all_sentences_with_the_label(path: Path) -> None:
    grammar, labels = load_grammar(path), labels_of(path)
    parser = SentenceParser(grammar)
    tokenizer = CharTokenizerConfig().train([text for sentences in labels.values() for text in sentences])
    search = LabelSearch(grammar, tokenizer)
    rng = np.random.default_rng(0)
    few = [label for label in labels if len(labels[label]) <= 16]
    for label in few[::3]:
        intent, slots = json.loads(label)
        logits = torch.from_numpy(rng.normal(size=(45, tokenizer.vocabulary_size)) * 2.0)
        scores = logits.log_softmax(-1).float().numpy()
        ranked = []
        for text in labels[label]:
            weight = max(each.weight for each in parser.parse(text) if [each.intent, each.slots] == [intent, slots])
            ranked.append((viterbi(scores, tokenizer.encode(text)) + weight, text))
        found = search.search(scores, intent=intent, slots=slots)
        assert (pytest.approx(found.score, abs=1e-3), found.text) == max(ranked)
        assert found.ratio < 0


@pytest.mark.parametrize(
    ("intent", "slots", "message"),
    [
        ("Lights", {}, r"no intent Lights; did you mean 'Light'\?"),
        ("Play", {"whom": "x"}, r"no slot whom; expected one of count, state, what, where"),
        ("Play", {"count": 1, "what": "lightly"}, r"slot what is never 'lightly'; did you mean 'light'\?"),
        ("Light", {"where": "hall"}, r'no sentence means Light \{"where": "hall"\}; expected a label that one has'),
        ("Play", {"count": 1, "what": "light", "state": "on"}, r"no sentence means Play"),
    ],
)
def test_a_label_that_no_sentence_has_is_refused(path: Path, intent: str, slots: dict, message: str) -> None:
    with pytest.raises(NoSentenceError, match=message):
        constrain(load_grammar(path), intent=intent, slots=slots)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A run, a grammar that it can spell, and recordings."""
    folder = tmp_path_factory.mktemp("small")
    grammar = write_grammar(
        folder,
        """
        language: en
        intents: {Go: {data: [{sentences: ["turn the {what} on", "(play|stop) [some] {what}"]}]}}
        lists: {what: {values: [light, music]}}
        """,
    )
    return write_small_run(folder / "run").path, grammar, write_recordings(folder / "wav", [0.8, 1.5, 0.02, 1.0])


def write_labels(path: Path, recordings: list[Path], slots: list[dict]) -> Path:
    utterances = (
        Utterance(each.stem, str(each), 0.02 if each.stem == "02" else 0.8, extra={"intent": "Go", "slots": slot})
        for each, slot in zip(recordings, slots)
    )
    write_manifest(path, utterances)
    return path


def test_the_program_writes_transcripts_and_names_what_has_none(
    small: tuple[Path, Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, grammar, recordings = small
    slots = [{"what": "light"}, {"what": "music"}, {"what": "music"}, {"what": "tea"}]
    manifest = write_labels(tmp_path / "labels.jsonl", recordings, slots)
    arguments = ["transcripts", str(run), str(manifest), "--commands", str(grammar)]
    assert main([*arguments, "--output", str(tmp_path / "out.jsonl")]) == 4
    said = capsys.readouterr()
    assert "2 transcripts" in said.out
    assert "02: 1 encodings; expected more for a sentence of Go" in said.err
    assert "03: " in said.err
    assert "slot what is never 'tea'" in said.err
    written = list(Manifest.read(tmp_path / "out.jsonl"))
    parser = SentenceParser(load_grammar(grammar))
    for item, slot in zip(written, slots):
        assert [meaning.slots for meaning in parser.parse(item.text)] == [slot] == [item.extra["slots"]]
        assert item.extra["label_ratio"] <= 0


def test_transcripts_of_the_speech_alone_are_of_what_the_second_look_hears(
    small: tuple[Path, Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, grammar, recordings = small
    labels = tmp_path / "labels.jsonl"
    extra = {"intent": "Go", "slots": {"what": "light"}}
    write_manifest(labels, [Utterance("a", str(recordings[1]), 1.1, offset=0.3, extra=extra)])
    where = {"grammar": grammar, "output": tmp_path / "x.jsonl", "cut_to_speech": True}
    with pytest.raises(RecognizerError, match=r"run: it hears a recording once; expected `endpointing: \{margin: 0\.3"):
        label_transcripts.write_transcripts(run, labels, **where)

    class Speech(EndpointingConfig):
        def endpoints(self, *args: object, **kwargs: object) -> tuple[int, int]:
            return 20, 90

    recognizer = replace(Recognizer.load(run), endpointing=Speech())
    monkeypatch.setattr(Recognizer, "load", lambda path: recognizer)
    assert label_transcripts.write_transcripts(run, labels, **where) == (1, [])
    (item,) = Manifest.read(tmp_path / "x.jsonl")
    assert (item.offset, item.duration) == (0.5, 0.7)


def test_what_is_no_label_and_what_is_no_ctc_is_refused(
    small: tuple[Path, Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, grammar, recordings = small
    write_manifest(tmp_path / "text.jsonl", [Utterance("a", str(recordings[0]), 0.8, "turn on")])
    with pytest.raises(NoSentenceError, match=r"text\.jsonl: a: intent None with slots \{\}; expected the label of a"):
        label_transcripts.write_transcripts(run, tmp_path / "text.jsonl", grammar=grammar, output=tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()
    recognizer = Recognizer.load(run)
    recognizer.model.heads = nn.ModuleList()
    with pytest.raises(RecognizerError, match="transcripts: the model has no CTC head"):
        label_transcripts.ctc_scores(recognizer, Manifest.read(tmp_path / "text.jsonl")[0])
