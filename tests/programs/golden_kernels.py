"""Writes down anew what the two generators of kernels make of a few cells, for tests/model/scan/test_golden.py.

    python -m tests.programs.golden_kernels

Look at the difference before it is committed: these texts are what every training computes with.
"""

from pathlib import Path

from asr.model.cells import CellConfig, GRUConfig, LayerNormLSTMConfig, LSTMConfig
from asr.model.scan.cpu.source import step_header
from asr.model.scan.gpu.source import step_source
from asr.model.scan.step import trace

FOLDER = Path(__file__).resolve().parents[1] / "model" / "scan" / "golden"
# Gates alone; inputs and recurrent products with gradients of their own; zoneout, means and single units' weights.
CELLS: dict[str, CellConfig] = {
    "lstm": LSTMConfig(),
    "gru": GRUConfig(),
    "layer_norm_lstm_zoneout": LayerNormLSTMConfig(zoneout=0.1),
}


def texts() -> dict[str, str]:
    """What is generated now, by the names of the files."""
    found = {}
    for name, config in CELLS.items():
        program = trace(config.build(4).form, zoneout=config.zoneout > 0)
        found[f"{name}.h"] = step_header(program)
        found[f"{name}.triton"] = step_source(program)
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
