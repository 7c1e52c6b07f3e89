"""Casts speakers into splits: nobody of dev or test is in train, nor a blend of them, nor another voice of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from data_prep.voices import Engine, SynthesisError, people_of

Voice = tuple[str, str]  # engine and speaker


@dataclass(frozen=True)
class ValueRange:
    """Whole numbers to draw evenly from, both ends among them."""

    low: int
    high: int

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high + 1))


@dataclass(frozen=True)
class Casting:
    """Says who speaks, and how."""

    speakers: Mapping[str, Mapping[str, tuple[str, ...]]]  # of each split, by engine; no two splits share one
    shares: Mapping[str, int]  # of the sentences, by engine, where a split has speakers of several
    accents: Mapping[str, Mapping[str, tuple[str, ...]]]  # by engine and speaker
    words_per_minute: ValueRange
    pitch: ValueRange


def choose_accents(engines: Mapping[str, Engine], wanted: str | None) -> dict[str, dict[str, tuple[str, ...]]]:
    """Returns the accents wanted, of each engine's speakers, with commas between them; some speakers may have none.

    All that a speaker has, where nothing is wanted. Raises SynthesisError for an accent that nobody has.
    """
    found = {
        name: {speaker: engine.accents_of(speaker) for family in engine.families() for speaker in family}
        for name, engine in engines.items()
    }
    if not wanted:
        return found
    there = dict.fromkeys(accent for of_engine in found.values() for each in of_engine.values() for accent in each)
    names = tuple(wanted.split(","))
    unknown = [accent for accent in names if accent not in there]
    if unknown:
        raise SynthesisError(f"--accents: '{unknown[0]}'; expected one or more of {','.join(there)}")
    return {
        name: {speaker: tuple(each for each in names if each in accents) for speaker, accents in of_engine.items()}
        for name, of_engine in found.items()
    }


def with_accents(
    speakers: Mapping[str, Mapping[str, tuple[str, ...]]],
    accents: Mapping[str, Mapping[str, tuple[str, ...]]],
    *,
    heard: Sequence[str],
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Returns the speakers of each split who have one of the accents.

    Raises SynthesisError where a split of those heard has nobody, or an engine of it nobody with such an accent.
    """
    chosen = {
        split: {
            name: tuple(each for each in names if accents[name][each]) for name, names in by_engine.items() if names
        }
        for split, by_engine in speakers.items()
    }
    for split in heard:
        if not chosen[split]:
            raise SynthesisError(
                f"{split}: no speaker is left; expected one at least; name fewer by --dev-voices and --test-voices, or "
                f"one more engine"
            )
        for name, names in chosen[split].items():
            if not names:
                raise SynthesisError(f"--accents: no speaker of {name} in {split} has one of them; expected others")
    return chosen


def cast_speakers(
    engine: Engine, *, num_dev: int, num_test: int, rng: np.random.Generator, keep: Set[str] = frozenset()
) -> dict[str, tuple[str, ...]]:
    """Speakers for each split, drawn; those that sound alike are all in train, and so are robots and those of `keep`.

    Blends are in train, but for those with a part in dev or test, which are left out. Raises SynthesisError where too
    few are left for train.
    """
    families, odd = engine.families(), engine.unlike_people() | keep
    single = [family[0] for family in families if len(family) == 1 and family[0] not in odd and "+" not in family[0]]
    if num_dev + num_test > len(single) // 2:
        raise SynthesisError(
            f"{num_dev} speakers for dev and {num_test} for test; expected at most {len(single) // 2} together, so "
            f"that as many are left to train on; ask for fewer (for none by --num-dev 0 --num-test 0), or name an "
            f"engine of more people first"
        )
    drawn = [single[place] for place in rng.permutation(len(single))[: num_dev + num_test]]
    held_out = frozenset(drawn)
    train = tuple(name for family in families for name in family if not held_out & {*_parts(name)})
    return {"train": train, "dev": tuple(drawn[:num_dev]), "test": tuple(drawn[num_dev:])}


def _parts(speaker: str) -> list[str]:
    return [speaker, *(part.partition("=")[0] for part in speaker.split("+"))]


def cast_all(
    engines: Mapping[str, Engine],
    *,
    num_dev: int,
    num_test: int,
    rng: np.random.Generator,
    named: Mapping[str, Sequence[str]] = {},
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Speakers for each split, by engine: dev and test hear the first engine, all others speak in train.

    The others have a few speakers each, too good to spare; a person whom the first engine shares with them is in train.
    For dev or test `named` may have ENGINE/SPEAKER of any engine in the place of those drawn; no one else who sounds
    like these or is made of them speaks at all. Raises SynthesisError as `cast_speakers`, and for names that are no
    speaker or are in both.
    """
    chosen = _named_voices(engines, named)
    held_out = frozenset(person for voices in chosen.values() for voice in voices for person in people_of(*voice))
    first, *others = engines
    there = {name: _left(name, engine, held_out, chosen) for name, engine in engines.items()}
    elsewhere = frozenset(person for name in others for each in there[name] for person in people_of(name, each))
    gone = {speaker for family in engines[first].families() for speaker in family} - set(there[first])
    kept = {speaker for speaker in there[first] if people_of(first, speaker) & elsewhere}
    cast = cast_speakers(
        engines[first],
        num_dev=0 if "dev" in chosen else num_dev,
        num_test=0 if "test" in chosen else num_test,
        rng=rng,
        keep=kept | gone,
    )
    speakers = {split: {first: tuple(each for each in names if each not in gone)} for split, names in cast.items()}
    speakers["train"] |= {name: there[name] for name in others}
    for split, voices in chosen.items():
        by_engine = dict.fromkeys(engine for engine, _ in voices)
        speakers[split] = {name: tuple(each for engine, each in voices if engine == name) for name in by_engine}
    return speakers


def _left(name: str, engine: Engine, held_out: Set[str], chosen: Mapping[str, Sequence[Voice]]) -> tuple[str, ...]:
    """Returns the speakers who are none of those held out, nor sound like one of them, nor are made of one."""
    named = {speaker for voices in chosen.values() for of_engine, speaker in voices if of_engine == name}
    return tuple(
        speaker
        for family in engine.families()
        if not named & set(family)
        for speaker in family
        if not people_of(name, speaker) & held_out
    )


def _named_voices(engines: Mapping[str, Engine], named: Mapping[str, Sequence[str]]) -> dict[str, list[Voice]]:
    """Returns the engine and speaker of each name. Raises SynthesisError for no speaker, and for one in two splits."""
    there = {
        f"{name}/{speaker}": (name, speaker)
        for name, engine in engines.items()
        for family in engine.families()
        for speaker in family
    }
    taken: dict[str, tuple[str, str]] = {}
    for split, names in named.items():
        for voice in names:
            if voice not in there:
                raise SynthesisError(f"--{split}-voices: no voice '{voice}'; expected one of {', '.join(there)}")
            for person in people_of(*there[voice]):
                other, place = taken.setdefault(person, (voice, split))
                if place != split:
                    raise SynthesisError(
                        f"--{split}-voices: {voice} is a voice of {place} too, as {other}; expected each person in "
                        f"one split; leave one of them out"
                    )
    return {split: [there[voice] for voice in names] for split, names in named.items()}
