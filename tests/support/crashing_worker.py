"""asr.audio.worker with a decoder that fails on some names, as a real one does on some bytes."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from asr.audio import worker as audio_worker


def decode(request: dict, answers, seconds_per_block: float) -> None:
    name = Path(request["path"]).name
    if name.startswith("crash") and not name.startswith("crash-once"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("crash-once") and not (marker := Path(request["path"] + ".tried")).exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("exit"):
        sys.exit(7)
    if name.startswith("swell"):
        np.ones(1 << 30)
    while name.startswith("spin"):
        pass
    if name.startswith("hang"):
        time.sleep(60)
    original(request, answers, seconds_per_block)


original, audio_worker._decode = audio_worker._decode, decode
sys.exit(audio_worker.main())
