"""Starting from the weights of another run, whatever of them fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Transfer:
    """Says what a model took from another run's weights."""

    whole: list[str]  # tensors taken as they are
    rows: dict[str, int]  # tensors of the vocabulary, with the number of pieces whose rows were taken
    fresh: list[str]  # tensors that stay as initialised

    def __str__(self) -> str:
        parts = [f"{len(self.whole)} tensors whole"]
        parts += [f"{count} pieces of {name}" for name, count in self.rows.items()]
        return f"took {', '.join(parts)}; fresh: {', '.join(self.fresh) or 'none'}"


def renumber_heads(weights: Mapping[str, Tensor], before: Sequence[str], now: Sequence[str]) -> dict[str, Tensor]:
    """Returns the weights with each head's under the number that its kind has now; of other kinds there is none.

    heads.0.projection.weight  ->  heads.1.projection.weight, where `before` is (ctc) and `now` (attention, ctc)
    """
    renamed = {}
    for name, value in weights.items():
        family, _, rest = name.partition(".")
        if family == "heads":
            number, _, rest = rest.partition(".")
            if not number.isdecimal() or int(number[:9]) >= len(before):
                raise ValueError(
                    f"init_from: the weights {name!r:.60}; expected heads 0 to {len(before) - 1} of that run"
                )
            kind = before[int(number)]
            if kind not in now:
                continue
            name = f"heads.{now.index(kind)}.{rest}"
        renamed[name] = value
    return renamed


@torch.no_grad()
def transfer_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, pieces: Sequence[str], pieces_before: Sequence[str]
) -> Transfer:
    """Copy weights of the same name and shape; rows of the vocabulary go to the piece that they were of.

    A tensor is one of the vocabulary when its first axis is as long as the vocabulary, in both models. Raises
    ValueError where nothing fits.
    """
    whole, rows, fresh = [], {}, []
    place_before = {piece: row for row, piece in enumerate(pieces_before)}
    shared = [(row, place_before[piece]) for row, piece in enumerate(pieces) if piece in place_before]
    for name, value in model.state_dict().items():
        before = weights.get(name)
        of_vocabulary = before is not None and len(value) == len(pieces) and len(before) == len(pieces_before)
        if before is not None and of_vocabulary and value.shape[1:] == before.shape[1:]:
            new_rows, old_rows = (torch.tensor(side) for side in zip(*shared, strict=True))
            value[new_rows] = before[old_rows].to(value)
            rows[name] = len(shared)
        elif before is not None and value.shape == before.shape:
            value.copy_(before)
            whole.append(name)
        else:
            fresh.append(name)
    if not whole:
        raise ValueError(
            "init_from: no tensor of that run fits this model; the encoder section must be the same in both"
        )
    return Transfer(whole, rows, fresh)
