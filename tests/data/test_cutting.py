from hypothesis import given
from hypothesis import strategies as st

from asr.data.cutting import cut_in_order, cut_longest_first

LENGTHS = st.lists(st.floats(0, 40), max_size=40)


@given(lengths=LENGTHS, most=st.floats(1, 100), size=st.integers(1, 8) | st.none())
def test_batches_keep_the_order_and_end_where_the_next_would_be_too_much(
    lengths: list[float], most: float, size: int | None
) -> None:
    batches = list(cut_in_order(enumerate(lengths), most=most, size=size))
    assert [place for batch in batches for place in batch] == list(range(len(lengths)))
    for batch, following in zip(batches, [*batches[1:], None]):
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or longest * len(batch) <= most
        assert size is None or len(batch) <= size
        if following is not None:
            longer = max(longest, lengths[following[0]])
            assert len(batch) == size or longer * (len(batch) + 1) > most


def test_the_longest_come_first_and_equal_ones_in_their_order() -> None:
    assert list(cut_longest_first([1.0, 3.0, 2.0, 3.0], most=600.0, size=3)) == [[1, 3, 2], [0]]
    assert list(cut_longest_first([200.0, 200.0, 200.0, 200.0, 10_000.0], most=600.0, size=99)) == [[4], [0, 1, 2], [3]]
    assert list(cut_longest_first([], most=1.0, size=1)) == []
