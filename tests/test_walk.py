"""The program that counts how far a reader of this code goes."""

from pathlib import Path

from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from tests.programs.walk import Walk, following


def walk_of_writing(path: Path, number: int) -> Walk:
    utterances = [Utterance(str(each), f"/a/{each}.wav", 1.0) for each in range(number)]
    with following() as walk:
        write_manifest(path, utterances)
    return walk


def test_what_comes_again_counts_once_and_ways_back_are_told(tmp_path: Path) -> None:
    once, often = (walk_of_writing(tmp_path / "a.jsonl", number) for number in (1, 5))
    assert once.entries == often.entries
    assert list(often.entries)[:2] == ["data/manifest.py", "files/replacing.py"]
    assert not [name for name in often.entries if name.startswith("model/")]
    hops, files = often.entries.total() - 1, len(often.entries)
    assert str(often).endswith(f" lines, {hops} hops, {hops - files + 1} returns")
