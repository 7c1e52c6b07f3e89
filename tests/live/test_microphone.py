"""A microphone by a stand-in for PortAudio: its rate, its name, and the moment when it is unplugged."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from asr.live.microphone import open_microphone
from asr.live.pcm import SourceError

RATE = 16_000


class PortAudioError(Exception):
    pass


class Stream:
    """Gives a constant for some blocks, and is unplugged then."""

    def __init__(self, *, device: object, channels: int, dtype: str, samplerate: int, blocksize: int) -> None:
        self.samplerate, self.left, self.is_closed = samplerate, 50, False
        assert (channels, dtype) == (1, "int16")

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.is_closed = True

    def read(self, number: int) -> tuple[bytes, bool]:
        self.left -= 1
        if not self.left:
            raise PortAudioError("Stream is stopped [PaErrorCode -9983]")
        return np.full(number, 8192, "<i2").tobytes(), self.left == 10


def portaudio(rates: set[int], devices: list[dict] | None = None) -> SimpleNamespace:
    known = [{"name": "USB", "max_input_channels": 1, "default_samplerate": 48_000.0}] if devices is None else devices

    def check(*, device: object, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in rates or not known:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def query(device: object = None, kind: str | None = None) -> object:
        if kind is None:
            return known
        if not known:
            raise PortAudioError("Error querying device -1")
        if isinstance(device, str) and device not in known[0]["name"]:
            raise ValueError(f"No input device matching {device!r}")
        return known[0]

    return SimpleNamespace(
        PortAudioError=PortAudioError, RawInputStream=Stream, check_input_settings=check, query_devices=query
    )


@pytest.mark.parametrize("rates", [{RATE}, {48_000}])
def test_it_records_at_the_model_s_rate_until_it_is_unplugged(
    rates: set[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio(rates))
    taken: list[np.ndarray] = []
    with (
        pytest.raises(SourceError, match=r"the device gives nothing any more \(Stream is stopped .*plug it in"),
        open_microphone("0", sample_rate=RATE) as blocks,
    ):
        taken.extend(blocks)
    samples = np.concatenate(taken)
    assert len(samples) == pytest.approx(49 * 320, abs=600)
    np.testing.assert_allclose(samples[600:-600], 0.25, atol=1e-3)
    assert capsys.readouterr().err.count("samples were lost") == 1


def test_a_device_of_no_such_name_is_answered_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio(set()))
    with (
        pytest.raises(SourceError, match=r"No input device matching 'desk'; expected --device with one of 0: USB"),
        open_microphone("desk", sample_rate=RATE),
    ):
        pass


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio(set(), []))
    with (
        pytest.raises(SourceError, match=r"Error querying device -1; .* there is none: plug a microphone in, or give"),
        open_microphone(None, sample_rate=RATE),
    ):
        pass
