"""A grammar as one network of texts, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Mark:
    """A choice of the grammar that a sentence can make; equal marks are the same choice at another place."""

    kind: Literal["intent", "template", "rule", "value", "branch", "context"]
    name: str
    number: int = 0  # of the value, or of the branch
    slot: str | None = None
    value: str | int | float | bool | None = None  # what the slot gets


@dataclass(frozen=True, slots=True)
class Arc:
    """Text on the way from one node of the network to another; text may be empty, or part of a word."""

    target: int
    text: str = ""
    mark: Mark | None = None
    weight: float = 0.0  # natural logarithm of the weight that the file gives this choice


@dataclass(frozen=True)
class TemplateFacts:
    """Holds what a file says beside a template."""

    place: str  # file, line and key, for an error
    slots: dict[str, Any]  # that have the same value in each of its sentences
    response: str | None = None  # key of an assistant's answer, for it to look up
    metadata: dict[str, Any] | None = None  # for whoever gets the result
    is_partial: bool = False  # some of its sentences lack the context that they require, and cannot be said


@dataclass(frozen=True)
class OwnPronunciation:
    """A word with the ways in which the grammar's file says that it is pronounced."""

    word: str
    ways: tuple[str, ...]  # each is IPA between slashes, or words that sound alike
    place: str  # file, line and key, for an error


@dataclass(frozen=True)
class Grammar:
    """All sentences of a grammar: the texts along the paths from the first node to the last, joined.

    Arcs go from lower to higher nodes, so the network has no circle.
    """

    path: Path
    language: str
    digest: str  # SHA-256 of the file, in hex
    arcs: tuple[tuple[Arc, ...], ...]  # of each node; the last node has none
    templates: dict[tuple[str, int], TemplateFacts]  # by intent and number of the template
    skip_words: tuple[tuple[str, ...], ...] = ()  # each may stand before any word, and at the end
    prior: float = 0.0  # how much the ways of each choice share its probability: asr/grammar/prior.py
    pronunciations: tuple[OwnPronunciation, ...] = ()  # of words that eSpeak NG gets wrong

    @cached_property
    def slots(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Fixed slots, by intent and number of the template."""
        return {key: facts.slots for key, facts in self.templates.items()}


def language_fault(grammar: Grammar, tokenizer: object) -> str | None:
    """Why a tokenizer cannot spell the grammar's words: its phonemes are those of another language."""
    spoken = getattr(tokenizer, "language", None)
    if spoken is None or spoken.lower().partition("-")[0] == grammar.language.lower().partition("-")[0]:
        return None
    return (
        f"{grammar.path}: a grammar in language '{grammar.language}', but the model's phonemes are those of "
        f"'{spoken}'; expected a grammar in that language, or a model trained with tokenizer.language="
        f"{grammar.language}"
    )
