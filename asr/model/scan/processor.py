"""Asks Linux, PyTorch and oneDNN what this machine's processor can do.

PyTorch and oneDNN can be told to do without some of it, as if the processor were an older one: by ATEN_CPU_CAPABILITY
(default, avx2, avx512) and ONEDNN_MAX_CPU_ISA (SSE41, AVX2, AVX512_CORE, ...). What is said here follows both.
"""

import ctypes
import os
from functools import cache
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux lends the tiles of AMX to who asks for them.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
ONEDNN_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # the second is the name of old
# Values of these variables, each with what it leaves out.
WITHOUT_VNNI = {"SSE41", "AVX", "AVX2", "AVX512_CORE"}
WITHOUT_HALVES = WITHOUT_VNNI | {"AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE_VNNI"}
WITHOUT_TILES = WITHOUT_HALVES | {"AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512", "AVX10_2_512"}


@cache
def described() -> dict[str, str]:
    """Returns the lines of /proc/cpuinfo about the first processor: {"vendor_id": "GenuineIntel", "flags": ...}."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def has(*flags: str) -> bool:
    return set(flags) <= set(described().get("flags", "").split())


def is_intel() -> bool:
    return described().get("vendor_id") == "GenuineIntel"


def vectors() -> str:
    """Names the vectors that PyTorch computes with: DEFAULT, AVX2, AVX512, or others on processors that are not x86."""
    return torch.backends.cpu.get_cpu_capability()


def onednn_limit() -> str:
    """Returns the most that oneDNN is told to use, in capitals; empty where it may use everything."""
    return next((os.environ[name].upper() for name in ONEDNN_VARIABLES if os.environ.get(name)), "")


def has_halves() -> bool:
    """Says whether it multiplies bfloat16 numbers, so that they save time and not only space."""
    return vectors() == "AVX512" and has("avx512f", "avx512_bf16") and onednn_limit() not in WITHOUT_HALVES


def has_bytes() -> bool:
    """Says whether it multiplies integers of 8 bits (VNNI) with sums that do not overflow."""
    if onednn_limit() in WITHOUT_VNNI:
        return False
    return has("avx_vnni") or (vectors() == "AVX512" and has("avx512_vnni"))


def multiplies_bytes() -> bool:
    """Says whether products of 8-bit integers save time: by VNNI, or by AVX2 in ways that do not overflow."""
    return vectors() in ("AVX2", "AVX512") and "fbgemm" in torch.backends.quantized.supported_engines


def may_use_tiles() -> bool:
    """Says whether it multiplies tiles of bfloat16 (AMX) and Linux lets this process do so."""
    return has_halves() and onednn_limit() not in WITHOUT_TILES and has("amx_tile", "amx_bf16") and _is_lent_tiles()


@cache
def _is_lent_tiles() -> bool:
    request = ctypes.CDLL(None).syscall
    return request(ctypes.c_long(ARCH_PRCTL), ctypes.c_long(REQUEST_PERMISSION), ctypes.c_long(TILE_DATA)) == 0


def name() -> str:
    """Names the kind of processor for a user, such as "AVX512 with AMX" or "AVX2"."""
    if may_use_tiles():
        return f"{vectors()} with AMX"
    return f"{vectors()} with BF16" if has_halves() else vectors()
