"""Orders as a stream, beside the same recordings as a folder job hears them, and a stream of hours:

    python -m tests.bench.live orders RUN GRAMMAR MANIFEST --number 40
    python -m tests.bench.live hours RUN GRAMMAR MANIFEST --hours 2

`orders` streams each recording in pieces of 20 ms and counts what is accepted: one command understood, its intent and
labelled slots right. Late is the time of the thread from the sample that ends the silence to the result. `hours` says
an order every few minutes, silence between, and watches what the process holds.
"""

import argparse
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from asr.audio.reading import read_stretch
from asr.data.manifest import Manifest, Utterance
from asr.recognition.stream import Event, Final, Rejected, Stream
from asr.recognizer import Recognizer, Transcription
from asr.understanding.values import same_value

PIECE_SECONDS = 0.02
NOISE = 0.0003  # deviation of the silence between orders: 70 dB below full scale


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("orders", "hours"))
    parser.add_argument("run", type=Path)
    parser.add_argument("grammar", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--number", type=int, default=40, help="recordings, spread over the manifest")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--minutes-apart", type=float, default=4.0, help="between two orders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognizer = Recognizer.load(options.run, commands=options.grammar)
    items = list(Manifest.read(options.manifest))
    items = items[:: max(1, len(items) // options.number)][: options.number]
    if options.what == "orders":
        measure_orders(recognizer, items)
    else:
        measure_hours(recognizer, items, hours=options.hours, minutes_apart=options.minutes_apart)


def samples_of(item: Utterance, recognizer: Recognizer) -> np.ndarray:
    return read_stretch(item.stretch, sample_rate=recognizer.feature_config.sample_rate)


def is_right(item: Utterance, result: Transcription) -> bool:
    command = result.command
    assert command is not None
    slots = item.extra["slots"]
    return command.intent == item.extra["intent"] and all(
        same_value(command.slots.get(name), value) for name, value in slots.items()
    )


def heard(stream: Stream, samples: np.ndarray) -> Iterator[tuple[Event, float, float]]:
    """Events, each with the thread's seconds and those of the clock that its piece took."""
    size = round(PIECE_SECONDS * stream.sample_rate)
    for start in range(0, len(samples), size):
        begun, clock = time.thread_time(), time.perf_counter()
        events = stream.push(samples[start : start + size])
        took = time.thread_time() - begun, time.perf_counter() - clock
        yield from ((event, *took) for event in events)
    yield from ((event, 0.0, 0.0) for event in stream.finish())


def measure_orders(recognizer: Recognizer, items: list[Utterance]) -> None:
    late, late_by_clock, kept = [], [], []
    reasons: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    total, begun = 0.0, time.thread_time()
    for item in items:
        samples = samples_of(item, recognizer)
        total += len(samples) / recognizer.feature_config.sample_rate
        finals, words = [], ()
        for event, took, by_clock in heard(recognizer.stream(), samples):
            if isinstance(event, Final | Rejected):
                if event.reason != "finished":
                    late.append(took)
                    late_by_clock.append(by_clock)
                finals += [event] if isinstance(event, Final) else []
                counts["rejected"] += isinstance(event, Rejected)
                reasons[event.reason] += 1
                kept += [(words, tuple(event.result.text.split()))] if isinstance(event, Final) else []
            elif hasattr(event, "words"):
                words = event.words[: event.num_stable]
        live = len(finals) == 1 and is_right(item, finals[0].result)
        whole = is_right(item, recognizer.transcribe(samples, sample_rate=recognizer.feature_config.sample_rate))
        counts["live"] += live
        counts["whole"] += whole
        counts["several"] += len(finals) > 1
        counts["none"] += not finals
        if live != whole:
            print(f"{item.id}: live {live}, whole {whole}; {[each.result.text for each in finals]}")
    share = (time.thread_time() - begun) / total
    stable = sum(final[: len(words)] == words for words, final in kept)
    print(
        f"{len(items)} recordings, {total:.0f} s: accepted live {counts['live']}, as whole recordings {counts['whole']}"
    )
    print(
        f"without a command {counts['none']}, with several {counts['several']}, segments rejected {counts['rejected']}"
    )
    print(f"segments ended by {dict(reasons)}; the last stable words were right in {stable} of {len(kept)}")
    for name, seconds in (("thread", late), ("clock", late_by_clock)):
        middle, high, most = np.percentile(np.array(seconds) * 1000, [50, 95, 100])
        print(f"late by the {name}, ms: p50 {middle:.0f}, p95 {high:.0f}, most {most:.0f}")
    print(f"time of the thread for a second of audio, whole recordings included: {share:.3f} s")


def measure_hours(recognizer: Recognizer, items: list[Utterance], *, hours: float, minutes_apart: float) -> None:
    rate = recognizer.feature_config.sample_rate
    generator = np.random.default_rng(0)
    silence = (NOISE * generator.standard_normal(round(minutes_apart * 60 * rate))).astype(np.float32)
    orders = itertools.cycle([samples_of(item, recognizer) for item in items])
    stream, number, counts, held = recognizer.stream(), 0, Counter(), []
    begun = time.thread_time()
    while stream.seconds < hours * 3600:
        for samples in (next(orders), silence):
            for event, _, _ in heard_without_end(stream, samples):
                counts[type(event).__name__] += 1
        number += 1
        held.append(resident())
        if number in (1, 2, 5) or number % 10 == 0:
            print(f"{stream.seconds / 3600:.2f} h, {number} orders: {held[-1]:.1f} MB", flush=True)
    print(
        f"{stream.seconds / 3600:.2f} h, {number} orders, {dict(counts)}: {time.thread_time() - begun:.0f} s of a core"
    )
    print(f"held after 5 orders {held[4]:.1f} MB, at the end {held[-1]:.1f} MB: {held[-1] / held[4] - 1:+.2%}")


def heard_without_end(stream: Stream, samples: np.ndarray) -> Iterator[tuple[Event, float, float]]:
    for start in range(0, len(samples), 1600):
        yield from ((event, 0.0, 0.0) for event in stream.push(samples[start : start + 1600]))


def resident() -> float:
    """Returns the process's resident memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
