"""The operators of PyTorch that nothing promises are there and do what they did; these tests run before all others."""

import pytest
import torch

from asr.operators import private as operators
from asr.operators.private import OperatorError, find_operator

LEFT, RIGHT = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
NAMES = [value for name, value in vars(operators).items() if name.isupper()]


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_has_the_operator(name: str) -> None:
    if name.startswith("torch.ops.mkldnn") and not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch is built without oneDNN")
    assert callable(find_operator(name))


def test_an_operator_that_is_missing_is_named() -> None:
    with pytest.raises(OperatorError, match=r"torch\.ops\.mkldnn\._no_such: not in PyTorch .*; expected PyTorch 2\.11"):
        find_operator("torch.ops.mkldnn._no_such")


def test_products_by_onednn() -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch is built without oneDNN")
    product = find_operator(operators.ONEDNN_PRODUCT)
    assert product(LEFT, RIGHT, None, "none", [], "").tolist() == [[11.0, 17.0]]
    assert product(LEFT, RIGHT, torch.tensor([1.0, 2.0]), "none", [], "").tolist() == [[12.0, 19.0]]


def test_weighted_means_of_many() -> None:
    given = [torch.tensor([0.0, 4.0]), torch.tensor([8.0])]
    find_operator(operators.LERP_OF_MANY)(given, [torch.tensor([4.0, 0.0]), torch.tensor([0.0])], 0.25)
    assert [each.tolist() for each in given] == [[1.0, 3.0], [6.0]]


def test_an_lstm_layer() -> None:
    """By a weight of zero, gates are half open: the cell is half of what it was."""
    weights = [torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4), torch.zeros(4)]
    state = [torch.zeros(1, 1, 1), torch.ones(1, 1, 1)]
    outputs, _, cell = find_operator(operators.LSTM_LAYER)(
        torch.ones(1, 2, 1), state, weights, True, 1, 0.0, False, False, True
    )
    torch.testing.assert_close(cell, torch.full((1, 1, 1), 0.25))
    torch.testing.assert_close(outputs[0, 1, 0], 0.5 * torch.tensor(0.25).tanh())


def test_products_of_bytes() -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this PyTorch is built without FBGEMM")
    weight = torch.quantize_per_channel(
        RIGHT, torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64), 0, torch.qint8
    )
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        packed = find_operator(operators.PACK_BYTES)(weight, None)
    finally:
        torch.backends.quantized.engine = engine
    assert find_operator(operators.BYTES_PRODUCT)(LEFT, 1.0, 64, packed).tolist() == [[11.0, 17.0]]
