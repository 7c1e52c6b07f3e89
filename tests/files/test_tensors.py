"""Safetensors files of strangers: refused by name before memory is taken for them."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asr.files.tensors import TensorsError, read_shapes, read_tensors, shape_differences

REMEDY = "copy it again"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file({"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor([1, 2])}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_what_was_written_is_read(path: Path) -> None:
    assert read_shapes(path, remedy=REMEDY) == {"a": (2, 3), "n": (2,)}
    like = {"a": torch.zeros(2, 3, device="meta"), "n": torch.zeros(2, dtype=torch.long, device="meta")}
    assert torch.equal(read_tensors(path, remedy=REMEDY, like=like)["a"], torch.arange(6.0).reshape(2, 3))
    with pytest.raises(FileNotFoundError, match="none"):
        read_shapes(path.with_name("none"), remedy=REMEDY)


def test_other_names_shapes_and_types_are_refused(path: Path) -> None:
    like = {"a": torch.zeros(3, 2), "b": torch.zeros(1)}
    with pytest.raises(
        TensorsError, match=r"(?s)w\.safetensors: not the .* a: found \(2, 3\); expected \(3, 2\).*copy"
    ):
        read_tensors(path, remedy=REMEDY, like=like)
    with pytest.raises(TensorsError, match=r"w\.safetensors: n: numbers of type I64; expected torch.float32; copy it"):
        read_tensors(path, remedy=REMEDY, like={"a": torch.zeros(2, 3), "n": torch.zeros(2)})
    assert shape_differences({str(n): (n,) for n in range(30)}, {}).endswith("and 10 more")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    save_file({"layer.weight": torch.tensor([1.0, number]).half()}, tmp_path / "w")
    with pytest.raises(TensorsError, match=r"w: layer\.weight: 1 of 2 numbers are NaN or infinite; .*; copy it again"):
        read_tensors(tmp_path / "w", remedy=REMEDY)
    assert not bool(torch.isfinite(read_tensors(tmp_path / "w", remedy=REMEDY, is_finite=False)["layer.weight"]).all())


def test_numbers_whose_sum_overflows_are_finite(tmp_path: Path) -> None:
    save_file({"a": torch.full((9,), 60_000.0).half(), "b": torch.full((9,), 3e38)}, tmp_path / "w")
    assert set(read_tensors(tmp_path / "w", remedy=REMEDY)) == {"a", "b"}


def test_damaged_files_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode()
    bomb = len(header).to_bytes(8, "little") + header + bytes(4)
    for content in (whole[:-1], whole + b"x", whole[:8] + b"[" + whole[9:], bomb):
        path.write_bytes(content)
        with pytest.raises(TensorsError, match=rf"not a whole safetensors file of {len(content)} bytes \(.*\); copy"):
            read_tensors(path, remedy=REMEDY)
    for content in (b"", b"x"):
        path.write_bytes(content)
        with pytest.raises(TensorsError, match=re.escape("w.safetensors: not a whole safetensors file")):
            read_shapes(path, remedy=REMEDY)
    path.write_bytes(b"x" * 100)
    with pytest.raises(TensorsError, match=r"a header of .* bytes; expected a safetensors file with one of at most 16"):
        read_shapes(path, remedy=REMEDY)


HUGE = """
import resource, sys
from pathlib import Path
from tests.support.small_run import write_small_run
from asr.runs.recognizer import load_run
run = write_small_run(Path(sys.argv[1]))
path = run.config_path
path.write_text(path.read_text().replace("hidden_size: 12", "hidden_size: " + sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_run(run.path)
except ValueError as error:
    print(error)
print("grown", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("30000", r"model\.safetensors: not the weights of the model in config\.yaml:"),
        ("1000000000", r"config\.yaml: encoder\.cell\.hidden_size: found 1000000000; .*less than or equal to 65536"),
    ],
)
def test_a_network_larger_than_its_file_is_refused_before_there_is_memory_for_it(
    tmp_path: Path, size: str, message: str
) -> None:
    """Of 30,000 units, the weights of two layers would take 29 GB."""
    done = subprocess.run(
        [sys.executable, "-c", HUGE, str(tmp_path / "run"), size],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert re.search(message, done.stdout), done.stdout + done.stderr
    grown = int(done.stdout.split("grown ")[1]) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 200 << 20
