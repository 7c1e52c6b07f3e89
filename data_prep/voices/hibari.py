"""hibari: one American woman, and speakers made of her by other pitches and other lengths of the vocal tract.

The package hibari-tts (Apache-2.0, 14 MB, English) holds a network that gives the pitch and the spectral envelope of
each moment apart. Here the pitch is multiplied and the envelope stretched along the frequencies, so that one voice
becomes many: "w088-p060" has formants at 0.88 of hers, as a longer vocal tract has, and 0.60 of her pitch. She was
taught by Kokoro's af_heart. All are one person, who is in one split with all of her. 0.01 s of processor time a second
of speech.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from data_prep.voices import Delivery, NaturalVoice, RecordedSpeakers, SynthesisError

if TYPE_CHECKING:
    from hibari import Hibari as Package

WORDS_PER_MINUTE, HERTZ = 187, 195  # hers, measured as in flite.py
SLOWEST, FASTEST = 0.5, 2.0  # speeds for which the package says that it can be understood
LOUDEST = 0.5  # the highest sample; what is louder than that clips in some speakers
SHORTEST_TRACT, LONGEST_TRACT, TRACT_STEP = 106, 82, 4  # per cent of her formants' frequencies
LOWEST, HIGHEST, PITCH_STEP = 50, 120, 10  # per cent of her pitch
# People with longer vocal tracts are lower, by this much on average; what is further from that than MAX_ODDITY sounds
# like nobody.
PITCH_BY_TRACT, MAX_ODDITY = 2.8, 35


def _speakers() -> dict[str, NaturalVoice]:
    """Returns the speakers by their names, with the pitch in hertz that they have."""
    return {
        f"w{tract:03d}-p{pitch:03d}": NaturalVoice("en-us", WORDS_PER_MINUTE, round(HERTZ * pitch / 100))
        for tract in range(LONGEST_TRACT, SHORTEST_TRACT + 1, TRACT_STEP)
        for pitch in range(LOWEST, HIGHEST + 1, PITCH_STEP)
        if abs(pitch - 100 - PITCH_BY_TRACT * (tract - 100)) <= MAX_ODDITY
    }


VOICES: Mapping[str, NaturalVoice] = MappingProxyType(_speakers())


class Hibari(RecordedSpeakers):
    """The package's network, whose pitch and envelope are changed before its sound is made."""

    def __init__(self, package: Package, version: str) -> None:
        super().__init__("hibari", version, VOICES)
        self._package = package

    def families(self) -> list[tuple[str, ...]]:
        return [tuple(self.voices)]

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        voice = self.voice_for(text, delivery)
        speed = float(np.clip(1 / voice.stretch(delivery), SLOWEST, FASTEST))
        tract = int(delivery.speaker[1:4]) / 100
        # Its noise is random; a sentence is to sound the same each time.
        rng = np.random.default_rng(zlib.crc32(f"{delivery.speaker} {text}".encode()))
        pieces = [
            self._sound(phonemes, speed=speed, pitch=voice.hertz(delivery) / HERTZ, tract=tract, rng=rng)
            for phonemes in self._package.phonemize(text)
        ]
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        loudest = float(np.abs(samples).max(initial=0.0))
        if loudest == 0.0:
            raise SynthesisError(f"hibari: no sound for '{text}'; expected words it can pronounce")
        return samples * np.float32(LOUDEST / loudest), self._package.sample_rate

    def _sound(
        self, phonemes: str, *, speed: float, pitch: float, tract: float, rng: np.random.Generator
    ) -> Float32[np.ndarray, " sample"]:
        from hibari import dsp

        ids = self._package.ids(phonemes)
        inputs = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([speed], np.float32)}
        outputs = [np.asarray(each)[0] for each in self._package.sess.run(None, inputs)]
        harmonic, theta, noise, free, phase, f0 = outputs
        return dsp.synth(
            _stretched(harmonic, tract),
            _stretched(theta, tract),
            _stretched(noise, tract),
            _stretched(free, tract),
            phase,  # of a sine of each bin's own frequency, so it stays where it is
            f0 * np.float32(pitch),
            rng,
        )


def _stretched(values: Float32[np.ndarray, "bin frame"], factor: float) -> Float32[np.ndarray, "bin frame"]:
    """Returns values whose bins are moved to `factor` times their frequency, the highest one repeated above its own."""
    places = np.minimum(np.arange(len(values)) / factor, len(values) - 1)
    below = np.minimum(places.astype(np.int64), len(values) - 2)
    share = (places - below).astype(np.float32)[:, None]
    return (1 - share) * values[below] + share * values[below + 1]


@functools.cache
def load() -> Hibari:
    """The installed package; SynthesisError where it is not installed."""
    try:
        import hibari
    except ImportError as error:
        raise SynthesisError(
            "hibari: the package hibari-tts is not installed; pip install 'earshot[voices]', or do without this engine"
        ) from error
    return Hibari(hibari.Hibari(threads=1), hibari.__version__)
