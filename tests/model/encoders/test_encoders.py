"""The encoder's contract, for every encoder, cell and direction: padding, order and neighbours change nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asr.config.reading import ConfigError
from asr.config.recognizer import load_config
from asr.model.cells import (
    CellConfig,
    ConvLSTMConfig,
    CoupledLSTMConfig,
    GRUConfig,
    LayerNormLSTMConfig,
    LightGRUConfig,
    LSTMConfig,
    PeepholeLSTMConfig,
    ProjectedLSTMConfig,
    RNNConfig,
)
from asr.model.encoders import EncoderConfig
from asr.model.encoders.conv_lstm import ConvLSTMEncoderConfig
from asr.model.encoders.pyramid import PyramidEncoderConfig, pair_frames
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.layers.directions import join_bands
from asr.model.layers.masking import clear_padding, reverse_within_length, valid_frames
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.layers.subsampling import ConvSubsamplingConfig
from tests.model.cells.test_cells import MEMBERS

NUM_MELS = 8
SUBSAMPLING = ConvSubsamplingConfig(num_channels=4, output_size=12)
SMALL = {"cell": LSTMConfig(hidden_size=6), "num_layers": 2, "dropout": 0.0}
CELLS: dict[str, CellConfig] = {
    "rnn": RNNConfig(hidden_size=6),
    "gru": GRUConfig(hidden_size=6, learnt_initial_state=True),
    "peephole_lstm": PeepholeLSTMConfig(hidden_size=6, zoneout=0.1),
    "coupled_lstm": CoupledLSTMConfig(hidden_size=6),
    "layer_norm_lstm": LayerNormLSTMConfig(hidden_size=6),
    "projected_lstm": ProjectedLSTMConfig(hidden_size=6, projection_size=3),
    "light_gru": LightGRUConfig(hidden_size=6),
    "conv_lstm": ConvLSTMConfig(hidden_size=2, num_bands=3),
}
CELLS |= {kind: cell for kind, cell in MEMBERS.items() if kind == cell.kind and kind not in (*CELLS, "lstm")}


def both_directions(name: str, config: Callable[..., EncoderConfig], **options: object) -> dict[str, EncoderConfig]:
    return {f"{way}{name}": config(bidirectional=way == "bi", **options) for way in ("bi", "uni_")}


ENCODERS: dict[str, EncoderConfig] = {
    **both_directions("lstm_x4", RecurrentEncoderConfig, subsampling=SUBSAMPLING, **SMALL),
    **both_directions(
        "lstm_x2", RecurrentEncoderConfig, subsampling=ConvSubsamplingConfig(factor=2, num_channels=3), **SMALL
    ),
    **both_directions("residual", RecurrentEncoderConfig, subsampling=SUBSAMPLING, residual=True, **SMALL),
    "look_ahead": RecurrentEncoderConfig(
        subsampling=SUBSAMPLING, bidirectional=False, layer_norm=False, look_ahead=2, **SMALL
    ),
    **both_directions("pyramid", PyramidEncoderConfig, cell=LSTMConfig(hidden_size=4), dropout=0.0),
    **both_directions(
        "pyramid_conv_lstm", PyramidEncoderConfig, cell=ConvLSTMConfig(hidden_size=2, num_bands=4), num_plain_layers=0
    ),
    **both_directions("conv_lstm_x4", ConvLSTMEncoderConfig, num_channels=3, kernel_size=1, projection_size=5, **SMALL),
    **both_directions("conv_lstm_x2", ConvLSTMEncoderConfig, factor=2, num_channels=2, num_layers=0, peepholes=True),
    **{
        name: config
        for kind, cell in CELLS.items()
        for name, config in both_directions(
            kind, RecurrentEncoderConfig, subsampling=SUBSAMPLING, cell=cell, num_layers=2
        ).items()
    },
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
    lengths = torch.arange(1, 20)
    encodings, shorter = encoder(torch.zeros(19, 19, NUM_MELS), lengths)
    assert shorter.tolist() == encoder.output_lengths(lengths).tolist()
    assert shorter.min() == 1
    assert shorter.max() == encodings.shape[1]


def test_gradients_do_not_flow_into_the_padding(config: EncoderConfig, generator) -> None:
    torch.manual_seed(0)
    encoder = config.build(NUM_MELS)
    features, lengths = ragged_batch(generator, (25, 6))
    features.requires_grad_()
    encodings, _ = encoder(features, lengths)
    (encodings * torch.randn(encodings.shape, generator=generator)).sum().backward()
    assert features.grad is not None
    assert features.grad[1, :6].any()
    assert not features.grad[1, 6:].any()
    learnt = {name: value.grad for name, value in encoder.named_parameters() if value.requires_grad}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in learnt.values())


def test_training_is_a_pure_function_of_the_seed(config: EncoderConfig, generator) -> None:
    values = config.model_dump()
    for cell in (values, values.get("cell", {})):
        cell |= {key: 0.3 for key in ("recurrent_dropout", "zoneout", "dropout") if key in cell}
    torch.manual_seed(0)
    encoder = type(config).model_validate(values).build(NUM_MELS).train()
    features, lengths = ragged_batch(generator, (25, 6))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(encoder(features, lengths)[0])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert not torch.equal(found[0], found[2])


def test_the_padded_bidirectional_layer_equals_a_packed_one(generator) -> None:
    """What SpeechBrain and ESPnet compute with pack_padded_sequence, to the same numbers."""
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


def test_frames_are_joined_band_by_band() -> None:
    left, right = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]])
    assert join_bands((left, right), 1).tolist() == [[[1, 2, 3, 4]]]
    assert join_bands((left, right), 2).tolist() == [[[1, 3, 2, 4]]]
    frames = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert pair_frames(frames, 1).tolist() == [[[1, 2], [3, 0]]]


def test_a_residual_layer_adds_its_input_where_the_widths_match(generator) -> None:
    config = RecurrentEncoderConfig(subsampling=SUBSAMPLING, bidirectional=False, residual=True, **SMALL)
    plain = config.model_copy(update={"residual": False}).build(NUM_MELS).eval()
    residual = config.build(NUM_MELS).eval()
    residual.load_state_dict(plain.state_dict())
    features, lengths = ragged_batch(generator, (9,))
    frames, short = plain.subsampling(features, lengths)
    for layer, norm in zip(plain.layers, plain.norms, strict=True):
        outputs = norm(layer(frames, short))
        frames = frames + outputs if layer.output_size == frames.shape[-1] else outputs
    assert [layer.output_size for layer in plain.layers] == [6, 6] != [plain.subsampling.output_size] * 2
    torch.testing.assert_close(residual(features, lengths)[0], frames)


def test_a_layer_draws_its_recurrent_dropout_from_the_generator_it_is_given(generator) -> None:
    layer = RecurrentLayer(LSTMConfig(hidden_size=8, recurrent_dropout=0.5), 3, bidirectional=True).train()
    inputs, lengths = torch.randn(2, 6, 3, generator=generator), torch.tensor([6, 4])
    first = layer(inputs, lengths, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(1)  # of no consequence
    torch.testing.assert_close(layer(inputs, lengths, generator=torch.Generator().manual_seed(5)), first)
    assert not torch.equal(layer(inputs, lengths, generator=torch.Generator().manual_seed(6)), first)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("{kind: recurrent, streaming: true}", "bidirectional encoder needs the end of an .* set bidirectional: "),
        ("{kind: recurrent, look_ahead: 3}", "look_ahead: 3 frames, but a bidirectional encoder sees the whole future"),
        ("{kind: recurrent, cell: {kind: conv_lstm, num_bands: 15}}", "15 bands do not divide the 256 values of a sub"),
        ("{kind: pyramid, cell: {kind: conv_lstm, num_bands: 7}}", "inputs of 20 features are no whole number of chan"),
        ("{kind: conv_lstm, kernel_size: 7}", "kernel_size: 7 is wider than the 5 bands .*; choose at most 5, or more"),
        ("{kind: conv_lstm, kernel_size: 4}", "kernel_size: 4 is even and has no middle band; choose 3 or 5"),
        ("{kind: pyramids}", "encoder.kind: found 'pyramids'; did you mean 'pyramid'"),
        ("{kind: transformer}", "found 'transformer'; expected one of recurrent, pyramid, conv_lstm"),
        ("{num_layers: 2}", "encoder.kind: missing; this key says which of the kinds it is"),
        ("{kind: recurrent, cell: {kind: lstmm}}", "encoder.cell.kind: found 'lstmm'; did you mean 'lstm'"),
        ("{kind: recurrent, bidirectional: false, streaming: true}", "normalization: 'utterance' needs the end of an"),
    ],
)  # fmt: skip
def test_encoders_that_cannot_be_are_refused_when_the_config_loads(tone_config, encoder: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tone_config, [f"encoder={encoder}"])
