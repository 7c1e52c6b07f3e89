"""What fewer bits cost and save on this processor: python -m tests.bench.precision RUN

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
        python -m tests.bench.precision RUN        as without AVX-512

A row for each size of batch of noises of four seconds: the model alone, from log-mels to log-probabilities, as the time
of bf16 and of int8 over that of fp32, on one thread, in turns, the best of ten; and how far their probabilities lie
from those of fp32, at most and on average. FBGEMM, which multiplies the inputs, heeds none of these variables, so where
PyTorch is told to do without AVX-512 it is told too.
"""

import argparse
import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from asr.model.acoustic import Model
from asr.model.scan import processor
from asr.recognition.precision import autocast, quantize
from asr.runs.recognizer import load_run

ROUNDS, FRAMES, SIZES = 10, 400, (1, 4, 16, 32)
AVX2 = 1  # of fbgemm::inst_set_t


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    torch.set_num_threads(1)
    if processor.vectors() == "AVX2":
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        library["_ZN6fbgemm14fbgemmForceIsaENS_10inst_set_tE"](AVX2)
    whole, eight = (load_run(run).model.eval() for _ in range(2))
    quantize(eight)
    print(f"{processor.name()}; recordings of {FRAMES / 100:.0f} s; time over that of fp32 (farthest, mean difference)")
    for size in SIZES:
        compare(whole, eight, size)


@torch.inference_mode()
def compare(whole: Model, eight: Model, size: int) -> None:
    mels, lengths = torch.randn(size, FRAMES, 80), torch.full((size,), FRAMES)
    ways: dict[str, Callable[[], Tensor]] = {
        name: lambda model=model, name=name: log_probabilities(model, mels, lengths, name)
        for name, model in (("fp32", whole), ("bf16", whole), ("int8", eight))
    }
    found = {name: way() for name, way in ways.items()}
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    said = [f"batch of {size}: fp32 {1000 * seconds['fp32']:.1f} ms"]
    for name in ("bf16", "int8"):
        off = (found[name] - found["fp32"]).exp().sub(1).abs() * found["fp32"].exp()  # of the probabilities
        said.append(f"{name} {seconds[name] / seconds['fp32']:.2f} ({float(off.max()):.3f}, {float(off.mean()):.5f})")
    print(", ".join(said), flush=True)


def log_probabilities(model: Model, mels: Tensor, lengths: Tensor, precision: str) -> Tensor:
    with autocast(precision, mels.device):
        encodings, _ = model.encode(mels, lengths)
        return model.heads[0](encodings).float()  # type: ignore[operator]


if __name__ == "__main__":
    main()
