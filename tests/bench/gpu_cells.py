"""The cells' Triton kernels against cuDNN's LSTM, in microseconds a step, with the roofline beside each figure.

    python -m tests.bench.gpu_cells                cuDNN in the forms that speech uses, then every cell it can serve
    python -m tests.bench.gpu_cells --cpu          tiny shapes on a CPU by the plain loop, for the code's sake

Run tests/bench/gpu_barrier.py first: no step can be shorter than one meeting of the programs. The goal is B32 T800
H512 in bfloat16, ragged, two directions: no slower than cuDNN on the same batch, packed, and at most 4 microseconds a
step. The roofline of a step is what its products take at the device's peak or its traffic with the memory, whichever
is longer; the recurrent weights stay on the chip.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from asr.model.cells import (
    CellConfig,
    CoupledLSTMConfig,
    GRUConfig,
    LayerNormLSTMConfig,
    LightGRUConfig,
    LSTMConfig,
    PeepholeLSTMConfig,
    RNNConfig,
)
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.scan.gpu.triton import TritonError

FORMS = ((32, 800, 512), (16, 1024, 768), (32, 800, 256), (8, 800, 1024))  # batch, time, hidden
CELLS = (
    LSTMConfig, PeepholeLSTMConfig, CoupledLSTMConfig, LayerNormLSTMConfig, GRUConfig, LightGRUConfig, RNNConfig,
)  # fmt: skip
TERAFLOPS, TERABYTES = 989.0, 3.35  # a second of an H100 SXM, dense bfloat16; an H200 has 4.8 TB/s


@dataclass(frozen=True)
class Form:
    batch: int
    time: int
    hidden: int
    device: str

    def inputs(self) -> Tensor:
        return torch.randn(self.batch, self.time, self.hidden, device=self.device, requires_grad=True)

    def lengths(self) -> Tensor:
        """From the whole down to half, as a bucket of utterances is ragged."""
        return torch.linspace(self.time, self.time // 2, self.batch).long()

    def roofline(self, num_gates: int) -> float:
        """Microseconds for one step of both directions, forwards."""
        products = 2 * 2 * self.batch * num_gates * self.hidden**2 / (TERAFLOPS * 1e6)
        frame = 2 * self.batch * self.hidden * (2 * num_gates + 4)  # bfloat16 gates in, float32 outputs out
        return max(products, frame / (TERABYTES * 1e6))


def milliseconds(run: Callable[[], object]) -> float:
    for _ in range(3):
        run()
    times = []
    for _ in range(7):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def cudnn(form: Form, *, packed: bool, bidirectional: bool) -> tuple[nn.Module, Callable[[], Tensor]]:
    layer = nn.LSTM(form.hidden, form.hidden, batch_first=True, bidirectional=bidirectional).to(form.device)
    inputs, lengths = form.inputs(), form.lengths()

    def run() -> Tensor:
        given = pack_padded_sequence(inputs, lengths, batch_first=True) if packed else inputs
        outputs = layer(given)[0]
        return outputs.data if packed else outputs  # type: ignore[union-attr]

    return layer, run


def ours(form: Form, config: CellConfig, path: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    layer = RecurrentLayer(config, form.hidden, bidirectional=True).to(form.device)
    for cell in (layer.forwards, layer.backwards):
        assert cell is not None
        cell.path = path  # type: ignore[assignment]
    inputs, lengths = form.inputs(), form.lengths().to(form.device)
    return layer, lambda: layer(inputs, lengths)


def measure(name: str, form: Form, layer: nn.Module, run: Callable[[], Tensor], num_gates: int) -> None:
    """Print one line: microseconds a step, forwards and with the backward pass."""

    def forward() -> None:
        with torch.no_grad(), torch.autocast(form.device, torch.bfloat16):
            run()

    def training() -> None:
        layer.zero_grad(set_to_none=True)
        with torch.autocast(form.device, torch.bfloat16):
            outputs = run()
        outputs.float().sum().backward()

    if form.device == "cpu":
        forward()
        training()
        return
    steps = [1e3 * milliseconds(run) / form.time for run in (forward, training)]
    print(f"| {name} | {steps[0]:.2f} | {steps[1]:.2f} | {form.roofline(num_gates):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="tiny, and nothing timed")
    parser.add_argument("--forms", type=int, default=len(FORMS), help="measure only the first N of the forms")
    options = parser.parse_args()
    on_cpu = options.cpu
    shapes = ((2, 8, 16),) if on_cpu else FORMS[: options.forms]
    for batch, time, hidden in shapes:
        form = Form(batch, time, hidden, "cpu" if on_cpu else "cuda")
        print(f"\nbatch {batch}, time {time}, hidden {hidden}, bfloat16; microseconds a step\n")
        print("| layer | forward | forward + backward | roofline, forward |\n|---|---|---|---|")
        for bidirectional in (False, True):
            for packed in (False, True):
                name = f"cuDNN LSTM{', two directions' * bidirectional}{', packed' * packed}"
                measure(name, form, *cudnn(form, packed=packed, bidirectional=bidirectional), 4)
        for config in CELLS:
            cell = config(hidden_size=hidden)
            layer, run = ours(form, cell, "reference" if on_cpu else "triton")
            try:
                measure(f"{cell.kind}, two directions, ragged", form, layer, run, layer.forwards.form.num_gates)
            except TritonError as error:
                print(f"| {cell.kind} | {error} | | |")


if __name__ == "__main__":
    main()
