"""Grammars of others, in Home Assistant's template format: Rhino contexts, JSGF, phrases, Home Assistant's own intents.

Each importer gives the values of a grammar's YAML file; `write_grammar_file` writes and checks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asr.files.replacing import replacing, split_lines
from asr.files.yaml import Document, Key, YAMLError, read_yaml_file, write_yaml
from asr.grammar.file import GrammarError, suggestion, yaml_fault
from asr.grammar.jsgf import MAX_BYTES, Way, free_name, read_jsgf
from asr.grammar.templates import load_grammar

SPECIAL = re.compile(r"[()\[\]{}<>|;\\]")  # what templates give a meaning
RHINO_RANGES = {"pv.TwoDigitInteger": (0, 99), "pv.SingleDigitInteger": (0, 9), "pv.Percent": (0, 100)}
RHINO_PIECE = re.compile(r"\$(?P<kind>[\w.]+):(?P<slot>\w+)|@(?P<macro>\w+)|(?P<sign>[][(),])|(?P<text>[^][(),$@]+)")


def import_phrases(path: Path) -> dict[str, Any]:
    """Reads a phrase a line, each its own intent: "lights on" is LightsOn; or "Name<tab>phrase".

    A # begins a comment.
    """
    intents: dict[str, list[str]] = {}
    for number, line in enumerate(split_lines(_read(path)), 1):
        text = line.partition("#")[0].rstrip()
        if not text.strip():
            continue
        name, tab, phrase = text.partition("\t")
        phrase = (phrase if tab else name).strip()
        if SPECIAL.search(phrase):
            raise GrammarError(
                f"{path}:{number}: '{phrase}' has a sign of templates; expected words; write it into a grammar's YAML "
                f"file, where ( ) [ ] {{ }} < > | have their meaning"
            )
        name = name.strip() if tab else "".join(word.capitalize() for word in re.findall(r"\w+", phrase))
        intents.setdefault(name, []).append(phrase)
    if not intents:
        raise GrammarError(f"{path}: no phrases; expected one a line")
    return _file({name: [{"sentences": phrases}] for name, phrases in intents.items()})


def import_jsgf(path: Path) -> dict[str, Any]:
    """Reads a JSGF grammar: each public rule is an intent, with the weights of its alternatives.

    Tags are left out.
    """
    grammar = read_jsgf(path)
    intents = {}
    for name, original in grammar.public.items():
        blocks = []
        for way in grammar.rules[name]:
            block: dict[str, Any] = {"sentences": [way.template]}
            blocks.append(block if way.weight == 1.0 else {**block, "metadata": {"weight": way.weight}})
        intents[original] = blocks
    groups, rules = dict(grammar.groups), {}
    for name in sorted(grammar.used):
        ways = grammar.rules[name]
        if any(way.weight != 1.0 for way in ways):
            group = free_name(f"{name}_ways", {*groups, *grammar.rules})
            groups[group] = ways
            rules[name] = f"{{{group}:@{group}}}"
        else:
            rules[name] = f"({'|'.join(way.template for way in ways)})"
    return _file(intents, rules=rules, lists=_weighted_lists(groups), language=grammar.language or "en")


def _weighted_lists(groups: Mapping[str, list[Way]]) -> dict[str, Any]:
    """Alternatives with weights as lists; "( )" is said without words."""
    return {
        name: {"values": [{"in": f"({way.template or ' '})", "metadata": {"weight": way.weight}} for way in ways]}
        for name, ways in groups.items()
    }


def import_rhino(path: Path) -> dict[str, Any]:
    """Reads a Rhino context: expressions with [choices, ...], (optional parts), $type:slots and @macros."""
    context = _strings(path).get("context")
    if not isinstance(context, dict) or not isinstance(context.get("expressions"), dict):
        raise GrammarError(f"{path}: no context with expressions; expected the YAML file of a Rhino context")
    slots, macros = context.get("slots") or {}, context.get("macros") or {}
    known = {*slots, *RHINO_RANGES}
    intents = {
        intent: [{"sentences": [_rhino_template(path, text, known, set(macros)) for text in expressions]}]
        for intent, expressions in context["expressions"].items()
    }
    rules = {
        name: "(" + "|".join(_rhino_template(path, text, known, set(macros)) for text in ways) + ")"
        for name, ways in macros.items()
    }
    lists: dict[str, Any] = {name: {"values": list(values)} for name, values in slots.items()}
    used = " ".join([*rules.values(), *(text for blocks in intents.values() for text in blocks[0]["sentences"])])
    for name, (first, last) in RHINO_RANGES.items():
        if "{" + _list_name(name) + ":" in used:
            lists[_list_name(name)] = {"range": {"from": first, "to": last}}
    return _file(intents, rules=rules, lists=lists)


def _rhino_template(path: Path, text: str, slots: set[str], macros: set[str]) -> str:
    """`[turn, switch] on (the) $place:where` is `(turn|switch) on [the] {place:where}`."""
    signs = {"[": "(", "]": ")", "(": "[", ")": "]", ",": "|"}
    pieces, place = [], 0
    while place < len(text):
        match = RHINO_PIECE.match(text, place)
        if match is None:
            raise GrammarError(
                f"{path}: '{text}': cannot be read at '{text[place:]}'; expected $type:slot, @macro, [a, b] or (a)"
            )
        place = match.end()
        if match["kind"]:
            if match["kind"] not in slots:
                raise GrammarError(
                    f"{path}: '{text}': no slot type ${match['kind']}; {suggestion(match['kind'], slots)}"
                )
            pieces.append(f"{{{_list_name(match['kind'])}:{match['slot']}}}")
        elif match["macro"]:
            if match["macro"] not in macros:
                raise GrammarError(
                    f"{path}: '{text}': no macro @{match['macro']}; {suggestion(match['macro'], macros)}"
                )
            pieces.append(f"<{match['macro']}>")
        else:
            pieces.append(signs[match["sign"]] if match["sign"] else match["text"])
    return re.sub(r"\s*([|])\s*", r"\1", "".join(pieces)).strip()


def _list_name(kind: str) -> str:
    return kind.replace(".", "_")


def import_home_assistant(
    language: str,
    lists: Mapping[str, list[Any]],
    *,
    is_wanted: Callable[[str, Mapping[str, Any]], bool] = lambda intent, block: True,
) -> tuple[dict[str, Any], list[str]]:
    """Home Assistant's Speech-to-Phrase templates over a home's own `lists`: area, name, floor and what else is named.

    Sentences that need a list without values are left out, and given beside. A value may say its `context`, such as
    {in: desk lamp, context: {domain: light}}; then it is used only where the intent asks for that. Blocks of an intent
    that are not wanted are left out without a word.
    """
    try:
        from home_assistant_intents import get_speech_to_phrase_intents, get_speech_to_phrase_languages
    except ImportError as error:
        raise GrammarError(
            "Home Assistant's intents need the package home-assistant-intents, which is not installed; "
            "pip install 'earshot[commands]'"
        ) from error
    if language not in get_speech_to_phrase_languages():
        languages = ", ".join(get_speech_to_phrase_languages())
        raise GrammarError(f"Home Assistant has no phrases in language '{language}'; expected one of {languages}")
    source: dict[str, Any] = get_speech_to_phrase_intents(language) or {}
    known = {name: values for name, values in source.get("lists", {}).items() if not values.get("wildcard")}
    known |= {name: {"values": list(values)} for name, values in lists.items()}
    rules: dict[str, str] = source.get("expansion_rules", {})
    intents: dict[str, Any] = {}
    left_out: list[str] = []
    for intent, content in source["intents"].items():
        blocks = []
        for block in content["data"]:
            if not is_wanted(intent, block):
                continue
            own = _lists_in_context(block.get("requires_context") or {}, lists)
            usable = [text for text in block["sentences"] if _is_usable(text, rules, {**known, **own})]
            left_out += [f"{intent}: {text}" for text in block["sentences"] if text not in usable]
            if usable:
                kept = {key: block[key] for key in ("slots",) if key in block}
                blocks.append({"sentences": usable, **kept, **({"lists": own} if own else {})})
        if blocks:
            intents[intent] = blocks
    if not intents:
        raise GrammarError("Home Assistant's intents: none can be used without lists; expected area or name at least")
    rules = {name: text for name, text in rules.items() if _is_usable(text, rules, known)}
    return _file(intents, rules=rules, lists=known, language=language), left_out


def _lists_in_context(required: Mapping[str, Any], lists: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Keeps, of each list whose values say their context, those that have the required one."""
    found = {}
    for name, values in lists.items():
        if not any(isinstance(value, dict) and value.get("context") for value in values):
            continue
        kept = [value for value in values if isinstance(value, dict) and _fits(value.get("context") or {}, required)]
        if len(kept) < len(values):
            found[name] = {"values": kept}
    return found


def _fits(context: Mapping[str, Any], required: Mapping[str, Any]) -> bool:
    for key, wanted in required.items():
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if not isinstance(wanted, dict) and key in context and context[key] not in allowed:
            return False
    return True


def _is_usable(text: str, rules: Mapping[str, str], lists: Mapping[str, Any], inside: tuple[str, ...] = ()) -> bool:
    """Has every list that the template names, itself or by its rules, values?"""
    for name in re.findall(r"\{([^}:]+)", text):
        is_range = re.fullmatch(r"-?\d+\.\.-?\d+(,\d+)?", name.strip())
        if not is_range and not (lists.get(name.strip(), {}).get("values") or lists.get(name.strip(), {}).get("range")):
            return False
    return all(
        name in rules and name not in inside and _is_usable(rules[name], rules, lists, (*inside, name))
        for name in re.findall(r"<([^>]+)>", text)
    )


def _file(
    intents: Mapping[str, Any],
    *,
    rules: Mapping[str, str] | None = None,
    lists: Mapping[str, Any] | None = None,
    language: str = "en",
) -> dict[str, Any]:
    return {
        "language": language,
        "intents": {name: {"data": blocks} for name, blocks in intents.items()},
        **({"expansion_rules": dict(rules)} if rules else {}),
        **({"lists": dict(lists)} if lists else {}),
    }


def write_grammar_file(path: Path, values: Mapping[str, Any], *, source: str) -> None:
    """Write a grammar's file, once its templates have been read back without a fault."""
    text = f"# Imported from {source}.\n" + write_yaml(dict(values), width=120, default_flow_style=None)
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
        load_grammar(beside)


def read_lists(path: Path) -> dict[str, list[Any]]:
    """Returns the lists of a home: `area: [kitchen, ...]`, `name: [{in: desk lamp, context: {domain: light}}, ...]`."""
    values = _document(path).values
    if not isinstance(values, dict) or not all(isinstance(each, list) for each in values.values()):
        raise GrammarError(f"{path}: not lists of values; expected `area: [kitchen, bedroom]` and the like")
    return values


def _read(path: Path) -> str:
    if not path.is_file():
        raise GrammarError(f"{path}: no such file; expected a grammar to import")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise GrammarError(f"{path}: {size:,} bytes; expected at most {MAX_BYTES:,} of phrases")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GrammarError(f"{path}: not UTF-8 at byte {error.start}; expected a text in UTF-8") from error


def _document(path: Path) -> Document:
    """Returns a person's YAML file. Raises GrammarError where it is none."""
    if not path.is_file():
        raise GrammarError(f"{path}: no such file; expected a grammar to import")
    try:
        return read_yaml_file(path)
    except YAMLError as error:
        raise GrammarError(yaml_fault(path, error)) from error


def _strings(path: Path) -> dict[str, Any]:
    """Returns a YAML file with all values as they are written: 0.50 is a word here, not a number."""
    document = _document(path)

    def plain(value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: plain(each, (*key, name)) for name, each in value.items()}
        if isinstance(value, list):
            return [plain(each, (*key, number)) for number, each in enumerate(value)]
        return document.written.get(key, value)

    values = plain(document.values, ())
    return values if isinstance(values, dict) else {}
