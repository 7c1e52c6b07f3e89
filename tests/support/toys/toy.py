"""A synthesizer that hums."""

from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from data_prep.voices import Delivery, NaturalVoice, RecordedSpeakers

VOICES = MappingProxyType({"hum": NaturalVoice("en-us", words_per_minute=150, pitch=100)})
SAMPLE_RATE = 16_000


class Toy(RecordedSpeakers):
    """Speaks every text as one second of the asked pitch."""

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        hertz = self.voice_for(text, delivery).hertz(delivery)
        time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
        return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), SAMPLE_RATE


def load() -> Toy:
    return Toy("toy", "1", VOICES)
