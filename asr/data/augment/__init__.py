"""Augmentations of training utterances: other voices, rooms, microphones, lines, noises, and masks over the features.

Each is a config that builds a callable. Those of the domain "samples" change a waveform, those of "features" change
normalised log-mels; both draw everything from the generator they are given, so the same generator state gives the
same result. Samples are floats and may leave [-1, 1]; only `clipping` clips. A new kind is a config in a file here and
a name in the union; one that moves words in time is named in MOVING too.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from asr.data.augment.babble import BabbleConfig
from asr.data.augment.base import Draws, FeatureAugmentation, SampleAugmentation
from asr.data.augment.codecs import CodecConfig, TelephoneConfig
from asr.data.augment.household import HouseholdNoiseConfig
from asr.data.augment.level import ClippingConfig, GainConfig, SilenceConfig
from asr.data.augment.masks import SpecAugmentConfig
from asr.data.augment.recorded import NoiseConfig, ReverbConfig
from asr.data.augment.room import RoomConfig
from asr.data.augment.spectrum import ColoredNoiseConfig, EqualizerConfig, LowPassConfig, TiltConfig
from asr.data.augment.voice import PitchConfig, SpeedConfig, VocalTractConfig

AugmentationConfig = Annotated[
    SpeedConfig
    | PitchConfig
    | SilenceConfig
    | GainConfig
    | NoiseConfig
    | BabbleConfig
    | HouseholdNoiseConfig
    | ColoredNoiseConfig
    | ReverbConfig
    | RoomConfig
    | EqualizerConfig
    | TiltConfig
    | LowPassConfig
    | TelephoneConfig
    | CodecConfig
    | ClippingConfig
    | VocalTractConfig
    | SpecAugmentConfig,
    Field(discriminator="kind"),
]

# The kinds that move words in time: of several views of an utterance, each has the same of these.
MOVING = ("speed", "silence")

__all__ = [
    "MOVING",
    "AugmentationConfig",
    "BabbleConfig",
    "ClippingConfig",
    "CodecConfig",
    "ColoredNoiseConfig",
    "Draws",
    "EqualizerConfig",
    "FeatureAugmentation",
    "GainConfig",
    "HouseholdNoiseConfig",
    "LowPassConfig",
    "NoiseConfig",
    "PitchConfig",
    "ReverbConfig",
    "RoomConfig",
    "SampleAugmentation",
    "SilenceConfig",
    "SpecAugmentConfig",
    "SpeedConfig",
    "TelephoneConfig",
    "TiltConfig",
    "VocalTractConfig",
]
