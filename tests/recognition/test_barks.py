"""tests/programs/barks.py: barks that differ, the same for the same seed, in a manifest without a word."""

from pathlib import Path

import numpy as np

from asr.audio.reading import read_audio
from asr.data.manifest import Manifest
from tests.programs.barks import write


def test_barks_are_short_and_loud_and_the_same_again(tmp_path: Path) -> None:
    first, again = (Manifest.read(write(tmp_path / name, minutes=0.1, seconds=3.0)) for name in ("a", "b"))
    assert [utterance.text for utterance in first] == ["", ""]
    one, other = (read_audio(utterance.audio_filepath, sample_rate=16_000) for utterance in first)
    assert not np.array_equal(one, other)
    assert np.array_equal(one, read_audio(next(iter(again)).audio_filepath, sample_rate=16_000))
    for samples in (one, other):
        loud = np.abs(samples) > 0.02
        assert 0.01 < loud.mean() < 0.5
