"""The program that counts how far a reader of this code goes."""

import sys
from pathlib import Path

from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from tests.programs.walk import Walk, following, outer
from tests.support.tones import write_tone_corpus


def walk_of_writing(path: Path, number: int) -> Walk:
    utterances = [Utterance(str(each), f"/a/{each}.wav", 1.0) for each in range(number)]
    with following() as walk:
        write_manifest(path, utterances)
    return walk


def test_what_comes_again_counts_once_and_ways_back_are_told(tmp_path: Path) -> None:
    once, often = (walk_of_writing(tmp_path / "a.jsonl", number) for number in (1, 5))
    assert once.entries == often.entries
    assert list(often.entries)[:2] == ["data/manifest_writing.py", "files/replacing.py"]
    assert not [name for name in often.entries if name.startswith("model/")]
    hops, files = often.entries.total() - 1, len(often.entries)
    assert f" lines, {hops} hops, {hops - files + 1} returns; " in str(often)


def test_what_python_calls_by_itself_is_told_apart(tmp_path: Path) -> None:
    manifest = Manifest.read(write_tone_corpus(tmp_path, num_train=2, num_dev=1) / "dev.jsonl")
    utterance = manifest[0]
    with following() as walk:
        assert next(utterance.stretch for _ in range(2)).path == utterance.audio_filepath
    assert walk.entries == {"data/manifest.py": 1}  # a property
    assert not walk.named
    frames = [outer(sys._getframe()) for _ in range(1)]
    assert frames[0] is sys._getframe()


def test_the_utterance_alone_is_what_its_example_and_its_loss_call(tmp_path: Path) -> None:
    assert walk_of_writing(tmp_path / "a.jsonl", 1).of_utterance == []
