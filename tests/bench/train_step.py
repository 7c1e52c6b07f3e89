"""A BiLSTM-CTC training step against the same model over packed sequences, as SpeechBrain and ESPnet run theirs.

    python -m tests.bench.train_step data/speechocean762/train.jsonl

Both models have 3 bidirectional layers of 256 units, the same subsampling, head, batches and AdamW, on one thread. The
batches are some of those of a training's first epoch. `padded bf16` is what a configuration of this project trains with
unless it says otherwise, `packed fp32` what SpeechBrain and ESPnet train with on a CPU unless asked for autocast. The
figure in brackets is how often it goes into the time of packed fp32.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.data.batches import BatchPlan
from asr.data.manifest import Manifest, Utterance
from asr.model.acoustic import Model
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.optim import OptimConfig
from asr.recognition.precision import autocast
from asr.text import NUM_SPECIAL

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


def read_batches(manifest: Path, batch_seconds: float, number: int) -> list[tuple[Tensor, ...]]:
    """Random features and tokens in the lengths of `number` batches of an epoch, from the shortest to the longest."""
    utterances = Manifest.read(manifest)
    plan = BatchPlan(utterances.durations, limit=batch_seconds, seed=0)
    batches = sorted(plan.epoch(0), key=lambda batch: utterances.durations[batch].max())
    chosen = [batches[(2 * place + 1) * len(batches) // (2 * number)] for place in range(number)]
    return [random_batch([utterances[int(index)] for index in batch]) for batch in chosen]


def random_batch(utterances: Sequence[Utterance]) -> tuple[Tensor, ...]:
    lengths = torch.tensor([round(utterance.duration * 100) for utterance in utterances])
    token_lengths = torch.tensor([len(utterance.text) for utterance in utterances])
    features = torch.randn(len(utterances), int(lengths.max()), NUM_MELS)
    tokens = torch.randint(NUM_SPECIAL, VOCABULARY_SIZE, (len(utterances), int(token_lengths.max())))
    return features, lengths, tokens, token_lengths


def step(model: Model, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, ...], precision: str) -> float:
    """Seconds of this thread for forward, backward and update."""
    start = time.thread_time()
    optimizer.zero_grad(set_to_none=True)
    with autocast(precision, torch.device("cpu")):
        losses = model(*batch)
    losses.sum().mul(1 / int(batch[3].sum())).backward()
    optimizer.step()
    return time.thread_time() - start


def shares(model: Model, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, ...], precision: str) -> str:
    """Where the time of a step goes: the operators that take most of it, each without those it calls."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step(model, optimizer, batch, precision)
    events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return ", ".join(f"{event.key} {event.self_cpu_time_total / total:.0%}" for event in events[:10])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--batch-seconds", type=float, default=90.0, help="padded audio in a batch")
    parser.add_argument("--batches", type=int, default=3, help="of an epoch, from short utterances to long ones")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: build(packed=name == "packed") for name in ("packed", "padded")}
    optimizers = {name: OptimConfig().build(model) for name, model in models.items()}
    ways = [(name, precision) for precision in ("fp32", "bf16") for name in models]
    totals = dict.fromkeys(ways, 0.0)
    for batch in read_batches(options.manifest, options.batch_seconds, options.batches):
        seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds + 1):  # the first one warms up
            for name, precision in ways:
                seconds[name, precision].append(step(models[name], optimizers[name], batch, precision))
        best = {way: min(times[1:]) for way, times in seconds.items()}
        totals = {way: totals[way] + best[way] for way in ways}
        print(f"{len(batch[1])} utterances of {int(batch[1].min())} to {int(batch[1].max())} frames: {compared(best)}")
        if options.profile:
            for name, precision in ways:
                print(f"  {name} {precision}: {shares(models[name], optimizers[name], batch, precision)}")
    print(f"all together: {compared(totals)}")


def compared(seconds: dict[tuple[str, str], float]) -> str:
    """`packed fp32 2950 ms, padded bf16 530 ms (5.6), ...`: in brackets the times that packed fp32 takes of it."""
    slowest = seconds["packed", "fp32"]
    each = (f"{name} {precision} {s * 1000:.0f} ms ({slowest / s:.1f})" for (name, precision), s in seconds.items())
    return ", ".join(each)


if __name__ == "__main__":
    main()
