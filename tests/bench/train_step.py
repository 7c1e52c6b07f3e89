"""A BiLSTM-CTC training step against the same model over packed sequences, as SpeechBrain and ESPnet run theirs.

    python -m tests.bench.train_step data/speechocean762/train.jsonl

Both models have 3 bidirectional layers of 256 units, the same subsampling, head, batch and AdamW, on one thread. The
batch holds the utterances around the manifest's median duration, as the buckets of a training do.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.distributed import autocast
from asr.encoders.recurrent import RecurrentEncoderConfig
from asr.heads.ctc import CTCHeadConfig
from asr.manifest import Manifest
from asr.model import Model
from asr.optim import OptimConfig
from asr.tokenizer import NUM_SPECIAL

VOCABULARY_SIZE = NUM_SPECIAL + 27
NUM_MELS = 80


class PackedLayer(nn.Module):
    """A bidirectional nn.LSTM over a packed batch."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.output_size = 2 * hidden_size

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=inputs.shape[1])[0]


def build(*, packed: bool) -> Model:
    torch.manual_seed(0)
    model = Model(
        num_mels=NUM_MELS, encoder=RecurrentEncoderConfig(), heads=(CTCHeadConfig(),), vocabulary_size=VOCABULARY_SIZE
    )
    if packed:
        layers = model.encoder.layers
        for number, layer in enumerate(layers):
            layers[number] = PackedLayer(layer.forwards.input_size, layer.forwards.output_size)
    return model.train()


def read_batch(manifest: Path, batch_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random features and tokens in the lengths of a bucket: the utterances around the manifest's median duration."""
    everything = Manifest.read(manifest)
    order = everything.durations.argsort()
    first = max(0, (len(order) - batch_size) // 2)
    utterances = [everything[int(number)] for number in order[first : first + batch_size]]
    lengths = torch.tensor([round(utterance.duration * 100) for utterance in utterances])
    token_lengths = torch.tensor([len(utterance.text) for utterance in utterances])
    features = torch.randn(batch_size, int(lengths.max()), NUM_MELS)
    tokens = torch.randint(NUM_SPECIAL, VOCABULARY_SIZE, (batch_size, int(token_lengths.max())))
    return features, lengths, tokens, token_lengths


def step(model: Model, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, ...], precision: str) -> float:
    """Seconds of this thread for forward, backward and update."""
    start = time.thread_time()
    optimizer.zero_grad(set_to_none=True)
    with autocast(precision, torch.device("cpu")):
        losses = model(*batch)
    losses.mean().backward()
    optimizer.step()
    return time.thread_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    batch = read_batch(options.manifest, options.batch_size)
    print(f"{options.batch_size} utterances of {int(batch[1].min())} to {int(batch[1].max())} frames, one thread")
    models = {"padded and reversed": build(packed=False), "packed": build(packed=True)}
    optimizers = {name: OptimConfig().build(model) for name, model in models.items()}
    for precision in ("fp32", "bf16"):
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(options.rounds + 1):  # the first one warms up
            for name, model in models.items():
                seconds[name].append(step(model, optimizers[name], batch, precision))
        best = {name: min(times[1:]) for name, times in seconds.items()}
        ratio = best["packed"] / best["padded and reversed"]
        each = ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in best.items())
        print(f"{precision}: {each}; packed takes {ratio:.1f} times as long")


if __name__ == "__main__":
    main()
