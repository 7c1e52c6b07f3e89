"""data_prep/negatives.py: recordings without commands as one manifest."""

from pathlib import Path

import numpy as np
import pytest

from asr.audio.reading import read_audio
from asr.data.manifest import Manifest
from data_prep.entries import CorpusError
from data_prep.negatives import main
from tests.support.small_run import write_recordings


def test_recordings_of_all_folders_and_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recordings(tmp_path / "rain", [0.5, 1.0])
    write_recordings(tmp_path / "words" / "computer", [0.25])
    folders = [str(tmp_path / "rain"), str(tmp_path / "words")]
    (tmp_path / "words" / "broken.wav").write_bytes(b"not audio")
    assert main([str(tmp_path / "out"), *folders, "--silence-minutes", "1"]) == 4
    said = capsys.readouterr()
    assert "broken.wav: not readable as audio" in said.err
    assert "all.jsonl: 5 recordings" in said.out
    items = list(Manifest.read(tmp_path / "out" / "all.jsonl"))
    assert [(item.id, item.extra["source"], item.duration) for item in items] == [
        ("rain/00.wav", "rain", 0.5),
        ("rain/01.wav", "rain", 1.0),
        ("words/computer/00.wav", "words", 0.25),
        ("silence/000", "silence", 30.0),
        ("silence/001", "silence", 30.0),
    ]
    assert {item.text for item in items} == {""}
    words = list(Manifest.read(tmp_path / "out" / "words.jsonl"))
    assert [item.id for item in words] == ["words/computer/00.wav"]
    nothing, faint = (read_audio(item.audio_filepath, sample_rate=16_000) for item in items[3:])
    assert not nothing.any()
    assert 20 * np.log10(faint.std()) == pytest.approx(-70, abs=1)


def test_recordings_are_cut_for_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recordings(tmp_path / "rain", [0.5, 1.7])
    assert main([str(tmp_path / "out"), str(tmp_path / "rain"), "--cut-seconds", "0.75"]) == 0
    assert "rain.jsonl: 3 utterances" in capsys.readouterr().out
    items = list(Manifest.read(tmp_path / "out" / "rain.jsonl"))
    assert [(item.id, item.offset, item.duration) for item in items] == [
        ("rain/00.wav", 0.0, 0.5),
        ("rain/01.wav-000", 0.0, 0.75),
        ("rain/01.wav-001", 0.75, 0.75),
    ]


def test_folders_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    write_recordings(tmp_path / "a" / "rain", [0.5])
    write_recordings(tmp_path / "b" / "rain", [0.5])
    with pytest.raises(
        CorpusError,
        match="two folders of the same name, or one that is named all, silence, noise or household; expected",
    ):
        main([str(tmp_path / "out"), str(tmp_path / "a" / "rain"), str(tmp_path / "b" / "rain")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty: no recordings; expected some below it"):
        main([str(tmp_path / "out"), str(tmp_path / "empty")])
    with pytest.raises(CorpusError, match="no folder, and nothing to make; expected CORPUS_DIR, or --noise-minutes 10"):
        main([str(tmp_path / "out")])


def test_noise_is_made_without_any_corpus(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        assert main([str(tmp_path / folder), "--noise-minutes", "2", "--silence-minutes", "0.5"]) == 0
    items = list(Manifest.read(tmp_path / "first" / "noise.jsonl"))
    assert [(item.id, item.extra["source"], item.duration) for item in items[:2]] == [
        ("noise/000", "noise", 30.0),
        ("noise/001", "noise", 30.0),
    ]
    assert len(items) == 4
    for item in items:
        samples = read_audio(item.audio_filepath, sample_rate=16_000)
        assert -51 < 20 * np.log10(np.abs(samples).max()) < -14
        assert np.array_equal(
            samples, read_audio(item.audio_filepath.replace("/first/", "/second/"), sample_rate=16_000)
        )
    hum = np.abs(np.fft.rfft(read_audio(items[1].audio_filepath, sample_rate=16_000)))
    assert hum.argmax() / 30 in (50, 60)  # hertz
    assert len(list(Manifest.read(tmp_path / "first" / "all.jsonl"))) == 5


def test_a_household_is_made_of_sounds_with_pauses(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        assert main([str(tmp_path / folder), "--household-minutes", "2", "--cut-seconds", "10"]) == 0
    items = list(Manifest.read(tmp_path / "first" / "household.jsonl"))
    assert len(items) == 12
    assert {item.text for item in items} == {""}
    for number in range(4):
        paths = [tmp_path / folder / "household" / f"{number:03d}.flac" for folder in ("first", "second")]
        samples, again = (read_audio(path, sample_rate=16_000) for path in paths)
        assert np.array_equal(samples, again)
        loudness = samples.reshape(-1, 1_600).std(axis=1)  # of each tenth of a second
        assert np.abs(samples).max() <= 1
        assert loudness.max() > 10 * np.quantile(loudness, 0.05)
