"""Lays sentence templates out as a network, with what is known of the context on the way."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from asr.grammar.file import GrammarError
from asr.grammar.grammar import Arc, Mark
from asr.grammar.references import MAX_NODES, References, Scope
from asr.text.normalization import normalize_transcript

if TYPE_CHECKING:
    from hassil.expression import Expression, ListReference, RuleReference

# What a sentence has brought so far, of what its block asks for: context keys and filled slots, with values as JSON.
Context = frozenset[tuple[str, str, str]]
Ends = dict[Context, int]  # a node for each context


class Builder:
    """Each `add` takes the nodes where an expression begins, by context, and gives those where it ends."""

    def __init__(self, references: References) -> None:
        self.arcs: list[list[Arc]] = [[]]
        self._references = references
        self._numbers: dict[int, int] = {}  # of each alternative, by the identity of its expression
        self._place = ""

    def node_after(self, source: int, mark: Mark | None = None, *, text: str = "", weight: float = 0.0) -> int:
        if len(self.arcs) > 2 * MAX_NODES:
            raise GrammarError(
                f"{self._place}: with it the network has more than {2 * MAX_NODES:,} nodes; expected fewer"
            )
        self.arcs.append([])
        target = len(self.arcs) - 1
        self.arcs[source].append(Arc(target, text, mark, weight))
        return target

    def join(self, ends: Sequence[int]) -> int:
        """Makes one new node after all of these."""
        self.arcs.append([])
        target = len(self.arcs) - 1
        for end in ends:
            self.arcs[end].append(Arc(target))
        return target

    def add_sentence(self, expression: Expression, start: int, scope: Scope) -> tuple[list[int], bool]:
        """Returns the nodes where sentences end, and whether some are left out for want of their context.

        GrammarError where a sentence can be without words, or none has the context that it requires.
        """
        self._place = scope.place
        ends = self.add(expression, {frozenset(): start}, scope)
        silent = {start}
        for node in range(start, len(self.arcs)):
            if node in silent:
                silent |= {arc.target for arc in self.arcs[node] if not normalize_transcript(arc.text)}
        if silent & set(ends.values()):
            raise GrammarError(
                f"{scope.place}: it has a sentence without words; expected one word at least; a template cannot be "
                f"optional as a whole"
            )
        kept = [(context, end) for context, end in ends.items() if _fits(context, scope)]
        if not kept:
            asked = ", ".join([*scope.block.requires_context, *scope.block.excludes_context])
            raise GrammarError(
                f"{scope.place}: no sentence has the context that its block asks for ({asked}); expected a list in it "
                f"whose values bring that, as in {{in: desk lamp, context: {{domain: light}}}}"
            )
        return [self._with_slots(end, context, scope) for context, end in kept], len(kept) < len(ends)

    def _with_slots(self, end: int, context: Context, scope: Scope) -> int:
        """Puts what the context holds into the slots that ask for it and have nothing from a list."""
        for slot, key in scope.block.slots_of_context.items():
            value = next((json.loads(text) for kind, name, text in context if (kind, name) == ("context", key)), None)
            if ("slot", slot, "") not in context and value is not None:
                end = self.node_after(end, Mark("context", key, slot=slot, value=value))
        return end

    def add(self, expression: Expression, starts: Ends, scope: Scope) -> Ends:
        from hassil import expression as kinds

        if isinstance(expression, kinds.TextChunk):
            text = expression.original_text
            return {each: self.node_after(node, text=text) for each, node in starts.items()} if text else starts
        if isinstance(expression, kinds.Sequence):
            return self._in_order(expression.items, starts, scope)
        if isinstance(expression, kinds.Alternative | kinds.Permutation):
            orders: Iterable[Sequence[Expression]] = [[item] for item in expression.items]
            if isinstance(expression, kinds.Permutation):
                orders = list(itertools.permutations(expression.items))
            return self._branches(expression, orders, starts, scope)
        if isinstance(expression, kinds.ListReference):
            return self._add_list(expression, starts, scope)
        assert isinstance(expression, kinds.RuleReference), f"hassil has no {type(expression).__name__}"
        return self._add_rule(expression, starts, scope)

    def _branches(
        self, expression: Expression, orders: Iterable[Sequence[Expression]], starts: Ends, scope: Scope
    ) -> Ends:
        name = f"alternative {self._numbers.setdefault(id(expression), len(self._numbers))}"
        found: dict[Context, list[int]] = {}
        for context, start in starts.items():
            for number, items in enumerate(orders):
                begin = self.node_after(start, Mark("branch", name, number))
                for reached, end in self._in_order(items, {context: begin}, scope).items():
                    found.setdefault(reached, []).append(end)
        return {context: self.join(ends) for context, ends in found.items()}

    def _in_order(self, items: Sequence[Expression], starts: Ends, scope: Scope) -> Ends:
        for item in items:
            starts = self.add(item, starts, scope)
        return starts

    def _add_rule(self, reference: RuleReference, starts: Ends, scope: Scope) -> Ends:
        template, inner = self._references.rule(reference, scope)
        mark = Mark("rule", reference.rule_name)
        begins = {context: self.node_after(start, mark) for context, start in starts.items()}
        return self.add(template.expression, begins, inner)

    def _add_list(self, reference: ListReference, starts: Ends, scope: Scope) -> Ends:
        name = reference.list_name
        slot = None if reference.is_capture else reference.slot_name  # {name:@kept} is no slot of the command
        found: dict[Context, list[int]] = {}
        for number, value in enumerate(self._references.values(reference, scope)):
            mark = Mark("value", name, number, slot=slot, value=value.value)
            for context, start in starts.items():
                begin = self.node_after(start, mark, weight=math.log(value.weight))
                inner = {_extended(context, slot, value.context, scope): begin}
                if isinstance(value.said, str):
                    ends = {each: self.node_after(begin, text=value.said) for each in inner}
                else:
                    ends = self.add(value.said, inner, scope)
                for reached, end in ends.items():
                    found.setdefault(reached, []).append(end)
        return {context: self.join(ends) for context, ends in found.items()}


def _extended(context: Context, slot: str | None, brought: Iterable[tuple[str, Any]], scope: Scope) -> Context:
    """Returns the context after a value: what matters to the block, the latest value of each key."""
    block = scope.block
    if not block.requires_context and not block.excludes_context:
        return context
    new = {("context", key): json.dumps(value) for key, value in brought}
    if slot is not None and slot in block.slots_of_context:
        new["slot", slot] = ""
    asked = {*block.requires_context, *block.excludes_context}
    before = {(kind, key): text for kind, key, text in context}
    after = before | {place: text for place, text in new.items() if place[0] == "slot" or place[1] in asked}
    return frozenset((kind, key, text) for (kind, key), text in after.items())


def _fits(context: Context, scope: Scope) -> bool:
    """Returns whether a sentence that brings this context may be said, as hassil's matcher decides at its end."""
    required, excluded = scope.block.required, scope.block.excluded
    if not required and not excluded:
        return True
    from hassil.util import check_excluded_context, check_required_context

    brought = {key: json.loads(text) for kind, key, text in context if kind == "context"}
    return check_required_context(required, brought) and check_excluded_context(excluded, brought)


def without_dead_ends(arcs: list[list[Arc]]) -> list[list[Arc]]:
    """Returns the network without the nodes that lead to no end of a sentence, such as those that lack a context."""
    alive = [False] * len(arcs)
    alive[-1] = True
    for node in range(len(arcs) - 2, -1, -1):
        alive[node] = any(alive[arc.target] for arc in arcs[node])
    if all(alive):
        return arcs
    numbers = {node: number for number, node in enumerate(node for node in range(len(arcs)) if alive[node])}
    return [
        [Arc(numbers[arc.target], arc.text, arc.mark, arc.weight) for arc in arcs[node] if alive[arc.target]]
        for node in numbers
    ]
