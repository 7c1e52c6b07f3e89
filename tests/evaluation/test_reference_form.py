"""What is said of references that are written otherwise than a recogniser writes."""

import json
from pathlib import Path

import pytest

from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.evaluate import main
from asr.evaluation.reference_form import find_form_faults
from asr.recognizer import Recognizer
from asr.text import CharTokenizerConfig, PhonemeTokenizerConfig, SentencePieceTokenizerConfig, Tokenizer
from asr.training.preview import unwritten_lines
from tests.support.small_run import write_recordings, write_small_run

TEXTS = ["turn the light on", "play some music", "don't stop"]


@pytest.fixture(scope="module", params=["char", "sentencepiece", "phoneme"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "phoneme":
        pytest.importorskip("espeakng_loader")
    kinds = {
        "char": CharTokenizerConfig(),
        "sentencepiece": SentencePieceTokenizerConfig(vocabulary_size=26),
        "phoneme": PhonemeTokenizerConfig(),
    }
    return kinds[request.param].train(TEXTS)


def test_what_is_the_matter_is_named_for_every_tokenizer(tokenizer: Tokenizer) -> None:
    """Of a phoneme tokenizer too, which can say "Turn" and "2" but never writes them."""
    faults = find_form_faults(tokenizer, ["Turn on, Turn on.", "play 2 songs", "stop!", "play é", "don’t"])
    assert {fault.kind: (fault.num_words, fault.examples) for fault in faults} == {
        "capitals": (2, ("Turn",)),
        "punctuation": (4, ("on,", "on.", "stop!", "don’t")),
        "digits": (1, ("2",)),
        "other characters": (1, ("é",)),
    }
    assert faults[0].line.startswith("2 words with capitals (Turn), which this recogniser never writes: --normalize ")
    assert "one word with digits (2)" in faults[2].line
    assert find_form_faults(tokenizer, TEXTS) == []


def test_a_training_says_the_same_of_its_dev_transcripts(tokenizer: Tokenizer) -> None:
    """It named letters that the training has, such as the T, u, r and n of "Turn", where a word had a new sound."""
    lines = unwritten_lines(tokenizer, ["Turn on, Turn on.", "play 2 songs", "stop", "play é"])
    found = [line.partition("which")[0].removeprefix("warning: dev has ") for line in lines]
    assert found[:4] == [
        "2 words with capitals (Turn), ",
        "2 words with punctuation (on,, on.), ",
        "one word with digits (2), ",
        "one word with other characters (é), ",
    ]
    assert lines[0].endswith("never writes: prepare dev as the training data was prepared, or each of these words "
                             "counts as an error")  # fmt: skip
    assert lines[2].endswith("spell numbers out in the references, as they are said")
    assert not any("--normalize" in line for line in lines)
    assert unwritten_lines(tokenizer, TEXTS) == []


def test_words_of_new_sounds_are_named() -> None:
    pytest.importorskip("espeakng_loader")
    tokenizer = PhonemeTokenizerConfig().train(["two cups", "my dog"])
    (line,) = unwritten_lines(tokenizer, ["my two cups", "gym gym"])
    assert line == (
        "warning: dev has words with sounds that the training lacks (gym): only a training with such words can write "
        "them"
    )
    assert tokenizer.unknown_characters("two gym") == set("gym")
    assert tokenizer.unknown_characters("two Jim") == set("Ji")


def test_capitals_of_a_model_that_writes_them_are_no_fault() -> None:
    assert find_form_faults(CharTokenizerConfig().train(["Turn on"]), ["Turn"]) == []
    faults = find_form_faults(CharTokenizerConfig().train(["turn"]), ["ÉTÉ"])
    assert {each.kind: each.characters for each in faults} == {"capitals": ("T",), "other characters": ("É",)}


def test_both_sides_normalised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_small_run(tmp_path / "run").path
    paths = write_recordings(tmp_path / "wav", [0.8, 1.0])
    heard = [Recognizer.load(run).transcribe(path).text for path in paths]
    texts = [heard[0].capitalize() + "!", heard[1].upper()]
    assert all(any(character.isalpha() for character in text) for text in texts)
    utterances = [
        Utterance(f"u{number}", str(path), duration, text)
        for number, (path, duration, text) in enumerate(zip(paths, [0.8, 1.0], texts, strict=True))
    ]
    write_manifest(tmp_path / "cased.jsonl", utterances)
    arguments = [str(run), str(tmp_path / "cased.jsonl"), "--audio", "none", "--output-dir"]
    assert main([*arguments, str(tmp_path / "plain")]) == 0
    assert "which this recogniser never writes: --normalize compares both sides" in capsys.readouterr().out
    plain = json.loads((tmp_path / "plain" / "results.json").read_text())
    assert plain["wer"]["rate"] > 0
    assert plain["normalized"] is False
    assert "The references are written otherwise" in (tmp_path / "plain" / "report.html").read_text()
    assert main([*arguments, str(tmp_path / "same"), "--normalize"]) == 0
    assert "references and transcripts normalised" in capsys.readouterr().out
    same = json.loads((tmp_path / "same" / "results.json").read_text())
    assert (same["wer"]["rate"], same["normalized"], same["form_faults"]) == (0.0, True, [])
    assert "references and transcripts normalised" in (tmp_path / "same" / "report.html").read_text()
    assert [item.text for item in Manifest.read(tmp_path / "same" / "utterances.jsonl")] == texts
