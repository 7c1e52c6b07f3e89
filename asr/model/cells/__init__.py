"""Recurrent cells: one a file, behind one key.

A cell maps `(inputs [batch, time, feature], state)` to `(outputs [batch, time, hidden], state)`, in one direction.
`state` is a tuple of tensors [batch, ...]; None starts from the initial state. `cell.output_size` is the width of
the outputs. A new cell is one file here and one name in the union below.
"""

from typing import Annotated

from pydantic import Field

from asr.model.cells.cell import Cell
from asr.model.cells.conv_lstm import ConvLSTMConfig
from asr.model.cells.coupled_lstm import CoupledLSTMConfig
from asr.model.cells.gru import GRUConfig
from asr.model.cells.janet import JANETConfig
from asr.model.cells.layer_norm_lstm import LayerNormLSTMConfig
from asr.model.cells.light_gru import LightGRUConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.cells.peephole_lstm import PeepholeLSTMConfig
from asr.model.cells.projected_lstm import ProjectedLSTMConfig
from asr.model.cells.rnn import RNNConfig

CellConfig = Annotated[
    RNNConfig
    | LSTMConfig
    | GRUConfig
    | PeepholeLSTMConfig
    | CoupledLSTMConfig
    | LayerNormLSTMConfig
    | ProjectedLSTMConfig
    | LightGRUConfig
    | JANETConfig
    | ConvLSTMConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "Cell",
    "CellConfig",
    "ConvLSTMConfig",
    "CoupledLSTMConfig",
    "GRUConfig",
    "JANETConfig",
    "LSTMConfig",
    "LayerNormLSTMConfig",
    "LightGRUConfig",
    "PeepholeLSTMConfig",
    "ProjectedLSTMConfig",
    "RNNConfig",
]
