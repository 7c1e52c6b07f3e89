"""Memory of a training whose batches vary in shape, by how many compiled products oneDNN and PyTorch keep.

    python -m tests.bench.training_memory data/speechocean762/train.jsonl

Random features in the lengths of a manifest's batches go through a small BiLSTM-CTC in bfloat16, forward, backward and
update. Each number of kept products has a process of its own; see asr/process/runtime.py and DECISIONS.md.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from asr.process.runtime import KEPT_PRIMITIVES, NUM_KEPT_PRIMITIVES

NUM_TOKENS = 40  # of the vocabulary
SHOWN = (10, 50, 100)  # steps after which the memory is shown, beside every hundredth


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--kept", type=int, nargs="+", default=[NUM_KEPT_PRIMITIVES, 128])
    parser.add_argument("--batch-seconds", type=float, default=90.0)
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_this_process:
        train(options.manifest, options.steps, options.batch_seconds)
        return
    for kept in options.kept:
        print(f"{kept} products kept", flush=True)
        command = [sys.executable, "-m", "tests.bench.training_memory", *sys.argv[1:], "--in-this-process"]
        environment = {**os.environ, **dict.fromkeys(KEPT_PRIMITIVES, str(kept))}
        subprocess.run(command, env=environment, check=True)


def train(manifest: Path, num_steps: int, batch_seconds: float) -> None:
    import torch

    from asr.data.batches import FRAME_STEP, BatchPlan
    from asr.data.manifest import Manifest
    from asr.model.acoustic import Model
    from asr.model.cells.lstm import LSTMConfig
    from asr.model.encoders.recurrent import RecurrentEncoderConfig
    from asr.model.heads.ctc import CTCHeadConfig
    from asr.optim import OptimConfig
    from asr.recognition.precision import autocast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = RecurrentEncoderConfig(cell=LSTMConfig(hidden_size=64))
    model = Model(num_mels=80, encoder=encoder, heads=(CTCHeadConfig(),), vocabulary_size=NUM_TOKENS).train()
    optimizer = OptimConfig().build(model)
    durations = Manifest.read(manifest).durations
    plan = BatchPlan(durations, limit=batch_seconds, seed=0)
    batches = (batch for epoch in range(num_steps) for batch in plan.epoch(epoch))
    shapes = set()
    for step, batch in zip(range(1, num_steps + 1), batches, strict=False):
        speed = 0.9 + 0.2 * torch.rand(len(batch), dtype=torch.float64)  # as augmentation gives each its own
        lengths = (torch.tensor(durations[batch]) * speed * 100).long().clamp(min=40)
        token_lengths = lengths // 12
        features = torch.randn(len(batch), -(-int(lengths.max()) // FRAME_STEP) * FRAME_STEP, 80)
        tokens = torch.randint(6, NUM_TOKENS, (len(batch), int(token_lengths.max())))
        shapes.add(features.shape)
        optimizer.zero_grad(set_to_none=True)
        with autocast("bf16", torch.device("cpu")):
            losses = model(features, lengths, tokens, token_lengths)
        losses.mean().backward()
        optimizer.step()
        if step in SHOWN or step % 100 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(
                f"  step {step}: {pages * os.sysconf('SC_PAGE_SIZE') >> 20} MB resident, {len(shapes)} shapes",
                flush=True,
            )


if __name__ == "__main__":
    main()
