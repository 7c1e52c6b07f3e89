"""data_prep/digit_strings.py: strings of words, each of one speaker and of its own split's recordings."""

from pathlib import Path

import numpy as np
import pytest

from asr.audio.reading import read_audio, write_audio
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from data_prep.digit_strings import FAINT, main
from data_prep.entries import CorpusError

RATE = 8000
SMALL = ["--num-train", "6", "--num-dev", "2", "--num-test", "3", "--shortest", "2", "--longest", "4"]


def write_words(
    folder: Path, split: str, *, rates: tuple[int, int] = (RATE, RATE), speaker: str | None = "anna"
) -> None:
    """Two words of two speakers: steps of a height of their own."""
    words = []
    for number, (name, who) in enumerate([("one", speaker), ("two", speaker), ("one", "ben"), ("two", "ben")]):
        path = folder / split / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.full(800, 0.1 * (number + 1), np.float32)
        write_audio(path, samples, sample_rate=rates[number % 2])
        words.append(Utterance(f"{split}-{number}", str(path), 800 / rates[number % 2], name, speaker=who))
    write_manifest(folder / f"{split}.jsonl", words)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    for split in ("train", "dev", "test"):
        write_words(tmp_path / "words", split)
    return tmp_path / "words"


def test_a_string_is_its_words_with_pauses_around_them(words: Path, tmp_path: Path, capsys) -> None:
    assert main([str(words), str(tmp_path / "out"), *SMALL]) == 0
    assert "train.jsonl: 6 strings of 4 recordings" in capsys.readouterr().out
    known = {word.id: word for split in ("train", "dev", "test") for word in Manifest.read(words / f"{split}.jsonl")}
    for split, number in (("train", 6), ("dev", 2), ("test", 3)):
        strings = list(Manifest.read(tmp_path / "out" / f"{split}.jsonl"))
        assert len(strings) == number
        for string in strings:
            parts = [known[name] for name in string.extra["made_of"]]
            assert 2 <= len(parts) <= 4
            assert string.text == " ".join(part.text for part in parts)
            assert {part.speaker for part in parts} == {string.speaker}
            assert all(part.id.startswith(split) for part in parts)
            samples = read_audio(Path(string.audio_filepath), sample_rate=RATE)
            assert len(samples) == round(string.duration * RATE)
            heights = np.concatenate([[0.1 * (int(part.id[-1]) + 1)] * 800 for part in parts])
            np.testing.assert_allclose(samples[samples > 10 * FAINT], heights, atol=1e-3)


def test_the_same_seed_makes_the_same_strings(words: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        main([str(words), str(tmp_path / name), *SMALL, "--seed", seed])
    first, again, other = ((tmp_path / name / "train" / "00000.flac").read_bytes() for name in "abc")
    assert first == again != other


def test_words_that_make_no_strings_are_refused(words: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(CorpusError, match="--shortest 3 --longest 2: expected 1 <= shortest <= longest"):
        main([str(words), out, "--shortest", "3", "--longest", "2"])
    write_words(words, "dev", speaker=None)
    with pytest.raises(CorpusError, match="dev-0: no speaker; expected one for every recording"):
        main([str(words), out, *SMALL])
    write_words(words, "dev", rates=(RATE, 2 * RATE))
    with pytest.raises(CorpusError, match=r"recordings of \[8000, 16000\] Hz; expected one rate"):
        main([str(words), out, *SMALL])


def test_recordings_that_cannot_be_read_are_named_and_passed_over(words: Path, tmp_path: Path, capsys) -> None:
    (words / "train" / "1.wav").write_bytes(b"RIFF not quite")
    (words / "dev" / "0.wav").unlink()
    assert main([str(words), str(tmp_path / "out"), *SMALL]) == 4
    shown = capsys.readouterr()
    assert "train/1.wav: not readable as audio" in shown.err
    assert "dev/0.wav: no such file" in shown.err
    made_of = {id_ for string in Manifest.read(tmp_path / "out" / "train.jsonl") for id_ in string.extra["made_of"]}
    assert "train-1" not in made_of
    for path in (words / "test").iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match=r"test\.jsonl: no recording can be read; the first: .*no such file"):
        main([str(words), str(tmp_path / "out"), *SMALL])
