"""The last samples of a stream, by their numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asr.recognition.sample_buffer import SMALLEST, SampleBuffer


@given(st.lists(st.tuples(st.integers(0, 3 * SMALLEST), st.integers(-100, 3 * SMALLEST)), max_size=30))
def test_it_holds_what_was_not_forgotten(steps: list[tuple[int, int]]) -> None:
    buffer, end, start = SampleBuffer(), 0, 0
    for added, forgotten in steps:
        buffer.append(np.arange(end, end + added) % 1000.0)
        end += added
        start = min(end, max(start, start + forgotten))
        buffer.forget(start)
        assert (buffer.start, buffer.end) == (start, end)
        assert np.array_equal(buffer.view(start, end), np.arange(start, end) % 1000.0)


def test_its_room_follows_what_is_kept() -> None:
    buffer = SampleBuffer()
    buffer.append(np.zeros(100 * SMALLEST, np.float32))
    buffer.forget(buffer.end)
    for _ in range(300):
        buffer.append(np.zeros(1000, np.float32))
        buffer.forget(buffer.end - 500)
    assert len(buffer._room) == SMALLEST
