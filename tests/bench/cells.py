"""Every cell against PyTorch's LSTM, by ratio in one run.

    python -m tests.bench.cells --paths compiled reference         every cell, with the compiled kernel and without
    python -m tests.bench.cells --precision bf16                   under autocast, as `train.precision: bf16` runs them
    python -m tests.bench.cells --both --cells gru peephole_lstm   both directions of a layer at once, or in turn
    python -m tests.bench.gpu_barrier; python -m tests.bench.gpu_cells      on a GPU

Each round times the built-in LSTM and every cell in turn, by processor time where one thread runs; the figure is the
median over rounds of the ratio within a round, so that a busy machine disturbs both alike. The shapes are those of
speech: 80 features, whole utterances, small batches.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from asr.model.cells import (
    CellConfig,
    ConvLSTMConfig,
    CoupledLSTMConfig,
    GRUConfig,
    JANETConfig,
    LayerNormLSTMConfig,
    LightGRUConfig,
    LSTMConfig,
    PeepholeLSTMConfig,
    ProjectedLSTMConfig,
    RNNConfig,
)
from asr.model.layers.recurrent import RecurrentLayer

SHAPES = ((16, 200, 256), (8, 400, 512))  # batch, time, hidden
FEATURES = 80


def cells(hidden: int) -> dict[str, CellConfig]:
    """Every cell at one width; the convolutional one with a state as wide as the others'."""
    return {
        "rnn": RNNConfig(hidden_size=hidden),
        "lstm": LSTMConfig(hidden_size=hidden),
        "gru": GRUConfig(hidden_size=hidden),
        "peephole_lstm": PeepholeLSTMConfig(hidden_size=hidden),
        "coupled_lstm": CoupledLSTMConfig(hidden_size=hidden),
        "layer_norm_lstm": LayerNormLSTMConfig(hidden_size=hidden),
        "projected_lstm": ProjectedLSTMConfig(hidden_size=hidden, projection_size=hidden // 2),
        "light_gru": LightGRUConfig(hidden_size=hidden),
        "janet": JANETConfig(hidden_size=hidden),
        "conv_lstm": ConvLSTMConfig(hidden_size=hidden // 8, num_bands=8, kernel_size=3),
        "lstm zoneout": LSTMConfig(hidden_size=hidden, zoneout=0.1),
    }


def clock() -> float:
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


class BothWays(nn.Module):
    """A layer in two directions, over a ragged batch: at once, or one direction after the other."""

    def __init__(self, cell: CellConfig, *, at_once: bool) -> None:
        super().__init__()
        self.layer = RecurrentLayer(cell, FEATURES, bidirectional=True)
        if not at_once:  # as a hook on a cell asks for
            self.layer.forwards.register_forward_hook(lambda *_: None)

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        batch, time_steps, _ = inputs.shape
        lengths = torch.linspace(time_steps, 0.7 * time_steps, batch).long()
        return (self.layer(inputs, lengths),)


def forward_seconds(layer: nn.Module, inputs: Tensor, precision: str) -> float:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        start = clock()
        layer(inputs)
        return clock() - start


def training_seconds(layer: nn.Module, inputs: Tensor, precision: str) -> float:
    layer.zero_grad(set_to_none=True)
    inputs.grad = None
    start = clock()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        outputs = layer(inputs)[0]
    outputs.backward(torch.ones_like(outputs))
    return clock() - start


def ratios(
    layers: dict[str, nn.Module], inputs: Tensor, measure: Callable[[nn.Module, Tensor, str], float], *,
    num_rounds: int, precision: str,
) -> dict[str, float]:  # fmt: skip
    """The median over rounds of each layer's time over that of the first."""
    first = next(iter(layers))
    for layer in layers.values():
        measure(layer, inputs, precision)
    rounds = [{name: measure(layer, inputs, precision) for name, layer in layers.items()} for _ in range(num_rounds)]
    print(f"  {first}: {1e3 * min(times[first] for times in rounds):.1f} ms")
    return {name: statistics.median(times[name] / times[first] for times in rounds) for name in layers}


def layers_of(arguments: argparse.Namespace, hidden: int) -> dict[str, nn.Module]:
    """What is compared, by name; the first is what the others are measured by."""
    chosen = {name: cell for name, cell in cells(hidden).items() if not arguments.cells or name in arguments.cells}
    layers: dict[str, nn.Module] = {"nn.LSTM": nn.LSTM(FEATURES, hidden, batch_first=True)}
    for name, config in chosen.items():
        if arguments.both:
            for at_once in (False, True):
                layers[f"{name} ({'at once' if at_once else 'in turn'})"] = BothWays(config, at_once=at_once)
            continue
        for path in arguments.paths:
            layer = config.build(FEATURES)
            layer.path = path
            layers[f"{name} ({path})"] = layer
    return layers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", nargs="+", default=["auto"], help="auto, compiled, reference")
    parser.add_argument("--both", action="store_true", help="layers in two directions, at once and in turn")
    parser.add_argument("--cells", nargs="+", help="only these cells")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shapes", nargs="+", type=int, default=[0, 1], help="indices of the shapes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for batch, time_steps, hidden in (SHAPES[index] for index in arguments.shapes):
        torch.manual_seed(0)
        inputs = torch.randn(batch, time_steps, FEATURES, requires_grad=True)
        layers = layers_of(arguments, hidden)
        print(
            f"batch {batch}, time {time_steps}, hidden {hidden}, {arguments.precision}, {arguments.threads} thread(s)"
        )
        options = {"num_rounds": arguments.rounds, "precision": arguments.precision}
        forward = ratios(layers, inputs, forward_seconds, **options)
        training = ratios(layers, inputs, training_seconds, **options)
        print("  | cell | forward | forward + backward |\n  |---|---|---|")
        for name in layers:
            print(f"  | {name} | {forward[name]:.2f} | {training[name]:.2f} |")


if __name__ == "__main__":
    main()
