"""Makes what a household sounds like: each sound is samples made from a generator, at any level, none of it recorded.

    make(num_samples, sample_rate, rng) -> float32 [sample]

Each draws its own character anew: how often, how high, how long. They are no imitations to be listened to; they have
the strikes, bands, lines and modulations that speech has to be told from. A new sound is a function and a name below.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64

Samples = Float32[np.ndarray, " sample"]
Part = Float32[np.ndarray, " part_sample"]
Table = Float32[np.ndarray, " place"]  # of one period
Maker = Callable[[int, int, np.random.Generator], Samples]

HIGHEST = 0.45  # of the sample rate: nothing is made above it
TABLE_SIZE = 2048  # samples of one period
RING_SECONDS = 0.5  # the longest decay, 0.3 s to a thousandth of the energy, has died away nearly


def clatter(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Dishes, cutlery, doors: a few objects, each with its own tones, struck at random times, often in a row."""
    rings = [_ring(sample_rate, rng) for _ in range(rng.integers(1, 6))]
    sound = np.zeros(num_samples, np.float32)
    for start in _starts(num_samples / sample_rate, _log_uniform(rng, 0.7, 15.0), rng):
        amplitude = np.float32(math.exp(rng.normal(0.0, 0.7)))
        _add(sound, rings[rng.integers(len(rings))] * amplitude, round(start * sample_rate))
    return sound


def _ring(sample_rate: int, rng: np.random.Generator) -> Part:
    """One object, struck once: resonators of 1 to 9 kHz, or lower for what is large, that ring for 20 to 300 ms."""
    from scipy.signal import lfilter  # only who augments waits for it

    lowest = 1000.0 if rng.random() < 0.7 else 80.0
    longest = _log_uniform(rng, 0.02, 0.3)
    strike = np.zeros(round(RING_SECONDS * sample_rate), np.float32)
    contact = max(1, round(_log_uniform(rng, 0.0003, 0.004) * sample_rate))
    strike[:contact] = rng.standard_normal(contact, np.float32)
    ring = _log_uniform(rng, 0.01, 1.0) * strike
    for _ in range(rng.integers(3, 9)):
        hertz = _log_uniform(rng, lowest, min(9 * lowest, HIGHEST * sample_rate))
        decay = longest * rng.uniform(0.3, 1.0)  # a thousandth of the energy is left after it
        radius, angle = 10 ** (-1.5 / (decay * sample_rate)), 2 * math.pi * hertz / sample_rate
        gain = rng.uniform(0.1, 1.0) * math.sin(angle)
        poles = [1.0, -2 * radius * math.cos(angle), radius * radius]
        ring += np.asarray(lfilter([gain], poles, strike), np.float32)
    return ring


def water(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Running water, frying, rain: a band of noise that comes and goes, and a crackle of impulses in it."""
    steady = rng.standard_normal(num_samples, np.float32) * np.float32(rng.uniform(0.2, 1.0))
    crackles = rng.integers(
        num_samples, size=1 + rng.poisson(_log_uniform(rng, 20.0, 2000.0) * num_samples / sample_rate)
    )
    steady[crackles] += np.exp(rng.normal(0.0, 0.7, len(crackles))) * rng.choice((-4.0, 4.0), len(crackles))
    low = _log_uniform(rng, 100.0, 2000.0)
    high = _log_uniform(rng, min(2 * low, HIGHEST * sample_rate), HIGHEST * sample_rate)

    def gains(hertz: np.ndarray) -> np.ndarray:
        return (1 / (1 + (low / hertz) ** 4) / (1 + (hertz / high) ** 4)).astype(np.float32)

    flow = _wandering(num_samples, sample_rate, rng, rng.uniform(1, 12), rng.uniform(1, 6))
    return _filtered(steady, sample_rate, gains) * flow


def hum(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Mains at 50 or 60 Hz and their harmonics, or a motor whose speed drifts, with some noise of its bearings."""
    is_mains = rng.random() < 0.4
    hertz = float(rng.choice((50.0, 60.0))) if is_mains else _log_uniform(rng, 40.0, 500.0)
    drift = 0.02 if is_mains else rng.uniform(0.1, 3.0)
    pitch = np.float32(hertz) * _wandering(num_samples, sample_rate, rng, 1.0, drift)
    table = _table(hertz, sample_rate, rng, falloff=rng.uniform(0.5, 2.0), high=_log_uniform(rng, 500.0, 8000.0))
    tone = _played(table, pitch, sample_rate) * _wandering(num_samples, sample_rate, rng, rng.uniform(1, 20), 2.0)
    return tone + np.float32(rng.uniform(0, 0.3)) * _sloped_noise(num_samples, sample_rate, rng, rng.uniform(0, 2))


def fan(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Moving air, darker than white, that the blades chop 5 to 150 times a second, with a hum of the same rate."""
    air = _sloped_noise(num_samples, sample_rate, rng, rng.uniform(0.8, 2.5))
    rate = _log_uniform(rng, 5.0, 150.0)
    blades = np.float32(rate) * _wandering(num_samples, sample_rate, rng, 0.5, 0.3)
    chop = _played(_table(rate, sample_rate, rng, falloff=1.5, high=1000.0), blades, sample_rate)
    return air * (1 + np.float32(rng.uniform(0.1, 1.0)) * chop) + np.float32(rng.uniform(0.0, 0.5)) * chop


def music(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Chords and tunes of one instrument at a beat, each note with its decay, and sometimes a drum."""
    beat = 60 / _log_uniform(rng, 50.0, 200.0)
    scale = 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19]) / 12)
    lowest, decay, attack = _log_uniform(rng, 60, 600), _log_uniform(rng, 0.1, 1.5), _log_uniform(rng, 0.003, 0.08)
    table = _table(4 * lowest, sample_rate, rng, falloff=rng.uniform(0.5, 2.5), high=8000.0)
    most_notes, vibrato = rng.integers(1, 5), rng.uniform(0, 0.6)
    since = np.arange(max(1, round(min(2 * decay, 4 * beat) * sample_rate)), dtype=np.float32) / sample_rate
    envelope = np.minimum(since / attack, 1) * np.exp(-since / decay, dtype=np.float32)
    bend = 2 ** (vibrato / 12 * np.sin(2 * np.pi * rng.uniform(4, 7) * since, dtype=np.float32))
    drum = _burst(round(0.1 * sample_rate), rng) * np.float32(rng.uniform(0, 2) if rng.random() < 0.4 else 0)
    sound = np.zeros(num_samples, np.float32)
    for start in np.arange(-rng.uniform(0, beat), num_samples / sample_rate, beat):
        place = round(start * sample_rate)
        if rng.random() < 0.4:
            _add(sound, drum, place)
        for hertz in (lowest * rng.choice(scale, rng.integers(1, most_notes + 1), replace=False)).tolist():
            _add(sound, _played(table, hertz * bend, sample_rate) * envelope, place)
    return sound


def barks(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Dogs, cats, birds: bursts of 100 to 300 ms with harmonics, whose pitch falls, or now and then rises."""
    pitch, throat = _log_uniform(rng, 150.0, 2500.0), _log_uniform(rng, 500.0, 3000.0)
    table = _table(1.3 * pitch, sample_rate, rng, falloff=0.0, high=throat)
    roughness, seconds = rng.uniform(0.0, 0.8), rng.uniform(0.1, 0.3)
    end = _log_uniform(rng, 0.4, 0.9) if rng.random() < 0.8 else rng.uniform(1.0, 1.3)
    sound = np.zeros(num_samples, np.float32)
    for start in _starts(num_samples / sample_rate, _log_uniform(rng, 0.5, 3.0), rng):
        size = max(2, round(seconds * rng.uniform(0.8, 1.2) * sample_rate))
        progress = np.linspace(0, 1, size, dtype=np.float32)
        voice = _played(table, pitch * rng.uniform(0.9, 1.1) * end**progress, sample_rate)
        voice *= 1 + np.float32(roughness) * rng.standard_normal(size, np.float32)
        envelope = np.minimum(progress / 0.1, 1) * np.minimum((1 - progress) / 0.5, 1)
        _add(sound, voice * envelope * np.float32(math.exp(rng.normal(0, 0.3))), round(start * sample_rate))
    return sound


def beeps(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """An appliance or a telephone: a tone or two of 50 to 500 ms, again and again."""
    size = max(1, round(_log_uniform(rng, 0.05, 0.5) * sample_rate))
    edge = np.minimum(np.minimum(np.arange(size), size - 1 - np.arange(size)) / (0.005 * sample_rate), 1)
    tones = []
    for _ in range(rng.integers(1, 3)):
        hertz = _log_uniform(rng, 400.0, min(4000.0, HIGHEST * sample_rate))
        table = _table(hertz, sample_rate, rng, falloff=rng.uniform(1.0, 4.0), high=8000.0)
        tones.append(_played(table, np.full(size, hertz, np.float32), sample_rate) * edge.astype(np.float32))
    gap = size / sample_rate * rng.uniform(1.2, 4.0)
    sound = np.zeros(num_samples, np.float32)
    for number, start in enumerate(np.arange(-rng.uniform(0, gap), num_samples / sample_rate, gap)):
        _add(sound, tones[number % len(tones)], round(start * sample_rate))
    return sound


SOUNDS: dict[str, Maker] = {
    "clatter": clatter,
    "water": water,
    "hum": hum,
    "fan": fan,
    "music": music,
    "barks": barks,
    "beeps": beeps,
}


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly in octaves; `high` where it is below `low`, as a low sample rate may have it."""
    return math.exp(rng.uniform(math.log(min(low, high)), math.log(high)))


def _starts(seconds: float, rate: float, rng: np.random.Generator) -> Float64[np.ndarray, " start"]:
    """Times at which something happens, `rate` times a second on average, at least once, mostly in rows of a few."""
    number = 1 + rng.poisson(rate * seconds)
    rows = rng.uniform(0, seconds, max(1, round(number * rng.uniform(0.2, 1.0))))
    return np.clip(rng.choice(rows, number) + rng.exponential(0.15, number), 0, 0.99 * seconds)


def _add(sound: Samples, part: Part, start: int) -> None:
    """Add a part where it starts, as far as it lies inside."""
    inside = part[max(0, -start) : max(0, len(sound) - start)]
    sound[max(0, start) : max(0, start) + len(inside)] += inside


def _filtered(samples: Samples, sample_rate: int, gains: Callable[[np.ndarray], np.ndarray]) -> Samples:
    """Filtered round and round, by a gain for each frequency, in hertz and above 0."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = int(next_fast_len(len(samples), real=True))  # type: ignore
    hertz = np.maximum(np.arange(size // 2 + 1, dtype=np.float32) * (sample_rate / size), 1.0)
    return irfft(rfft(samples, size) * gains(hertz), size)[: len(samples)].astype(np.float32)  # type: ignore


def _sloped_noise(num_samples: int, sample_rate: int, rng: np.random.Generator, exponent: float) -> Samples:
    """Noise whose power falls as 1 / frequency^exponent from 60 Hz on, of root mean square 1."""
    white = rng.standard_normal(num_samples, np.float32)
    sloped = _filtered(white, sample_rate, lambda hertz: np.maximum(hertz, 60) ** np.float32(-exponent / 2))
    return sloped / np.sqrt(np.maximum(1e-12, np.mean(sloped * sloped)))


def _wandering(num_samples: int, sample_rate: int, rng: np.random.Generator, rate: float, spread_db: float) -> Samples:
    """A factor around 1 that wanders smoothly, `rate` turns a second, by so many decibels."""
    knots = rng.normal(0, spread_db, 2 + math.ceil(rate * num_samples / sample_rate))
    places = np.linspace(0, len(knots) - 1, num_samples)
    return 10 ** (np.interp(places, np.arange(len(knots)), knots).astype(np.float32) / 20)


def _burst(num_samples: int, rng: np.random.Generator) -> Samples:
    """A drum: noise that dies away."""
    fade = np.exp(np.linspace(0, -6, max(1, num_samples), dtype=np.float32))
    return rng.standard_normal(len(fade), np.float32) * fade


def _table(hertz: float, sample_rate: int, rng: np.random.Generator, *, falloff: float, high: float) -> Table:
    """One period of a tone of about `hertz`: harmonics that fall as 1 / number^falloff, and soon above `high`."""
    number = np.arange(1, TABLE_SIZE // 2 + 1)
    amplitudes = number**-falloff * rng.uniform(0.2, 1.0, len(number)) / (1 + (number * hertz / high) ** 4)
    amplitudes[1:][number[1:] * hertz > HIGHEST * sample_rate] = 0
    spectrum = np.concatenate([[0], amplitudes * np.exp(2j * np.pi * rng.random(len(number)))])
    table = np.fft.irfft(spectrum, TABLE_SIZE).astype(np.float32)
    return table / np.sqrt(np.mean(table * table))


def _played(table: Table, hertz: Samples, sample_rate: int) -> Samples:
    """The tone at a pitch that may change from sample to sample; each is the nearest of the table's."""
    phase = np.cumsum(hertz, dtype=np.float64) * (TABLE_SIZE / sample_rate)
    return table[phase.astype(np.int64) % TABLE_SIZE]
