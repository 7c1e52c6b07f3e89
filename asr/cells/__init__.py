"""Recurrent cells: one a file, behind one key.

A cell maps `(inputs [batch, time, feature], state)` to `(outputs [batch, time, hidden], state)`, in one direction.
`state` is a tuple of tensors [batch, ...]; None starts from the initial state. `cell.output_size` is the width of
the outputs.
"""

from asr.cells.lstm import LSTM, LSTMConfig

CellConfig = LSTMConfig

__all__ = ["LSTM", "CellConfig", "LSTMConfig"]
