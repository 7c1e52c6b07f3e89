"""Festival (Edinburgh, Carnegie Mellon): three speakers of diphones or of a statistical model.

A program to install: `apt-get install festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts`. Each speaker
has its own accent. 0.005 s of processor time a second of speech, the statistical one 0.05.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from data_prep.voices import MAX_SECONDS, Delivery, NaturalVoice, RecordedSpeakers, SynthesisError, read_speech

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
VOLUME = 0.5  # louder, the diphone voices clip
READY = "ready for the next one"


class Festival(RecordedSpeakers):
    """The program, which goes on for as long as this process: to start and to read its voices takes it a second.

    Choosing a voice sets it back to its defaults, so what it says does not depend on what it said before.
    """

    def __init__(self, program: str, version: str, voices: Mapping[str, NaturalVoice]) -> None:
        super().__init__("festival", version, voices)
        self._program = program
        self._process: subprocess.Popen[str] | None = None

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        self.voice_for(text, delivery)
        with TemporaryDirectory(prefix="festival") as folder:
            target = Path(folder) / "speech.wav"
            said = self._evaluate(
                f"(begin {_voice(delivery)} (set! speech (utt.synth (Utterance Text {_quoted(text)}))) "
                f"(utt.wave.rescale speech {VOLUME}) (utt.save.wave speech {_quoted(str(target))} 'riff))"
            )
            return read_speech(target, f"festival: '{text}': {said}")

    def _evaluate(self, expression: str) -> str:
        """Returns what Festival writes while it evaluates an expression: nothing, or its errors."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [self._program, "--pipe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        too_long = Timer(MAX_SECONDS, process.kill)
        too_long.start()
        try:
            # After an error Festival goes on with the next line.
            process.stdin.write(f'{expression}\n(format t "{READY}\\n") (fflush nil)\n')
            process.stdin.flush()
            said = []
            for line in process.stdout:
                if line.strip() == READY:
                    return " ".join(said)
                said.append(line.strip())
        except BrokenPipeError:
            said = []
        finally:
            too_long.cancel()
        self._process = None
        return " ".join([*said, f"died with status {process.wait()}"])


def _quoted(text: str) -> str:
    """Returns a text as a string of Festival's language."""
    text = " ".join(text.split())
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _voice(delivery: Delivery) -> str:
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
    return f"(voice_{delivery.speaker}) {settings}"


@functools.cache
def load() -> Festival:
    """The installed program and those of its voices known here; SynthesisError where there are none."""
    program = shutil.which("festival")
    if program is None:
        raise SynthesisError(
            "festival: the program is not installed; apt-get install festival festvox-kallpc16k festvox-kdlpc16k "
            "festvox-us-slt-hts, or do without this engine"
        )
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    listing = [program, "--batch", "(print (voice.list))"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    names = listed.replace("(", " ").replace(")", " ").split()
    installed = {name: voice for name, voice in VOICES.items() if name in names}
    if not installed:
        raise SynthesisError(
            f"festival: none of its voices {', '.join(VOICES)} is installed; apt-get install festvox-kallpc16k "
            f"festvox-kdlpc16k festvox-us-slt-hts, or do without this engine"
        )
    return Festival(program, said.strip().removeprefix("festival: "), installed)
