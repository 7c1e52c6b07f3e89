"""Festival (Edinburgh, Carnegie Mellon): three speakers of diphones or of a statistical model.

Programs to install: `apt-get install festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts`. Each speaker has
its own accent. 0.04 s of processor time a second of speech.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from data_prep.voices import Delivery, NaturalVoice, SynthesisError, run_engine

HTS = "cmu_us_slt_arctic_hts"
# words_per_minute and pitch as in flite.py. Duration_Stretch and int_lr_params reach the diphone voices only; the
# statistical one has a speed of its own, and nothing for its pitch.
VOICES: Mapping[str, NaturalVoice] = MappingProxyType(
    {
        HTS: NaturalVoice("en-us", words_per_minute=141, pitch=None),
        "kal_diphone": NaturalVoice("en-us", words_per_minute=140, pitch=105),
        "ked_diphone": NaturalVoice("en-us", words_per_minute=143, pitch=105),
    }
)
VOLUME = "0.5"  # louder, the diphone voices clip


class Festival:
    """Its program text2wave, run anew for each sentence: nothing depends on what it said before."""

    def __init__(self, program: str, version: str, speakers: tuple[str, ...]) -> None:
        self._program, self._version, self._speakers = program, version, speakers

    @property
    def version(self) -> str:
        return self._version

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return (VOICES[speaker].accent,)

    def families(self) -> list[tuple[str, ...]]:
        return [(speaker,) for speaker in self._speakers]

    def unlike_people(self) -> frozenset[str]:
        return frozenset()

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        if delivery.speaker not in self._speakers:
            expected = ", ".join(self._speakers)
            raise SynthesisError(f"festival: no speaker '{delivery.speaker}'; expected one of {expected}")
        with TemporaryDirectory(prefix="festival") as folder:
            source, target = Path(folder) / "text.txt", Path(folder) / "speech.wav"
            source.write_text(text + "\n", encoding="utf-8")
            command = [self._program, "-scale", VOLUME, "-eval", _scheme(delivery), "-o", str(target), str(source)]
            return run_engine("festival", command, text=text, target=target)


def _scheme(delivery: Delivery) -> str:
    """The speaker, speed and pitch in Festival's language."""
    voice = VOICES[delivery.speaker]
    if delivery.speaker == HTS:
        settings = f'(set! hts_engine_params (append hts_engine_params \'(("-r" {1 / voice.stretch(delivery):.4f}))))'
    else:
        f0 = f"(target_f0_mean {voice.hertz(delivery):.2f}) (target_f0_std 14)"
        settings = (
            f"(Parameter.set 'Duration_Stretch {voice.stretch(delivery):.4f}) "
            f"(set! int_lr_params '({f0} (model_f0_mean 170) (model_f0_std 34)))"
        )
    return f"(begin (voice_{delivery.speaker}) {settings})"


@functools.cache
def load() -> Festival:
    """The installed programs and those of their voices known here; SynthesisError where there are none."""
    program, festival = shutil.which("text2wave"), shutil.which("festival")
    if program is None or festival is None:
        raise SynthesisError(
            "festival: the programs festival and text2wave are not installed; apt-get install festival "
            "festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts, or do without this engine"
        )
    said = subprocess.run([festival, "--version"], capture_output=True, text=True, check=False).stdout
    listing = [festival, "--batch", "(print (voice.list))"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    installed = listed.replace("(", " ").replace(")", " ").split()
    speakers = tuple(name for name in VOICES if name in installed)
    if not speakers:
        raise SynthesisError(
            f"festival: none of its voices {', '.join(VOICES)} is installed; apt-get install festvox-kallpc16k "
            f"festvox-kdlpc16k festvox-us-slt-hts, or do without this engine"
        )
    return Festival(program, said.strip().removeprefix("festival: "), speakers)
