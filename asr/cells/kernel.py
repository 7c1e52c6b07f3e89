"""The compiled path of the scan: kernel.cpp with a cell's step, built on first use by the system's compiler.

The kernel is plain C++ behind ctypes, so it needs a compiler but neither PyTorch's headers nor its binary interface,
and calls into it leave Python's lock free. Built libraries lie in the user's cache, named by the digest of all that
went into them. Where none can be built, one notice says why and the loop in PyTorch takes its place. Set
EARSHOT_COMPILED_CELLS=0 to do without.
"""

import ctypes
import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch

from asr.cells import processor
from asr.cells.pointwise import Program
from asr.cells.step_source import step_header

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernel.cpp", "rows.h", "halves.h", "panels.h", "vectors.h"))
SWITCH = "EARSHOT_COMPILED_CELLS"
COMPILERS = ("c++", "g++", "clang++")
# Not -march=native, so that machines which share a home directory do not share code that one of them cannot run.
FLAGS_OF_CPU = {
    "AVX512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
FLAG_OF_HALVES = "-mavx512bf16"
FLAGS_OF_TILES = ("-mamx-tile", "-mamx-bf16")
FLAGS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
COMPILER_SECONDS = 300


class KernelError(RuntimeError):
    """The kernel cannot be built or loaded on this machine; the message says why."""


class Arguments(ctypes.Structure):
    """`Arguments` of kernel.cpp, field by field."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "time", "bands", "units", "recurrent", "taps")),
        *((name, ctypes.c_int64) for name in ("training", "reversed", "gate_stride", "output_stride")),
        ("noise_strides", ctypes.c_int64 * 4),
        ("lengths", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("inputs", "recurrent_weight", "projection", "weights", "mask", "noise")),
        ("initial", ctypes.c_void_p * 2),
        ("states", ctypes.c_void_p * 2),
        *((name, ctypes.c_void_p) for name in ("unprojected", "saved", "output_gradients")),
        ("last_gradients", ctypes.c_void_p * 2),
        *((name, ctypes.c_void_p) for name in ("input_gradients", "recurrent_gradients", "product_gradients")),
        ("initial_gradients", ctypes.c_void_p * 2),
        ("weight_gradients", ctypes.c_void_p),
    )


@cache
def load_kernel(program: Program) -> ctypes.CDLL | None:
    """The library of one cell's step, or None, with a notice, where this machine cannot build or run it."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return ctypes.CDLL(str(build_kernel(program, cache_folder())))
    except (KernelError, OSError) as error:
        notice(f"compiled cells: {error}; cells run in PyTorch, more slowly")
        return None


@cache
def notice(message: str) -> None:
    """Say something once."""
    logging.getLogger(__name__).warning(message)


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "earshot" / "kernels"


def build_kernel(program: Program, folder: Path) -> Path:
    """Build the library of a step in `folder`, unless it is there; raises KernelError where that cannot be done."""
    command = [find_compiler(), *FLAGS, *cpu_flags()]
    header = step_header(program)
    texts = [*command, header, *(source.read_text() for source in SOURCES)]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]
    library = folder / f"cell-{digest}.so"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(folder)
    if library.exists():
        return library
    with (folder / f"cell-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two processes, one builds and the other then finds it built
        if not library.exists():
            compile_into(library, command, header)
    return library


def check_owner(folder: Path) -> None:
    """Refuse to load code from where another user could put it."""
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise KernelError(f"{folder}: another user may write there; expected a folder of your own, mode 700")


def compile_into(library: Path, command: list[str], header: str) -> None:
    """Compile beside `library` and move the result there whole; raises KernelError with the compiler's first line."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        (Path(folder) / "step.h").write_text(header)
        built = Path(folder) / library.name
        try:
            result = subprocess.run(
                [*command, f"-I{folder}", f"-I{SOURCES[0].parent}", str(SOURCES[0]), "-o", str(built)],
                capture_output=True, text=True, timeout=COMPILER_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise KernelError(f"{command[0]}: still busy after {COMPILER_SECONDS} s") from error
        if result.returncode != 0:
            complaint = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr[:200])
            raise KernelError(f"{command[0]} failed: {complaint.strip()}")
        built.replace(library)


def find_compiler() -> str:
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else COMPILERS:
        path = shutil.which(name)
        if path:
            return path
    raise KernelError(f"no C++ compiler ({wanted or ', '.join(COMPILERS)}) on the path")


def cpu_flags() -> tuple[str, ...]:
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in FLAGS_OF_CPU:
        raise KernelError(f"this processor ({capability}) has neither AVX2 nor AVX-512")
    flags = FLAGS_OF_CPU[capability]
    if capability == "AVX512" and processor.has_halves():
        flags = (*flags, FLAG_OF_HALVES, *(FLAGS_OF_TILES if processor.may_use_tiles() else ()))
    return flags


NAMES = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "half"}


def find_function(library: ctypes.CDLL, name: str, dtype: torch.dtype) -> Callable[..., None]:
    function = library[f"{name}_{NAMES[dtype]}"]
    function.restype = None
    return function


def has_half_kernel(library: ctypes.CDLL) -> bool:
    """Whether the kernel can keep and multiply what it need not sum in bfloat16, on this processor."""
    return hasattr(library, "forward_half")


def call_kernel(library: ctypes.CDLL, direction: str, stored: torch.dtype, arguments: Sequence[Arguments]) -> None:
    """Run `forward` or `backward` over all time, for a layer's one or two directions.

    The caller has checked shapes, types and contiguity; `stored` is the type of the gates.
    """
    threads = ctypes.c_int64(torch.get_num_threads())
    count = len(arguments)
    find_function(library, direction, stored)((Arguments * count)(*arguments), ctypes.c_int64(count), threads)


def call_outer_product(library: ctypes.CDLL, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left.T @ right for [row, column] and [row, inner] of one type; the values of a row lie side by side."""
    result = left.new_zeros(left.shape[1], right.shape[1])
    sizes = (ctypes.c_int64 * 5)(*left.shape, right.shape[1], left.stride(0), right.stride(0))
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (left, right, result))
    threads = ctypes.c_int64(torch.get_num_threads())
    find_function(library, "outer_product", left.dtype)(*pointers, sizes, threads)
    return result
