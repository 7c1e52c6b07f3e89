"""data_prep/<corpus>.py on real recordings, where they are beside the checkout."""

from pathlib import Path

import pytest

from asr.audio.reading import read_audio
from asr.data.manifest import Manifest
from data_prep import folder, fsdd, librispeech, nemo, speech_commands, speechocean762

SPLITS = ("train", "dev", "test")


def prepare(program, corpus: Path, output: Path, *arguments: str) -> dict[str, list]:
    assert program.main([str(corpus), str(output), *arguments]) == 0
    return {
        name: list(Manifest.read(output / f"{name}.jsonl")) for name in SPLITS if (output / f"{name}.jsonl").is_file()
    }


def speakers(utterances: list) -> set[str | None]:
    return {utterance.speaker for utterance in utterances}


def test_fsdd(shared_data, tmp_path, capsys):
    splits = prepare(fsdd, shared_data / "fsdd", tmp_path)
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 2430, "dev": 270, "test": 300}
    assert all(len(speakers(utterances)) == 6 for utterances in splits.values())
    assert "8,000 Hz: 300" in capsys.readouterr().out
    utterance = splits["test"][0]
    assert len(read_audio(utterance.audio_filepath, sample_rate=16_000)) == round(utterance.duration * 16_000)


def test_fsdd_without_a_speaker(shared_data, tmp_path):
    splits = prepare(fsdd, shared_data / "fsdd", tmp_path, "--leave-out", "theo")
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 2250, "dev": 250, "test": 500}
    assert speakers(splits["test"]) == {"theo"}
    assert "theo" not in speakers(splits["train"]) | speakers(splits["dev"])


def test_speechocean762(shared_data, tmp_path):
    splits = prepare(speechocean762, shared_data / "speechocean762", tmp_path)
    assert len(splits["train"]) + len(splits["dev"]) == 2213
    assert len(splits["dev"]) == pytest.approx(0.08 * 2213, abs=1)
    assert len(splits["test"]) == 2062
    groups = [speakers(splits[name]) for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_librispeech(shared_data, tmp_path):
    splits = prepare(librispeech, shared_data / "librispeech_other100", tmp_path)
    assert splits.keys() == {"test"}
    assert len(splits["test"]) == 100
    assert len(speakers(splits["test"])) == 10


def test_speech_commands(shared_data, tmp_path):
    splits = prepare(speech_commands, shared_data / "speech_commands", tmp_path)
    assert sum(map(len, splits.values())) == 3533
    groups = [speakers(splits[name]) for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups))
    words = {utterance.text for utterances in splits.values() for utterance in utterances}
    assert {"yes", "no", "backward", "go"} <= words


def test_more_english_split_by_sentence(shared_data, tmp_path):
    splits = prepare(nemo, shared_data / "more_english", tmp_path, "--split-by", "text")
    assert sum(map(len, splits.values())) == 5367
    sentences = [{utterance.text for utterance in splits[name]} for name in SPLITS]
    assert sum(map(len, sentences)) == len(set.union(*sentences))


def test_wake_words(shared_data, tmp_path):
    splits = prepare(folder, shared_data / "wake_words", tmp_path, "--transcripts", "folder", "--split-by", "id")
    assert sum(map(len, splits.values())) == 2279
    assert {utterance.text for utterance in splits["test"]} == {
        "alexa",
        "computer",
        "jarvis",
        "smart mirror",
        "snowboy",
        "view glass",
    }
