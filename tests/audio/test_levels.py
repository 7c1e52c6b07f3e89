"""asr/audio/levels.py: a signal that cancels itself, a dead channel and a low sample rate are said."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.levels import ChannelLevels
from tests.support.small_run import some_speech, write_small_run
from tests.transcription.test_job import job, lines, start

SPEECH = some_speech(1, 1.5)
OTHER = some_speech(2, 1.5)


def warning(*channels: np.ndarray, channel: int | str = "mix") -> str | None:
    levels = ChannelLevels(len(channels))
    for block in np.array_split(np.stack(channels, axis=1).astype(np.float32), 3):
        levels.add(block)
    return levels.warning(channel=channel)  # type: ignore[arg-type]


def test_channels_that_cancel_each_other() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-3, len(SPEECH))
    for opposite in (-SPEECH, -0.8 * SPEECH + noise, -SPEECH + 0.3):  # also with other gains, or a constant part
        found = warning(SPEECH, opposite)
        assert found is not None
        assert found.startswith("the channels cancel each other (opposite phase)")
        assert found.endswith("--channel each")
    assert "cancel" in (warning(SPEECH, OTHER, -SPEECH - OTHER) or "")
    for like in (SPEECH, 0.1 * SPEECH, OTHER, np.roll(SPEECH, 8), -0.2 * SPEECH):
        assert warning(SPEECH, like) is None
    assert warning(SPEECH, -SPEECH, channel=0) is None


def test_dead_channels() -> None:
    hiss = np.random.default_rng(0).normal(0, 1e-5, len(SPEECH))
    for dead in (0 * SPEECH, 0 * SPEECH + 0.5, hiss):
        assert warning(SPEECH, dead) == (
            "silent channels (1) make the mean of all weaker; transcribe each channel by itself: --channel each"
        )
        assert warning(SPEECH, dead, channel=1) == "channel 1 is silent, and channel 0 is not"
        assert warning(SPEECH, dead, channel=0) is None
    assert "(0, 2)" in (warning(0 * SPEECH, SPEECH, 0 * SPEECH) or "")


def test_silence_is_named() -> None:
    assert warning(0 * SPEECH) == "silence: there is no sound in the recording"
    assert warning(0 * SPEECH, 0 * SPEECH + 0.2, channel=1) == "silence: there is no sound in the recording"
    assert warning(SPEECH) is None
    assert ChannelLevels(2).warning(channel="mix") is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


def test_a_job_says_what_is_the_matter(run: Path, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    long = np.concatenate([some_speech(n, 2.5) for n in range(3)])  # more than a batch takes
    for name, channels in {"good": (SPEECH, OTHER), "opposite": (SPEECH, -SPEECH), "long": (long, -long)}.items():
        soundfile.write(audio / f"{name}.wav", np.stack(channels, axis=1), 16_000)
    for name in ("telephone", "walkie-talkie"):
        soundfile.write(audio / f"{name}.wav", some_speech(1, 1.0, 8000), 8000)
    for _ in range(2):  # also when nothing is done again
        report = start(job(run, audio, out=tmp_path / "out")).report
        found = {line["id"]: line.get("warning") for line in lines(tmp_path / "out")}
        assert found["good.wav"] is None
        assert found["opposite.wav"] == found["long.wav"] is not None
        (cancelled, rates) = [line for line in report.summary() if line.startswith("warning: ")]
        assert cancelled.startswith("warning: long.wav, opposite.wav: the channels cancel each other")
        assert "the model hears 16,000 Hz, and some recordings have less (2 of 8,000 Hz, such as tele" in rates
        assert report.to_dict()["lower_sample_rates"] == {"8000": 2}
    each = start(job(run, audio / "opposite.wav", out=tmp_path / "each", channel="each"))
    assert all(line["pred_text"] for line in lines(tmp_path / "each"))
    assert each.report.summary()[0] == "1 of 1 recordings, 2 channels transcribed"
