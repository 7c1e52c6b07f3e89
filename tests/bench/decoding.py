"""What decoding costs: each search of one encoder beside its CTC greedy decoding, by width of the beam.

    python -m tests.bench.decoding [--seconds 3] [--batch-size 16] [--attention location]

The encoder has 3 bidirectional layers of 256 units, the decoder one of 256, on one thread. Weights are random, so the
decoder is kept from ending before it has written as many characters as people say in that time; all hypotheses live to
the end. Times are of the thread, the least of several rounds, features to hypotheses.
"""

import argparse
import time
from collections.abc import Callable

import torch

from asr.decoding import choose_heads
from asr.decoding.attention_beam import AttentionBeam, AttentionBeamConfig
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.decoding.joint_beam import JointBeam, JointBeamConfig
from asr.model.acoustic import Model
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.heads.attention import AttentionHeadConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.model.heads.mechanisms import (
    AttentionConfig,
    ContentAttentionConfig,
    DotProductAttentionConfig,
    LocationAttentionConfig,
)
from asr.text import EOS_ID, NUM_SPECIAL

CHARACTERS_A_SECOND = 14
FRAMES_A_SECOND, NUM_MELS = 100, 80
BEAMS = (1, 2, 4, 8, 16)
ATTENTIONS: dict[str, AttentionConfig] = {
    "location": LocationAttentionConfig(),
    "content": ContentAttentionConfig(),
    "dot product": DotProductAttentionConfig(),
}


def build(attention: AttentionConfig) -> Model:
    torch.manual_seed(0)
    heads = (CTCHeadConfig(), AttentionHeadConfig(attention=attention))
    model = Model(
        num_mels=NUM_MELS, encoder=RecurrentEncoderConfig(), heads=heads, vocabulary_size=NUM_SPECIAL + 29
    ).eval()
    with torch.no_grad():
        choose_heads(AttentionBeam(AttentionBeamConfig()), model.heads).projection.bias[EOS_ID] = -1e4
    return model


def least(call: Callable[[], object], rounds: int) -> float:
    """Seconds of this thread, the least of several rounds after one to warm up."""
    call()
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--attention", choices=ATTENTIONS, nargs="+", default=list(ATTENTIONS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = round(options.seconds * FRAMES_A_SECOND)
    features = torch.randn(options.batch_size, frames, NUM_MELS)
    lengths = torch.linspace(0.8 * frames, frames, options.batch_size).long()
    for name in options.attention:
        model = build(ATTENTIONS[name])

        def run(decode, model: Model = model) -> object:
            with torch.inference_mode():
                encodings, encoded = model.encode(features, lengths)
                return decode(choose_heads(decode, model.heads), encodings, encoded)

        with torch.inference_mode():
            _, encoded = model.encode(features, lengths)
        ratio = CHARACTERS_A_SECOND * options.seconds / int(encoded.max())
        greedy = least(lambda: run(CTCGreedyConfig().build()), options.rounds)
        print(f"{name}: CTC greedy {1e3 * greedy:.0f} ms for {options.batch_size} utterances of {options.seconds:g} s")
        for title, config, search in (
            ("attention", AttentionBeamConfig, AttentionBeam),
            ("joint", JointBeamConfig, JointBeam),
        ):
            values = {"max_tokens_per_encoding": ratio} | ({"trust_silence": False} if title == "joint" else {})
            times = [least(lambda: run(search(config(beam=beam, **values))), options.rounds) for beam in BEAMS]  # noqa: B023
            each = ", ".join(f"{beam}: {seconds / greedy:.1f}" for beam, seconds in zip(BEAMS, times, strict=True))
            print(f"  {title}, times CTC greedy by beam: {each}", flush=True)


if __name__ == "__main__":
    main()
