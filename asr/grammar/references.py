"""Resolves a template's {lists} and <rules>, and counts how large a network they make before one is made."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from asr.grammar.file import GrammarError, ParsedFile, ParsedList, ParsedRange, ParsedTemplate, suggestion
from asr.grammar.form import Block

if TYPE_CHECKING:
    from hassil.expression import Expression, ListReference, RuleReference
    from hassil.expression import Sentence as Template

MAX_PERMUTED = 5  # parts of (a;b;c;d;e), which is 120 orders
MAX_NUMBERS = 10_000  # of a range
MAX_NODES = 200_000  # of a grammar's network
MAX_RULES = 40  # rules in rules
INLINE_RANGE = re.compile(r"(-?\d{1,12})\.\.(-?\d{1,12})(?:,(\d{1,12}))?")


@dataclass(frozen=True)
class Scope:
    """Says where a template stands, what it can refer to beside the global lists and rules, and which rules it is
    inside.
    """

    place: str
    block: Block
    lists: dict[str, ParsedList]
    rules: dict[str, Template]
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """A list's value, or a number: how it is said, what the slot gets, its weight, the context that it brings."""

    said: Expression | str
    value: Any
    weight: float = 1.0
    context: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class References:
    """The lists and expansion rules that a grammar's templates refer to; those of a scope come before these."""

    lists: dict[str, ParsedList]
    rules: dict[str, Template]
    language: str

    @classmethod
    def of(cls, file: ParsedFile) -> References:
        return cls(file.lists, file.rules, file.language)

    def rule(self, reference: RuleReference, scope: Scope) -> tuple[Template, Scope]:
        """Returns what a rule stands for, and the scope inside it."""
        name = reference.rule_name
        rules = scope.rules if name in scope.rules else self.rules
        if name not in rules:
            known = {**self.rules, **scope.rules}
            raise GrammarError(f"{scope.place}: no expansion rule <{name}>; {suggestion(name, known)}")
        if name in scope.inside:
            circle = " -> ".join(f"<{rule}>" for rule in (*scope.inside, name))
            raise GrammarError(f"{scope.place}: {circle} never ends; expected rules that do not refer to themselves")
        if len(scope.inside) >= MAX_RULES:
            raise GrammarError(f"{scope.place}: <{name}> is more than {MAX_RULES} rules deep; expected fewer")
        place = f"{scope.place}, in <{name}>" if len(scope.inside) < 3 else scope.place
        return rules[name], replace(scope, place=place, inside=(*scope.inside, name))

    def values(self, reference: ListReference, scope: Scope) -> Iterator[Said]:
        """Yields how each value is said, and what it means; those that the block's context excludes are left out."""
        values = self.list(reference, scope)
        if isinstance(values, ParsedRange):
            yield from self._numbers(reference.list_name, values, scope)
            return
        from hassil.util import check_excluded_context, check_required_context

        for value in values:
            required, excluded = scope.block.required, scope.block.excluded
            if required and not check_required_context(required, value.context, allow_missing_keys=True):
                continue
            if excluded and not check_excluded_context(excluded, value.context):
                continue
            out = self.first_way(value.said, scope).strip() if value.out is None else value.out
            yield Said(value.said, out, value.weight, tuple(value.context.items()))

    def list(self, reference: ListReference, scope: Scope) -> list[Any] | ParsedRange:
        """Returns the values that a {list} stands for, or its numbers."""
        name = reference.list_name
        inline = INLINE_RANGE.fullmatch(name)
        if inline and reference.slot_name != name:
            first, last, step = int(inline[1]), int(inline[2]), int(inline[3] or 1)
            if first > last or step < 1:
                raise GrammarError(f"{scope.place}: {{{name}}} has no numbers; expected {{1..9,2:slot}}")
            values: ParsedList = ParsedRange(first, last, step)
        elif name not in self.lists and name not in scope.lists:
            known = {**self.lists, **scope.lists}
            raise GrammarError(f"{scope.place}: no list {{{name}}}; {suggestion(name, known)}")
        else:
            values = scope.lists[name] if name in scope.lists else self.lists[name]
        if values is None:
            raise GrammarError(
                f"{scope.place}: list {{{name}}} is a wildcard, which any words match; expected values: [...], the "
                f"ones to speak"
            )
        if isinstance(values, ParsedRange) and values.size > MAX_NUMBERS:
            raise GrammarError(
                f"{scope.place}: list {{{name}}} has {values.size:,} numbers; expected at most {MAX_NUMBERS:,}; "
                f"shorten the range, or make its step longer"
            )
        return values

    def _numbers(self, name: str, numbers: ParsedRange, scope: Scope) -> Iterator[Said]:
        language = numbers.language or self.language
        factor = Decimal(1) if numbers.multiplier is None else Decimal(str(numbers.multiplier))
        try:
            for number in exact_numbers(numbers):
                for words in number_words(plain_number(number), language):
                    yield Said(words, plain_number(number * factor))
        except ValueError as error:
            raise GrammarError(
                f"{scope.place}: the numbers of {{{name}}} in language '{language}' ({error}); expected a language "
                f"that unicode-rbnf can spell numbers in, such as en"
            ) from error

    def first_way(self, expression: Expression, scope: Scope) -> str:
        """Returns what a slot gets of a value that says nothing about it: the first way to speak the value."""
        from hassil import expression as kinds
        from hassil.util import normalize_whitespace

        if isinstance(expression, kinds.TextChunk):
            return expression.original_text
        if isinstance(expression, kinds.ListReference):
            first = next(self.values(expression, scope), None)
            if first is None:
                return ""
            return first.said if isinstance(first.said, str) else self.first_way(first.said, scope)
        if isinstance(expression, kinds.RuleReference):
            template, inner = self.rule(expression, scope)
            return self.first_way(template.expression, inner)
        assert isinstance(expression, kinds.Group)
        if isinstance(expression, kinds.Alternative):
            return self.first_way(expression.items[0], scope)
        joined = normalize_whitespace("".join(self.first_way(item, scope) for item in expression.items))
        return joined.strip() if isinstance(expression, kinds.Permutation) else joined


def scope_of(file: ParsedFile, template: ParsedTemplate) -> Scope:
    return Scope(file.where(template.key), template.block, template.lists, template.rules)


class Sizes:
    """Counts the nodes that templates make, without making them; GrammarError names the rule that grows too large."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._known: dict[tuple[str, str, int], int] = {}

    def check(self, expression: Expression, scope: Scope) -> int:
        size = self._of(expression, scope)
        if size > MAX_NODES:
            raise GrammarError(
                f"{scope.place}: it makes a network of {_about(size)} nodes; expected at most {MAX_NODES:,}; write "
                f"fewer alternatives in it"
            )
        return size

    def _of(self, expression: Expression, scope: Scope) -> int:
        from hassil import expression as kinds

        if isinstance(expression, kinds.TextChunk):
            return 1
        if isinstance(expression, kinds.ListReference):
            return self._of_list(expression, scope)
        if isinstance(expression, kinds.RuleReference):
            return self._of_rule(expression, scope)
        assert isinstance(expression, kinds.Group)
        size = sum(1 + self._of(item, scope) for item in expression.items)
        if isinstance(expression, kinds.Permutation):
            num_parts = len(expression.items)
            if num_parts > MAX_PERMUTED:
                raise GrammarError(
                    f"{scope.place}: {num_parts} parts in any order; expected at most {MAX_PERMUTED}; write the orders "
                    f"that people use as alternatives"
                )
            size *= math.factorial(num_parts)
        return size

    def _of_list(self, reference: ListReference, scope: Scope) -> int:
        values = self._references.list(reference, scope)
        if isinstance(values, ParsedRange):
            return 3 * values.size
        key = ("list", reference.list_name, id(values))
        if key not in self._known:
            self._known[key] = sum(2 + self._of(value.said, scope) for value in values)
        return self._known[key]

    def _of_rule(self, reference: RuleReference, scope: Scope) -> int:
        template, inner = self._references.rule(reference, scope)
        key = ("rule", reference.rule_name, id(scope.rules) if scope.rules or scope.lists else 0)
        if key not in self._known:
            self._known[key] = size = 1 + self._of(template.expression, inner)
            if size > MAX_NODES:
                raise GrammarError(
                    f"{inner.place}: <{reference.rule_name}> makes a network of {_about(size)} nodes; expected at most "
                    f"{MAX_NODES:,} in a grammar; write fewer alternatives in it, or use it less often"
                )
        return self._known[key]


def _about(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"10^{len(str(number)) - 1}"


def exact_numbers(numbers: ParsedRange) -> Iterator[Decimal]:
    """Yields the numbers of a range as decimals, so that none is 0.30000000000000004."""
    steps = {None: [0], "halves": [0, 5], "tenths": range(10)}[numbers.fractions]
    for integer, tenths in itertools.product(range(numbers.first, numbers.last + 1, numbers.step), steps):
        yield integer + Decimal(tenths) / 10


def plain_number(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


@functools.lru_cache(2 * MAX_NUMBERS)
def number_words(number: float, language: str) -> tuple[str, ...]:
    """Returns the ways to say a number, the usual one first: 105 is "one hundred five" and "one hundred and five"."""
    from hassil.numbers import get_rbnf_engine

    engine = get_rbnf_engine(language)
    spoken = engine.format_number(number).text_by_ruleset
    verbose = "spellout-cardinal-verbose"
    if verbose in engine.rulesets:
        spoken = {**spoken, **engine.format_number(number, ruleset_names=[verbose]).text_by_ruleset}
    return tuple(dict.fromkeys(spoken[name].replace("\u00ad", "") for name in sorted(spoken)))
