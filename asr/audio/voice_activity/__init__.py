"""Detectors of voice activity find where somebody speaks. A new one is a file and a name in the union below.

A config's `build(sample_rate)` gives a detector for one recording, which is fed its samples block by block:

    detector.hop                     samples from one frame to the next; frame f starts at sample f * hop
    detector.push(samples)           whether each further frame is speech, as far as that can be told by now
    detector.finish()                the rest

How the samples are cut into blocks changes nothing. `energy` waits for what is around a frame; `running_energy` and
`silero` tell each frame as soon as it is there, as streams need it.
"""

from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from asr.audio.voice_activity.energy import EnergyConfig
from asr.audio.voice_activity.running_energy import RunningEnergyConfig
from asr.audio.voice_activity.silero import SileroConfig, VoiceActivityError

VoiceActivityConfig = Annotated[EnergyConfig | RunningEnergyConfig | SileroConfig, Field(discriminator="kind")]

__all__ = [
    "Detector",
    "EnergyConfig",
    "RunningEnergyConfig",
    "SileroConfig",
    "VoiceActivityConfig",
    "VoiceActivityError",
]


@runtime_checkable
class Detector(Protocol):
    """One recording's."""

    @property
    def hop(self) -> float: ...  # samples

    def push(self, samples: Float[np.ndarray, " sample"]) -> Bool[np.ndarray, " frame"]: ...

    def finish(self) -> Bool[np.ndarray, " frame"]: ...
