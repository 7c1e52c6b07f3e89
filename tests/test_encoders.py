"""The encoder's contract, for every encoder: padding, order and neighbours change nothing."""

import pytest
import torch
from torch import Tensor

from asr.cells.lstm import LSTMConfig
from asr.encoders import EncoderConfig
from asr.encoders.masking import clear_padding, reverse_within_length, valid_frames
from asr.encoders.recurrent import RecurrentEncoderConfig
from asr.encoders.subsampling import ConvSubsamplingConfig

NUM_MELS = 8
SMALL = {"cell": LSTMConfig(hidden_size=6), "num_layers": 2, "dropout": 0.0}
ENCODERS = {
    "bilstm_x4": RecurrentEncoderConfig(subsampling=ConvSubsamplingConfig(num_channels=3, output_size=5), **SMALL),
    "bilstm_x2": RecurrentEncoderConfig(
        subsampling=ConvSubsamplingConfig(factor=2, num_channels=3, output_size=5), **SMALL
    ),
    "lstm_x4": RecurrentEncoderConfig(
        subsampling=ConvSubsamplingConfig(num_channels=3, output_size=5), bidirectional=False, layer_norm=False, **SMALL
    ),
}


@pytest.fixture(params=ENCODERS.values(), ids=ENCODERS.keys())
def config(request: pytest.FixtureRequest) -> EncoderConfig:
    return request.param


def ragged_batch(generator: torch.Generator, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    features = torch.randn(len(lengths), max(lengths), NUM_MELS, generator=generator)
    return features, torch.tensor(lengths)


def test_an_utterance_is_encoded_alike_alone_and_in_any_company(config: EncoderConfig, generator) -> None:
    encoder = config.build(NUM_MELS).double().eval()
    features, lengths = ragged_batch(generator, (37, 1, 20, 37, 2, 9))
    features = features.double()
    together, together_lengths = encoder(features, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_length = encoder(features[row : row + 1, :length], lengths[row : row + 1])
        assert alone_length.item() == together_lengths[row].item() == alone.shape[1]
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], rtol=0, atol=1e-12)
        assert not together[row, alone.shape[1] :].any()


def test_what_stands_in_the_padding_does_not_matter(config: EncoderConfig, generator) -> None:
    encoder = config.build(NUM_MELS).eval()
    features, lengths = ragged_batch(generator, (30, 11, 3))
    expected, _ = encoder(features, lengths)
    spoilt = torch.where(valid_frames(lengths, 30)[:, :, None], features, torch.nan)
    found, _ = encoder(spoilt, lengths)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_order_in_the_batch_changes_nothing(config: EncoderConfig, generator) -> None:
    encoder = config.build(NUM_MELS).double().eval()
    features, lengths = ragged_batch(generator, (13, 29, 4, 8))
    order = torch.tensor([2, 0, 3, 1])
    expected, _ = encoder(features.double(), lengths)
    found, found_lengths = encoder(features[order].double(), lengths[order])
    torch.testing.assert_close(found, expected[order], rtol=0, atol=1e-12)
    assert found_lengths.tolist() == encoder.output_lengths(lengths[order]).tolist()


def test_lengths_never_exceed_the_time_axis_and_frames_come_out_of_every_input(config: EncoderConfig) -> None:
    encoder = config.build(NUM_MELS).eval()
    for length in range(1, 20):
        encodings, lengths = encoder(torch.zeros(1, length, NUM_MELS), torch.tensor([length]))
        assert 1 <= lengths.item() == encodings.shape[1] == encoder.output_lengths(torch.tensor([length])).item()


def test_gradients_do_not_flow_into_the_padding(config: EncoderConfig, generator) -> None:
    encoder = config.build(NUM_MELS)
    features, lengths = ragged_batch(generator, (25, 6))
    features.requires_grad_()
    encoder(features, lengths)[0].square().sum().backward()
    assert features.grad is not None
    assert features.grad[1, :6].any()
    assert not features.grad[1, 6:].any()


def test_the_padded_bidirectional_layer_equals_a_packed_one(generator) -> None:
    """What SpeechBrain and ESPnet compute with pack_padded_sequence, to the same numbers."""
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from asr.encoders.recurrent import RecurrentLayer

    layer = RecurrentLayer(LSTMConfig(hidden_size=7), 5, bidirectional=True).double()
    packed = torch.nn.LSTM(5, 7, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for cell, suffix in ((layer.forwards, ""), (layer.backwards, "_reverse")):
            getattr(packed, f"weight_ih_l0{suffix}").copy_(cell.input_weight)
            getattr(packed, f"weight_hh_l0{suffix}").copy_(cell.recurrent_weight)
            getattr(packed, f"bias_ih_l0{suffix}").copy_(cell.bias)
            getattr(packed, f"bias_hh_l0{suffix}").zero_()
    inputs = torch.randn(3, 11, 5, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([11, 4, 7])
    expected, _ = pad_packed_sequence(
        packed(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))[0], batch_first=True
    )
    torch.testing.assert_close(layer(inputs, lengths), expected, rtol=0, atol=1e-12)


def test_reversal_turns_each_utterance_round_and_is_its_own_inverse(generator) -> None:
    values = torch.arange(8.0).reshape(2, 4, 1)
    lengths = torch.tensor([3, 4])
    assert reverse_within_length(values, lengths)[:, :, 0].tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]
    torch.testing.assert_close(reverse_within_length(reverse_within_length(values, lengths), lengths), values)
    inputs = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: reverse_within_length(x, lengths), (inputs,))


def test_clear_padding_clears_even_nan() -> None:
    values = torch.full((1, 3, 2), torch.nan)
    values[0, 0] = 1.0
    assert clear_padding(values, torch.tensor([1])).tolist() == [[[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
