"""Encoding while somebody still speaks: frames that wait, and what a stream carries from chunk to chunk."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asr.model.layers.recurrent import CellState


@dataclass(frozen=True)
class Waiting:
    """Frames of each utterance that are still needed, at the front of a padded tensor."""

    frames: Float[Tensor, "batch time feature"]
    lengths: Int[Tensor, " batch"]

    def append(self, frames: Float[Tensor, "batch new feature"], lengths: Int[Tensor, " batch"]) -> "Waiting":
        """Returns each utterance's new frames behind those that wait: a b . + c d -> a b c d, e . . + f . -> e f . ."""
        joined = torch.cat((self.frames, frames), dim=1)
        total = self.lengths + lengths
        size = int(total.max())
        place = torch.arange(size, device=frames.device)[None, :].expand(len(frames), -1)
        shift = self.frames.shape[1] - self.lengths[:, None]
        source = torch.where(place < self.lengths[:, None], place, place + shift).clamp(max=joined.shape[1] - 1)
        return Waiting(joined.gather(1, source[:, :, None].expand(-1, -1, joined.shape[2])), total)

    def drop(self, numbers: Int[Tensor, " batch"]) -> "Waiting":
        """Without so many frames at the front of each utterance."""
        return Waiting(shift_left(self.frames, numbers, self.lengths - numbers), self.lengths - numbers)


def no_frames(like: Float[Tensor, "batch time _"], size: int) -> Waiting:
    """Nothing waits yet, in frames of `size` values."""
    batch = like.shape[0]
    return Waiting(like.new_zeros(batch, 0, size), torch.zeros(batch, dtype=torch.int64, device=like.device))


def shift_left(
    frames: Float[Tensor, "batch time feature"], numbers: Int[Tensor, " batch"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch kept feature"]:
    """Returns each utterance from its own frame `numbers[i]` on, as far as the longest of the new `lengths` reaches."""
    size = int(lengths.max())
    place = torch.arange(size, device=frames.device)[None, :] + numbers[:, None]
    place = place.clamp(max=max(0, frames.shape[1] - 1))
    return frames.gather(1, place[:, :, None].expand(-1, -1, frames.shape[2]))


@dataclass(frozen=True)
class StreamState:
    """Holds what an encoder needs of the past of a batch of streams."""

    features: Waiting  # log-mels that later encodings still see
    has_context: Bool[Tensor, " batch"]  # whether the first frames that wait were encoded already, and are context
    cells: tuple[CellState | None, ...]  # of each layer
    ahead: Waiting  # outputs of the layers that wait for those after them
