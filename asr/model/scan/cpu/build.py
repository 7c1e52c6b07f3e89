"""Builds the compiled path of the scan: kernel.cpp with a cell's step, on first use, by the system's compiler.

The kernel is plain C++ behind ctypes, so it needs a compiler but neither PyTorch's headers nor its binary interface,
and calls into it leave Python's lock free. Built libraries lie in the user's cache, named by the digest of all that
went into them. Where none can be built, one notice says why and the plain loop in PyTorch takes its place. Set
EARSHOT_COMPILED_CELLS=0 to do without.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock
from platformdirs import user_cache_path

from asr.model.scan import processor
from asr.model.scan.choose import Problem
from asr.model.scan.cpu.source import step_header
from asr.model.scan.step import Program

NAMES = ("kernel.cpp", "rows.h", "halves.h", "bytes.h", "panels.h", "vectors.h")
SOURCES = [Path(__file__).with_name(name) for name in NAMES]
SWITCH = "EARSHOT_COMPILED_CELLS"
# Not GCC on Windows: it does not align its stack to vectors of 32 bytes there.
COMPILERS = ("clang++",) if sys.platform == "win32" else ("c++", "g++", "clang++")
LIBRARY_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
# By what PyTorch says that it runs by. Not -march=native, so that machines which share a home directory do not share
# code that one of them cannot run.
FLAGS_OF_CPU = {
    "AVX512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
    "DEFAULT": (),  # SSE2
}
X86_64, ARM64 = ("x86_64", "AMD64"), ("aarch64", "arm64", "ARM64")
FLAGS_OF_TYPE = {
    torch.float32: ("-O3", "-DSCALAR=float", "-DSTORED=float"),
    torch.float64: ("-O1", "-DSCALAR=double", "-DSTORED=double"),  # for proofs, not for speed
    torch.bfloat16: ("-O3", "-DSCALAR=float", "-DSTORED=Half", "-DHALVES", "-mavx512bf16"),
    torch.int8: ("-O3", "-DSCALAR=float", "-DSTORED=float", "-DBYTES"),  # of the recurrent weights; gates are float32
}
FLAGS_OF_VNNI = ("-mavx512vnni",)
FLAGS_OF_TILES = ("-mamx-tile", "-mamx-bf16")
FLAGS = (
    "-std=c++17",
    *(() if sys.platform == "win32" else ("-fPIC",)),
    "-shared",
    "-pthread",
    "-ffp-contract=fast",
    "-fno-math-errno",
)
COMPILER_SECONDS = 300


class KernelError(RuntimeError):
    """The kernel cannot be built or loaded on this machine; the message says why."""


class Arguments(ctypes.Structure):
    """Mirrors `Arguments` of kernel.cpp, field by field."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "time", "bands", "units", "recurrent", "taps")),
        *((name, ctypes.c_int64) for name in ("training", "reversed", "gate_stride", "output_stride")),
        ("noise_strides", ctypes.c_int64 * 4),
        ("lengths", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("inputs", "recurrent_weight", "projection", "weights", "mask", "noise")),
        ("initial", ctypes.c_void_p * 2),
        ("states", ctypes.c_void_p * 2),
        *((name, ctypes.c_void_p) for name in ("unprojected", "saved", "saved_for_row", "output_gradients")),
        ("last_gradients", ctypes.c_void_p * 2),
        *((name, ctypes.c_void_p) for name in ("input_gradients", "recurrent_gradients", "product_gradients")),
        ("initial_gradients", ctypes.c_void_p * 2),
        ("weight_gradients", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Loaded:
    """Holds what came of building and loading a kernel: its library, or why there is none."""

    library: ctypes.CDLL | None
    problem: Problem | None = None


@cache
def try_kernel(program: Program, stored: torch.dtype) -> Loaded:
    """Builds and loads the kernel of one cell's step for one type of gates; int8 stands for weights of 8 bits."""
    if os.environ.get(SWITCH, "1") == "0":
        return Loaded(None, Problem(f"{SWITCH}=0 is set", is_expected=True))
    has_it = {torch.bfloat16: processor.has_halves, torch.int8: processor.multiplies_bytes}
    if stored in has_it and not has_it[stored]():
        return Loaded(
            None, Problem(f"this processor ({processor.name()}) does not multiply {stored}", is_expected=True)
        )
    try:
        return Loaded(ctypes.CDLL(str(build_kernel(program, stored, cache_folder()))))
    except (KernelError, OSError) as error:
        return Loaded(None, Problem(str(error)))


@cache
def notice(message: str) -> None:
    """Says something once."""
    logging.getLogger(__name__).warning(message)


def cache_folder() -> Path:
    """Returns the folder for built kernels among this user's cached files, by the custom of the system.

    It is `$XDG_CACHE_HOME/earshot/kernels` or `~/.cache/earshot/kernels` on Linux. Raises KernelError where the user
    has no home.
    """
    folder = user_cache_path("earshot", appauthor=False)
    if not folder.is_absolute():
        raise KernelError(f"{folder}: not a whole path, for this user has no home folder; set XDG_CACHE_HOME")
    return folder / "kernels"


def build_kernel(program: Program, stored: torch.dtype, folder: Path) -> Path:
    """Builds the library of a step in `folder`, unless it is there; raises KernelError where that cannot be done."""
    command = [find_compiler(), *FLAGS, *cpu_flags(), *FLAGS_OF_TYPE[stored]]
    if stored == torch.bfloat16 and processor.may_use_tiles():
        command += FLAGS_OF_TILES
    if stored == torch.int8 and processor.vectors() == "AVX512" and processor.has_bytes():
        command += FLAGS_OF_VNNI
    header = step_header(program)
    texts = [*command, header, *(source.read_text() for source in SOURCES)]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]
    library = folder / f"cell-{digest}{LIBRARY_SUFFIX}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(folder)
    if library.exists():
        return library
    # Of two processes, one builds and the other then finds it built.
    with FileLock(folder / f"cell-{digest}.lock", thread_local=False):
        if not library.exists():
            compile_into(library, command, header)
    return library


def check_owner(folder: Path) -> None:
    """Refuses to load code from where another user could put it; on Windows a profile is its user's own."""
    if sys.platform == "win32":
        return
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise KernelError(f"{folder}: another user may write there; expected a folder of your own, mode 700")


def compile_into(library: Path, command: list[str], header: str) -> None:
    """Compiles beside `library` and moves the result there whole; raises KernelError with the compiler's first line."""
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
    """Returns the compiler's flags for the vectors that PyTorch uses here, so that both obey ATEN_CPU_CAPABILITY.

    Every ARM64 processor has NEON, and GCC uses it unasked; PyTorch's SVE is not used here.
    """
    machine = platform.machine()
    if machine in ARM64:
        return ()
    capability = torch.backends.cpu.get_cpu_capability()
    if machine not in X86_64 or capability not in FLAGS_OF_CPU:
        raise KernelError(f"this processor ({machine}, {capability}) is neither x86-64 nor ARM64")
    return FLAGS_OF_CPU[capability]


def call_kernel(library: ctypes.CDLL, direction: str, arguments: Sequence[Arguments]) -> None:
    """Runs `forward` or `backward` over all time, for a layer's one or two directions.

    The caller has checked shapes, types and contiguity.
    """
    count, threads = ctypes.c_int64(len(arguments)), ctypes.c_int64(torch.get_num_threads())
    find_function(library, direction)((Arguments * len(arguments))(*arguments), count, threads)


def find_function(library: ctypes.CDLL, name: str) -> Callable[..., None]:
    function = library[name]
    function.restype = None
    return function


def call_outer_product(library: ctypes.CDLL, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Returns left.T @ right for [row, column] and [row, inner] of one type; the values of a row lie side by side."""
    if left.shape[1] > right.shape[1]:  # it is faster with the wider one on the right
        return call_outer_product(library, right, left).T.contiguous()
    result = left.new_zeros(left.shape[1], right.shape[1])
    sizes = (ctypes.c_int64 * 5)(*left.shape, right.shape[1], left.stride(0), right.stride(0))
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (left, right, result))
    threads = ctypes.c_int64(torch.get_num_threads())
    find_function(library, "outer_product")(*pointers, sizes, threads)
    return result
