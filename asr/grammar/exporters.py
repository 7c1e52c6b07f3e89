"""A grammar for others: its sentences as JSGF, https://www.w3.org/TR/jsgf/"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.grammar.file import GrammarError, Key, read_grammar_file
from asr.grammar.references import References, Scope, scope_of
from asr.grammar.templates import load_grammar
from asr.text.normalization import normalize_transcript

if TYPE_CHECKING:
    from hassil.expression import Expression, ListReference, RuleReference

MAX_JOINED = 1000  # ways to say what stands in one piece with its neighbours, as in light[s]


def export_jsgf(path: Path) -> str:
    """Returns the sentences of a grammar as the text of a JSGF file, in words as transcripts have them.

    The public rule is <command>; each intent, expansion rule and list is a rule of its own. Slots are left out: what a
    sentence means, `Parser` says. Raises GrammarError where the grammar is wrong, or too much joined without a space.
    """
    grammar = load_grammar(path)  # finds every fault of the templates
    parsed = read_grammar_file(path)
    for facts in grammar.templates.values():
        if facts.is_partial:
            raise GrammarError(
                f"{facts.place}: some of its sentences lack the context that they require, which JSGF cannot say; "
                f"expected each to have it, or none; part the template in two"
            )
    writer = _Writer(References.of(parsed), grammar.skip_words)
    intents = []
    for intent, templates in parsed.intents.items():
        ways = []
        for template in templates:
            scope = scope_of(parsed, template)
            is_special = template.lists or template.rules or template.block.required or template.block.excluded
            block = template.key[:-2] if is_special else ()
            ways.append((writer.whole(template.sentence.expression, scope, block), template.weight))
        intents.append(f"<{writer.add(intent, (intent,), _choice(ways, among_words=False))}>")
    rules = {"command": " | ".join(intents), **writer.rules}
    public = "".join(
        f"{'public ' * (name == 'command')}<{name}> = {body or '<NULL>'};\n" for name, body in rules.items()
    )
    name = re.sub(r"^(?=\d)|\W", "_", path.stem)
    return f"#JSGF V1.0 UTF-8 {grammar.language};\n// The sentences of {path.name}\ngrammar {name};\n\n{public}"


class _Writer:
    """Writes expressions as JSGF, and gathers the rules that they refer to."""

    def __init__(self, references: References, skip_words: Sequence[tuple[str, ...]]) -> None:
        self.rules: dict[str, str] = {}
        self._references = references
        self._names: dict[Key, str] = {}
        self._skipped = ""  # what may stand before each word, and at the end
        if skip_words:
            body = " | ".join(map(" ".join, skip_words))
            self._skipped = f"[<{self.add('skip_words', ('skip_words',), body)}>]"

    def add(self, name: str, key: Key, body: str) -> str:
        """Keep a rule's body; gives the name that it gets, as near to its own as is still free."""
        name = re.sub(r"\W", "_", name)
        taken = {*self.rules, "command", "NULL", "VOID"}
        free = next(each for n in itertools.count(1) if (each := name if n == 1 else f"{name}_{n}") not in taken)
        self._names[key] = free
        self.rules[free] = body
        return free

    def whole(self, expression: Expression, scope: Scope, block: Key) -> str:
        """Returns a sentence's template."""
        return f"{self.expand(expression, scope, block)} {self._skipped}".strip()

    def _words(self, text: str) -> str:
        """Returns a text as transcripts have it, with what may stand before each word."""
        words = normalize_transcript(text).split()
        return " ".join(f"{self._skipped} {word}".strip() for word in words)

    def expand(self, expression: Expression, scope: Scope, block: Key) -> str:
        """Returns an expression that stands apart from its neighbours; empty where it says nothing.

        `block` tells apart rules and lists of the same name that different blocks of templates define.
        """
        from hassil import expression as kinds

        if isinstance(expression, kinds.TextChunk):
            return self._words(expression.original_text)
        if isinstance(expression, kinds.ListReference):
            return self._list(expression, scope, block)
        if isinstance(expression, kinds.RuleReference):
            return self._rule(expression, scope, block)
        if isinstance(expression, kinds.Sequence):
            return self._in_order(expression.items, scope, block)
        assert isinstance(expression, kinds.Alternative | kinds.Permutation)
        orders = [[item] for item in expression.items]
        if isinstance(expression, kinds.Permutation):
            orders = list(itertools.permutations(expression.items))
        return _choice([(self._in_order(items, scope, block), 1.0) for items in orders], among_words=True)

    def _in_order(self, items: Iterable[Expression], scope: Scope, block: Key) -> str:
        """Items that no space parts are spoken as one word: their ways are written out."""
        groups: list[list[Expression]] = []
        for item in items:
            if not groups or self._is_edge(groups[-1][-1], scope, last=True) or self._is_edge(item, scope, last=False):
                groups.append([])
            groups[-1].append(item)
        pieces = [
            self.expand(group[0], scope, block) if len(group) == 1 else self._joined(group, scope) for group in groups
        ]
        return " ".join(piece for piece in pieces if piece)

    def _joined(self, items: Sequence[Expression], scope: Scope) -> str:
        ways = {self._words(text): 1.0 for text in self._texts_in_order(items, scope)}
        return _choice(sorted(ways.items()), among_words=True)

    def _list(self, reference: ListReference, scope: Scope, block: Key) -> str:
        key: Key = ("list", reference.list_name, *block)
        if key not in self._names:
            ways = [
                (
                    self._words(each.said) if isinstance(each.said, str) else self.expand(each.said, scope, block),
                    each.weight,
                )
                for each in self._references.values(reference, scope)
            ]
            self.add(reference.list_name, key, _choice(ways, among_words=False))
        return f"<{self._names[key]}>"

    def _rule(self, reference: RuleReference, scope: Scope, block: Key) -> str:
        key: Key = ("rule", reference.rule_name, *block)
        if key not in self._names:
            template, inner = self._references.rule(reference, scope)
            body = self.expand(template.expression, inner, block)
            self.add(reference.rule_name, key, body)
        return f"<{self._names[key]}>"

    def _is_edge(self, expression: Expression, scope: Scope, *, last: bool) -> bool:
        """Does every way to say it begin (or end, if `last`) with a space?"""
        from hassil import expression as kinds

        if isinstance(expression, kinds.TextChunk):
            return expression.original_text[-1:].isspace() if last else expression.original_text[:1].isspace()
        if isinstance(expression, kinds.Sequence):
            return bool(expression.items) and self._is_edge(expression.items[-last], scope, last=last)
        if isinstance(expression, kinds.Alternative | kinds.Permutation):
            return all(self._is_edge(item, scope, last=last) for item in expression.items)
        if isinstance(expression, kinds.RuleReference):
            template, inner = self._references.rule(expression, scope)
            return self._is_edge(template.expression, inner, last=last)
        return False  # a list's values are words

    def _texts(self, expression: Expression, scope: Scope) -> set[str]:
        """Returns every way to say it, with its spaces."""
        from hassil import expression as kinds

        if isinstance(expression, kinds.TextChunk):
            return {expression.original_text}
        if isinstance(expression, kinds.ListReference):
            values = [each.said for each in self._references.values(expression, scope)]
            return set().union(*({said} if isinstance(said, str) else self._texts(said, scope) for said in values))
        if isinstance(expression, kinds.RuleReference):
            template, inner = self._references.rule(expression, scope)
            return self._texts(template.expression, inner)
        if isinstance(expression, kinds.Sequence):
            return self._texts_in_order(expression.items, scope)
        assert isinstance(expression, kinds.Alternative | kinds.Permutation)
        if isinstance(expression, kinds.Permutation):
            orders = itertools.permutations(expression.items)
            return set().union(*(self._texts_in_order(items, scope) for items in orders))
        return set().union(*(self._texts(item, scope) for item in expression.items))

    def _texts_in_order(self, items: Iterable[Expression], scope: Scope) -> set[str]:
        texts = {""}
        for item in items:
            texts = {text + following for text in texts for following in self._texts(item, scope)}
            if len(texts) > MAX_JOINED:
                raise GrammarError(
                    f"{scope.place}: more than {MAX_JOINED} ways to say what is joined without a space, such as "
                    f"'{min(texts)}'; expected spaces between words: {{area}} light[s], not {{area}}light[s]"
                )
        return texts


def _choice(ways: Sequence[tuple[str, float]], *, among_words: bool) -> str:
    """Alternatives, weighted where one is; in brackets where they stand among other words, or can all be left out."""
    if any(weight != 1.0 for _, weight in ways):
        body = " | ".join(f"/{_number(weight)}/ {text or '<NULL>'}" for text, weight in ways)
        return f"({body})" if among_words else body
    spoken = [text for text, _ in ways if text]
    body = " | ".join(spoken)
    if len(spoken) < len(ways):
        return f"[{body}]" if body else ""
    return f"({body})" if among_words and len(spoken) > 1 else body


def _number(weight: float) -> str:
    """Returns a weight that reads back as itself."""
    return f"{weight:g}" if float(f"{weight:g}") == weight else repr(weight)
