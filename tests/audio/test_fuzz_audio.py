"""A few thousand damaged recordings through the decoding processes; tests/programs/fuzz_audio.py has done 100,000."""

import os

import pytest

from asr.audio.pool import Decoded
from asr.audio.reading import AudioError
from asr.audio.stretch import Stretch
from tests.programs.fuzz_audio import Fuzzed, damage, fuzz, write_sources

NUM_INPUTS = 3000
FIRST = 1_000_000  # others than those of the hundred thousand


@pytest.mark.slow
def test_damaged_recordings_have_samples_or_a_named_error() -> None:
    found = fuzz(NUM_INPUTS, seed=0, first=FIRST, num_processes=len(os.sched_getaffinity(0)))
    assert not found.faults
    assert found.num_inputs == NUM_INPUTS
    # Some of each, or the damage would be too little or too much to find anything.
    assert all(found.results[kind] > NUM_INPUTS // 100 for kind in ("read", "format", "truncated", "damaged"))


def test_an_input_is_always_the_same_bytes() -> None:
    sources = write_sources()
    assert damage(sources, 7, seed=0) == damage(sources, 7, seed=0)
    assert len({damage(sources, number, seed=seed) for number in range(5) for seed in range(2)}) == 10


def test_broken_promises_are_seen() -> None:
    found, request = Fuzzed(), Stretch("/a.wav")
    for error in (
        AudioError("/b.wav: truncated", kind="truncated"),
        AudioError("/a.wav: the decoder crashed on it (exit code 1)", kind="crash"),
        AudioError("/a.wav: no such file", kind="missing"),
    ):
        found.add(1, Decoded(request, error=error))
    found.add(2, Decoded(request))
    assert len(found.faults) == 4
    found.add(3, Decoded(request, error=AudioError("/a.wav: the decoder crashed on it (SIGSEGV)", kind="crash")))
    assert len(found.faults) == 4
