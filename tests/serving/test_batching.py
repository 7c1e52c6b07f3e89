"""The queue before the model: fair between sessions, batched, and whole where the recogniser fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="needs the extra serve")

from asr.serving.batching import Batcher, recognize_batch
from asr.serving.config import BatchingConfig
from asr.serving.metrics import Metrics
from asr.serving.refusal import Refusal
from asr.transcript import Transcript

RATE = 100


class Echo:
    """It says the first sample of each recording, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def transcripts(self, recordings: Sequence[np.ndarray]) -> list[Transcript]:
        first = [int(samples[0]) for samples in recordings]
        if len(recordings) > 1 and first[0] == first[-1] and len(recordings[-1]) <= len(recordings[0]):
            self.batches.append(first[:1])
        else:
            self.batches.append(first)
        if any(number >= 100 for number in first):
            raise RuntimeError(f"cannot: {first}")
        return [Transcript(str(number), 1.0, (), len(samples) / RATE) for number, samples in zip(first, recordings)]


def speech(number: int, seconds: float = 1.0) -> np.ndarray:
    return np.full(round(seconds * RATE), number, np.float32)


def answer(use: Callable[[Batcher], Awaitable[None]], **values: float) -> Echo:
    """The recogniser, after a queue before it was used."""

    async def run() -> Echo:
        config = BatchingConfig(**{"wait_ms": 20.0, **values})  # type: ignore[arg-type]
        batcher = Batcher(Echo(), sample_rate=RATE, config=config, metrics=Metrics())
        batcher.start()
        await use(batcher)
        await batcher.stop()
        assert isinstance(batcher.recognizer, Echo)
        return batcher.recognizer

    return asyncio.run(run())


def test_what_comes_together_is_one_batch_in_the_order_of_turns() -> None:
    async def use(batcher: Batcher) -> None:
        many = [batcher.submit("many", speech(number)) for number in range(1, 6)]
        single = batcher.submit("single", speech(9))
        assert [(await each).pred_text for each in [*many, single]] == ["1", "2", "3", "4", "5", "9"]

    assert answer(use).batches == [[1, 9, 2, 3, 4, 5]]


def test_a_session_with_many_does_not_stand_before_others() -> None:
    async def use(batcher: Batcher) -> None:
        many = [batcher.submit("many", speech(number)) for number in range(1, 7)]
        others = [batcher.submit(name, speech(7)) for name in "ab"]
        await asyncio.gather(*many, *others)

    batches = answer(use, size=3).batches
    assert batches[0] == [1, 7, 7]
    assert [number for batch in batches for number in batch] == [1, 7, 7, 2, 3, 4, 5, 6]


def test_a_batch_has_no_more_padded_seconds_than_it_may() -> None:
    async def use(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.submit(n, speech(n, seconds)) for n, seconds in enumerate([1, 1, 5, 1], 1)))

    assert answer(use, seconds=10.0).batches == [[1, 2], [3, 4]]


def test_one_alone_has_its_own_beginning_beside_it() -> None:
    class Alone(Echo):
        def transcripts(self, recordings: Sequence[np.ndarray]) -> list[Transcript]:
            assert [len(samples) for samples in recordings] == [900, 400]
            return super().transcripts(recordings)

    assert [each.pred_text for each in recognize_batch(Alone(), [speech(3, 9.0)]) if isinstance(each, Transcript)] == [
        "3"
    ]


def test_a_failure_costs_only_the_utterance_that_fails() -> None:
    async def use(batcher: Batcher) -> None:
        good, bad, other = (batcher.submit(number, speech(number)) for number in (1, 100, 3))
        assert (await good).pred_text == "1"
        assert (await other).pred_text == "3"
        with pytest.raises(RuntimeError, match="cannot"):
            await bad
        assert (await batcher.submit("x", speech(4))).pred_text == "4"

    answer(use)


def test_a_mistake_of_ours_reaches_whoever_waits_and_the_queue_goes_on() -> None:
    async def use(batcher: Batcher) -> None:
        with pytest.raises(ZeroDivisionError):
            await batcher.call("x", lambda: 1 // 0)
        assert await batcher.call("x", lambda: [1, 2]) == [1, 2]

    answer(use)


def test_calls_take_turns_with_utterances() -> None:
    async def use(batcher: Batcher) -> None:
        order: list[str] = []
        calls = [batcher.call("stream", lambda: order.append("call")) for _ in range(2)]
        await asyncio.gather(*calls, batcher.submit("file", speech(1)))
        assert order == ["call", "call"]

    assert answer(use).batches == [[1]]


def test_who_has_gone_is_not_recognised() -> None:
    async def use(batcher: Batcher) -> None:
        gone, there = batcher.submit("a", speech(1)), batcher.submit("b", speech(2))
        gone.cancel()
        assert (await there).pred_text == "2"
        assert batcher.num_waiting == 0

    assert answer(use).batches == [[2]]


def test_the_end_refuses_what_waits() -> None:
    async def use(batcher: Batcher) -> None:
        waiting = batcher.submit("a", speech(1))
        await batcher.stop()
        with pytest.raises(Refusal, match="server: stopping; expected another one"):
            await waiting

    answer(use, wait_ms=1000.0)


def test_the_expected_wait_grows_with_what_waits_and_ends_with_it() -> None:
    async def use(batcher: Batcher) -> None:
        waiting = [batcher.submit("a", speech(1, 10.0)) for _ in range(4)]
        assert batcher.expected_wait() == pytest.approx(2.0)
        await asyncio.gather(*waiting)
        assert batcher.expected_wait() == 0

    answer(use)
