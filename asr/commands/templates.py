"""Sentence templates in Home Assistant's format, read through hassil into one network of all sentences.

    language: en
    intents:
      TurnOn:
        data:
          - sentences: ["(turn|switch) on [the] {area} light[s]"]
    lists:
      area:
        values: [kitchen, {in: "living room", out: lounge}]

`(a|b)` alternatives, `[a]` optional, `{area}` a list's value and a slot of the command, `<rule>` an expansion rule,
`(a;b)` either order. Numbers are in words, as they are spoken. `metadata: {weight: 3}` beside `sentences`, or in a
value, makes the search prefer these three times (the default is 1).
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asr.commands.grammar_file import GrammarError, read_grammar_file, suggestion
from asr.text import normalize_transcript

if TYPE_CHECKING:
    from hassil.expression import Expression, ListReference, RuleReference
    from hassil.expression import Sentence as Template
    from hassil.intents import SlotList

MAX_PERMUTED = 5  # parts of (a;b;c;d;e), which is 120 orders


@dataclass(frozen=True, slots=True)
class Mark:
    """A choice of the grammar that a sentence can make; equal marks are the same choice at another place."""

    kind: Literal["intent", "template", "rule", "value", "branch"]
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
class Grammar:
    """All sentences of a grammar: the texts along the paths from the first node to the last, joined.

    Arcs go from lower to higher nodes, so the network has no circle.
    """

    path: Path
    language: str
    digest: str  # SHA-256 of the file, in hex
    arcs: tuple[tuple[Arc, ...], ...]  # of each node; the last node has none
    slots: dict[tuple[str, int], dict[str, Any]]  # fixed slots, by intent and number of the template


def load_grammar(path: Path | str) -> Grammar:
    """Read a grammar; GrammarError, with file and line, where it is not one that sentences can be made of."""
    path = Path(path)
    parsed = read_grammar_file(path)
    builder = _Builder(References(parsed.lists, parsed.rules, parsed.language))
    slots = {}
    ends, faults = [], []
    for intent, templates in parsed.intents.items():
        start = builder.node_after(0, Mark("intent", intent))
        for number, template in enumerate(templates):
            begin = builder.node_after(start, Mark("template", intent, number), weight=math.log(template.weight))
            scope = Scope(parsed.where(template.key), template.lists, template.rules)
            try:
                ends.append(builder.add_sentence(template.sentence.expression, begin, scope))
            except GrammarError as error:
                faults.append(str(error))
            slots[intent, number] = template.slots
    if faults:
        raise GrammarError("\n".join(dict.fromkeys(faults)))
    builder.join(ends)
    return Grammar(
        path=path,
        language=parsed.language,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        arcs=tuple(tuple(arcs) for arcs in builder.arcs),
        slots=slots,
    )


@dataclass(frozen=True)
class Scope:
    """Where a template stands, what it can refer to beside the global lists and rules, and the rules it is inside."""

    place: str
    lists: dict[str, SlotList]
    rules: dict[str, Template]
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class References:
    """The lists and expansion rules that a grammar's templates refer to; those of a scope come before these."""

    lists: dict[str, SlotList]
    rules: dict[str, Template]
    language: str

    def rule(self, reference: RuleReference, scope: Scope) -> tuple[Template, Scope]:
        """What a rule stands for, and the scope inside it."""
        name = reference.rule_name
        known = {**self.rules, **scope.rules}
        if name not in known:
            raise GrammarError(f"{scope.place}: no expansion rule <{name}>; {suggestion(name, known)}")
        if name in scope.inside:
            circle = " -> ".join(f"<{rule}>" for rule in (*scope.inside, name))
            raise GrammarError(f"{scope.place}: {circle} never ends; expected rules that do not refer to themselves")
        place = f"{scope.place}, in <{name}>"
        return known[name], Scope(place, scope.lists, scope.rules, (*scope.inside, name))

    def values(self, reference: ListReference, scope: Scope) -> list[tuple[Expression | str, Any, float]]:
        """How each value is said (a template, or words), what the slot gets, and the value's weight."""
        from hassil.intents import RangeSlotList, TextSlotList

        name = reference.list_name
        inline = reference.get_inline_range()
        if inline:
            values = RangeSlotList(name=name, start=inline[0], stop=inline[1], step=inline[2])
        else:
            known = {**self.lists, **scope.lists}
            if name not in known:
                raise GrammarError(f"{scope.place}: no list {{{name}}}; {suggestion(name, known)}")
            values = known[name]
        if isinstance(values, TextSlotList) and values.values:
            return [
                (
                    value.text_in,
                    self._first_way(value.text_in, scope) if value.value_out is None else value.value_out,
                    (value.metadata or {}).get("weight", 1.0),
                )
                for value in values.values
            ]
        if isinstance(values, RangeSlotList):
            factor = 1 if values.multiplier is None else values.multiplier
            language = values.words_language or self.language
            try:
                return [
                    (words, number * factor, 1.0)
                    for number in values.get_numbers()
                    for words in number_words(number, language)
                ]
            except ValueError as error:
                raise GrammarError(
                    f"{scope.place}: the numbers of {{{name}}} in language '{language}' ({error}); expected a language "
                    f"that unicode-rbnf can spell numbers in, such as en"
                ) from error
        raise GrammarError(
            f"{scope.place}: list {{{name}}} is a wildcard, which any words match; expected values: [...], the ones to "
            f"speak"
        )

    def _first_way(self, expression: Expression, scope: Scope) -> str:
        """What a slot gets of a value that says nothing about it: the first way to speak the value."""
        from hassil.sample import sample_expression

        ways = sample_expression(expression, {**self.lists, **scope.lists}, {**self.rules, **scope.rules})
        return next(iter(ways)).strip()


class _Builder:
    """Lays the templates out as a network; each `add` gives the node where its expression ends."""

    def __init__(self, references: References) -> None:
        self.arcs: list[list[Arc]] = [[]]
        self._references = references
        self._numbers: dict[int, int] = {}  # of each alternative, by the identity of its expression

    def node_after(self, source: int, mark: Mark | None = None, *, text: str = "", weight: float = 0.0) -> int:
        self.arcs.append([])
        target = len(self.arcs) - 1
        self.arcs[source].append(Arc(target, text, mark, weight))
        return target

    def join(self, ends: Sequence[int]) -> int:
        """One new node after all of these."""
        self.arcs.append([])
        target = len(self.arcs) - 1
        for end in ends:
            self.arcs[end].append(Arc(target))
        return target

    def add_sentence(self, expression: Expression, start: int, scope: Scope) -> int:
        """As `add`; GrammarError where the sentence can be without words."""
        end = self.add(expression, start, scope)
        silent = {start}
        for node in range(start, end):
            if node in silent:
                silent |= {arc.target for arc in self.arcs[node] if not normalize_transcript(arc.text)}
        if end in silent:
            raise GrammarError(
                f"{scope.place}: it has a sentence without words; expected one word at least; a template cannot be "
                f"optional as a whole"
            )
        return end

    def add(self, expression: Expression, start: int, scope: Scope) -> int:
        from hassil import expression as kinds

        if isinstance(expression, kinds.TextChunk):
            return self.node_after(start, text=expression.original_text) if expression.original_text else start
        if isinstance(expression, kinds.Sequence):
            return self._in_order(expression.items, start, scope)
        if isinstance(expression, kinds.Alternative | kinds.Permutation):
            name = f"alternative {self._numbers.setdefault(id(expression), len(self._numbers))}"
            orders: Iterable[Sequence[Expression]] = [[item] for item in expression.items]
            if isinstance(expression, kinds.Permutation):
                if len(expression.items) > MAX_PERMUTED:
                    raise GrammarError(
                        f"{scope.place}: {len(expression.items)} parts in any order; expected at most {MAX_PERMUTED}; "
                        f"write the orders that people use as alternatives"
                    )
                orders = itertools.permutations(expression.items)
            return self.join(
                [
                    self._in_order(items, self.node_after(start, Mark("branch", name, number)), scope)
                    for number, items in enumerate(orders)
                ]
            )
        if isinstance(expression, kinds.ListReference):
            return self._add_list(expression, start, scope)
        assert isinstance(expression, kinds.RuleReference), f"hassil has no {type(expression).__name__}"
        return self._add_rule(expression, start, scope)

    def _in_order(self, items: Sequence[Expression], start: int, scope: Scope) -> int:
        for item in items:
            start = self.add(item, start, scope)
        return start

    def _add_rule(self, reference: RuleReference, start: int, scope: Scope) -> int:
        template, inner = self._references.rule(reference, scope)
        return self.add(template.expression, self.node_after(start, Mark("rule", reference.rule_name)), inner)

    def _add_list(self, reference: ListReference, start: int, scope: Scope) -> int:
        name, slot = reference.list_name, reference.slot_name
        ends = []
        for number, (expression, value, weight) in enumerate(self._references.values(reference, scope)):
            mark = Mark("value", name, number, slot=slot, value=value)
            begin = self.node_after(start, mark, weight=math.log(weight))
            ends.append(
                self.node_after(begin, text=expression)
                if isinstance(expression, str)
                else self.add(expression, begin, scope)
            )
        return self.join(ends)


def number_words(number: float, language: str) -> list[str]:
    """The ways to say a number, the usual one first: 105 is "one hundred five" and "one hundred and five"."""
    from hassil.numbers import get_rbnf_engine

    engine = get_rbnf_engine(language)
    spoken = engine.format_number(number).text_by_ruleset
    verbose = "spellout-cardinal-verbose"
    if verbose in engine.rulesets:
        spoken = {**spoken, **engine.format_number(number, ruleset_names=[verbose]).text_by_ruleset}
    return list(dict.fromkeys(spoken[name].replace("\u00ad", "") for name in sorted(spoken)))
