"""NIST's time-marked conversations, which sclite scores and Kaldi writes.

    kitchen/order.wav 1 0.420 0.310 coffee 0.9712
    recording, channel from 1, start and duration in seconds, word, confidence

Source: "infmts" of the SCTK manual.
"""

from asr.transcript import Transcript


def render(transcript: Transcript, *, name: str) -> str:
    """White space in the name becomes `_`, which the format has no way to write; no words give no lines."""
    recording, channel = "_".join(name.split()), (transcript.channel or 0) + 1
    return "".join(
        f"{recording} {channel} {word.start:.3f} {word.end - word.start:.3f} {word.word} {word.confidence:.4f}\n"
        for word in transcript.words
    )
