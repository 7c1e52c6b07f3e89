"""The sentences of a grammar that mean what a label says: what a recording may be the recording of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asr.grammar.file import suggestion
from asr.grammar.grammar import Arc, Grammar, Mark
from asr.understanding.values import same_value

_State = tuple[int, frozenset[str]]  # a node of the network, and the labelled slots that have their value there


class NoSentenceError(ValueError):
    """A label that no sentence of the grammar has."""


def constrain(grammar: Grammar, *, intent: str, slots: Mapping[str, Any]) -> Grammar:
    """The grammar with those sentences alone that can mean this intent with exactly these slots.

    The network's nodes are multiplied by the slots that are right so far; what leads to no such sentence is left out.
    Raises NoSentenceError where there is no such sentence.
    """
    end: _State = (len(grammar.arcs) - 1, frozenset(slots))
    leaving: dict[_State, list[tuple[Arc, _State]]] = {}
    pending: list[set[frozenset[str]]] = [set() for _ in grammar.arcs]
    pending[0].add(frozenset())
    for node, arcs in enumerate(grammar.arcs):
        for found in pending[node]:
            steps = leaving[node, found] = []
            for arc in arcs:
                after = _after(found, arc.mark, grammar, intent=intent, slots=slots)
                if after is not None:
                    pending[arc.target].add(after)
                    steps.append((arc, (arc.target, after)))
    useful = {end} if end in leaving else set()
    for state in sorted(leaving, key=lambda state: -state[0]):
        if any(target in useful for _, target in leaving[state]):
            useful.add(state)
    if (0, frozenset()) not in useful:
        raise NoSentenceError(_fault(grammar, intent, slots))
    ordered = sorted(useful, key=lambda state: (state[0], sorted(state[1])))
    numbers = {state: number for number, state in enumerate(ordered)}
    return replace(
        grammar,
        arcs=tuple(
            tuple(replace(arc, target=numbers[target]) for arc, target in leaving[state] if target in useful)
            for state in ordered
        ),
    )


def _after(
    found: frozenset[str], mark: Mark | None, grammar: Grammar, *, intent: str, slots: Mapping[str, Any]
) -> frozenset[str] | None:
    """The slots that are right after a choice of the grammar; None where the label rules it out.

    A slot that is filled twice has its last value, as for the parser.
    """
    if mark is None:
        return found
    if mark.kind == "intent":
        return found if mark.name == intent else None
    if mark.kind == "template":
        fixed = grammar.slots[mark.name, mark.number]
        if not fixed.keys() <= slots.keys():
            return None
        return frozenset(slot for slot, value in fixed.items() if same_value(value, slots[slot]))
    if mark.slot is None:
        return found
    if mark.slot not in slots:
        return None
    return found | {mark.slot} if same_value(mark.value, slots[mark.slot]) else found - {mark.slot}


def _fault(grammar: Grammar, intent: str, slots: Mapping[str, Any]) -> str:
    label = f"{intent} {json.dumps(dict(slots), ensure_ascii=False)}"
    intents = {name for name, _ in grammar.slots}
    if intent not in intents:
        return f"{grammar.path}: no intent {intent}; {suggestion(intent, intents)}"
    marks = [arc.mark for arcs in grammar.arcs for arc in arcs if arc.mark is not None and arc.mark.slot is not None]
    known = {str(mark.slot) for mark in marks} | {slot for fixed in grammar.slots.values() for slot in fixed}
    for slot, value in slots.items():
        if slot not in known:
            return f"{grammar.path}: no slot {slot}; {suggestion(slot, known)}"
        values = {str(mark.value) for mark in marks if mark.slot == slot}
        if values and not any(same_value(each, value) for each in values):
            return f"{grammar.path}: slot {slot} is never '{value}'; {suggestion(str(value), values)}"
    return f"{grammar.path}: no sentence means {label}; expected a label that one has; mend the label or the grammar"
