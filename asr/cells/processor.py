"""What this machine's processor can do, as Linux says it."""

import ctypes
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux lends the tiles of AMX to who asks for them.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@cache
def described() -> dict[str, str]:
    """The lines of /proc/cpuinfo about the first processor, such as {"vendor_id": "GenuineIntel", "flags": ...}."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def has(*flags: str) -> bool:
    return set(flags) <= set(described().get("flags", "").split())


def is_intel() -> bool:
    return described().get("vendor_id") == "GenuineIntel"


def has_halves() -> bool:
    """Whether it multiplies bfloat16 numbers, so that they save time and not only space."""
    return has("avx512f", "avx512_bf16")


@cache
def may_use_tiles() -> bool:
    """Whether it multiplies tiles of bfloat16 (AMX) and Linux lets this process do so."""
    if not has("amx_tile", "amx_bf16"):
        return False
    request = ctypes.CDLL(None).syscall
    return request(ctypes.c_long(ARCH_PRCTL), ctypes.c_long(REQUEST_PERMISSION), ctypes.c_long(TILE_DATA)) == 0
