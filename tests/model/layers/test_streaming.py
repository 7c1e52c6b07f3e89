"""Encoding in chunks gives what encoding the whole gives, however the streams are cut and whatever their phases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.model.cells.lstm import LSTMConfig
from asr.model.encoders.recurrent import RecurrentEncoder, RecurrentEncoderConfig
from asr.model.layers.subsampling import ConvSubsamplingConfig
from tests.model.encoders.test_encoders import CELLS

NUM_MELS = 8
SMALL = {"bidirectional": False, "streaming": True, "num_layers": 2, "residual": True}
VARIANTS = [(4, 0), (4, 3), (2, 0), (2, 1)]  # factor of the subsampling, frames of look-ahead


def build(factor: int = 4, look_ahead: int = 0, cell: object = None) -> RecurrentEncoder:
    torch.manual_seed(3)
    config = RecurrentEncoderConfig(
        subsampling=ConvSubsamplingConfig(factor=factor, num_channels=3, output_size=6),
        cell=cell or LSTMConfig(hidden_size=6, learnt_initial_state=True),  # type: ignore[arg-type]
        look_ahead=look_ahead,
        **SMALL,  # type: ignore[arg-type]
    )
    encoder = config.build(NUM_MELS).double().eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "look_ahead" in name or "initial_state" in name:
                parameter.normal_()
    return encoder


def encode_in_chunks(encoder: RecurrentEncoder, features: list[Tensor], cuts: list[list[int]]) -> list[Tensor]:
    """Feed each stream its frames, cut at its own places; a stream ends with its last chunk, the others go on."""
    state, found = None, [[] for _ in features]
    for number in range(len(cuts[0]) - 1):
        chunks = [frames[cut[number] : cut[number + 1]] for frames, cut in zip(features, cuts, strict=True)]
        lengths = torch.tensor([len(chunk) for chunk in chunks])
        padded = torch.nn.utils.rnn.pad_sequence(chunks, batch_first=True, padding_value=torch.nan)
        is_last = torch.tensor([cut[number + 1] == cut[-1] > cut[number] for cut in cuts])
        encodings, num_new, state = encoder.stream(padded, lengths, state, is_last=is_last)
        assert encodings.shape[1] == int(num_new.max())
        for row, count in enumerate(num_new.tolist()):
            assert not encodings[row, count:].any()
            # Past its end a stream has nothing more to say; only what it said before counts.
            if cuts[row][number] < cuts[row][-1]:
                found[row].append(encodings[row, :count])
    return [torch.cat(parts) for parts in found]


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    num_chunks = draw(st.integers(1, 6))
    inner = [
        sorted(draw(st.lists(st.integers(0, n), min_size=num_chunks - 1, max_size=num_chunks - 1))) for n in lengths
    ]
    return lengths, [[0, *places, n] for places, n in zip(inner, lengths, strict=True)]


@pytest.mark.parametrize(("factor", "look_ahead"), VARIANTS)
@given(streams=cut_streams())
@settings(max_examples=20, deadline=None)
def test_chunks_of_any_size_give_the_encodings_of_the_whole(factor: int, look_ahead: int, streams) -> None:
    lengths, cuts = streams
    encoder = build(factor, look_ahead)
    generator = torch.Generator().manual_seed(sum(lengths))
    features = [torch.randn(n, NUM_MELS, generator=generator, dtype=torch.float64) for n in lengths]
    with torch.inference_mode():
        found = encode_in_chunks(encoder, features, cuts)
        for frames, encodings in zip(features, found, strict=True):
            whole, _ = encoder(frames[None], torch.tensor([len(frames)]))
            torch.testing.assert_close(encodings, whole[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_every_cell_carries_its_state_across_chunks(cell, generator) -> None:
    encoder = build(cell=cell)
    features = [torch.randn(n, NUM_MELS, generator=generator, dtype=torch.float64) for n in (33, 18)]
    with torch.inference_mode():
        found = encode_in_chunks(encoder, features, [[0, 5, 20, 33], [0, 11, 11, 18]])
        for frames, encodings in zip(features, found, strict=True):
            whole, _ = encoder(frames[None], torch.tensor([len(frames)]))
            torch.testing.assert_close(encodings, whole[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("factor", "look_ahead"), VARIANTS)
def test_an_encoding_comes_as_soon_as_all_it_sees_is_there(factor: int, look_ahead: int, generator) -> None:
    """It waits for its own group of frames and for those of the look-ahead, and later frames do not change it."""
    encoder = build(factor, look_ahead)
    features = torch.randn(1, 40, NUM_MELS, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        for num_frames in (1, factor * (look_ahead + 1) - 1, factor * (look_ahead + 1), 40):
            encodings, num_new, _ = encoder.stream(features[:, :num_frames], torch.tensor([num_frames]))
            assert num_new.item() == encodings.shape[1] == max(0, num_frames // factor - look_ahead)
    changed = features.clone()
    changed[:, factor * (look_ahead + 1) :] += 1.0
    whole, other = (encoder(x, torch.tensor([40]))[0] for x in (features, changed))
    torch.testing.assert_close(whole[:, 0], other[:, 0], rtol=0, atol=0)
    assert not torch.equal(whole[:, 1], other[:, 1])


def test_a_bidirectional_encoder_asked_to_stream_says_what_to_do() -> None:
    encoder = RecurrentEncoderConfig(num_layers=1, cell=LSTMConfig(hidden_size=4)).build(NUM_MELS)
    with pytest.raises(ValueError, match=r"bidirectional, so it cannot stream.*train one with bidirectional: false"):
        encoder.stream(torch.zeros(1, 8, NUM_MELS), torch.tensor([8]))
