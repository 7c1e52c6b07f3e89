"""What PyTorch's bfloat16 costs on this processor: python -m tests.bench.halves

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m tests.bench.halves      as without AVX-512

Prints the time of forward and backward passes under autocast in bfloat16 over that in float32, and of a product of
8-bit integers over one in float32; the best of five, on one thread.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from asr.model.scan import processor
from asr.recognition.precision import Int8Linear

ROUNDS = 5


def best_seconds(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def ratio(layer: nn.Module, inputs: torch.Tensor) -> str:
    """Of bfloat16 over float32, or why there is none."""

    def step() -> None:
        found = layer(inputs)
        (found[0] if isinstance(found, tuple) else found).float().sum().backward()

    single = best_seconds(step)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            return f"{best_seconds(step) / single:.2f}"
    except RuntimeError as error:
        return f"none ({str(error)[:70]}...)"


def main() -> int:
    torch.set_num_threads(1)
    print(f"{processor.name()}: time in bfloat16 over time in float32")
    layers = {
        "convolution in two dimensions": (nn.Conv2d(32, 32, 3, stride=2, padding=1), torch.randn(8, 32, 400, 40)),
        "convolution of each channel": (nn.Conv1d(256, 256, 5, groups=256), torch.randn(8, 256, 400)),
        "linear layer": (nn.Linear(512, 512), torch.randn(8, 400, 512)),
        "PyTorch's LSTM": (nn.LSTM(256, 256, batch_first=True), torch.randn(8, 200, 256)),
    }
    for name, (layer, inputs) in layers.items():
        print(f"  {name}: {ratio(layer, inputs)}", flush=True)
    linear, rows = nn.Linear(512, 2048), torch.randn(1600, 512)
    bytes_linear = Int8Linear(linear.weight, linear.bias)
    with torch.no_grad():
        of_bytes = best_seconds(lambda: bytes_linear(rows)) / best_seconds(lambda: linear(rows))
    print(f"  linear layer in int8: {of_bytes:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
