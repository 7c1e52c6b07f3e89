"""A grammar of a home's names: Home Assistant's own phrases, and for English what these lack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asr.grammar.importers import import_home_assistant
from asr.homes.home import Home, Named

# Intents that belong to a domain without naming it.
DOMAIN_OF_INTENT = {"HassMedia": "media_player", "HassSetVolume": "media_player", "HassClimate": "climate"}
DOMAIN_OF_INTENT |= {"HassFan": "fan", "HassLight": "light", "HassGetWeather": "weather"}
GROCERIES = (
    "apples",
    "bananas",
    "batteries",
    "bread",
    "butter",
    "cheese",
    "chicken",
    "coffee",
    "eggs",
    "fish",
    "flour",
)
GROCERIES += ("milk", "onions", "pasta", "potatoes", "rice", "soap", "sugar", "tea", "tomatoes", "yogurt")
# By domain: the intent, its sentences, and its slots. `{name}` has names of this domain alone.
ENGLISH: dict[str, list[tuple[str, list[str], dict[str, str]]]] = {
    "light": [
        (
            "HassLightSet",
            ["(set|change|turn) [the] {name} to {color}", "(set|dim) [the] {name} to {brightness} percent"],
            {},
        ),
        (
            "HassLightSet",
            [
                "(set|change|turn) [the] {area} light[s] to {color}",
                "(set|dim) [the] {area} light[s] to {brightness} percent",
            ],
            {"domain": "light"},
        ),
    ],
    "cover": [
        ("HassTurnOn", ["open [the] {area} {cover_classes:device_class}"], {"domain": "cover"}),
        ("HassTurnOff", ["close [the] {area} {cover_classes:device_class}"], {"domain": "cover"}),
    ],
    "climate": [
        (
            "HassClimateSetTemperature",
            ["(set|change) [the] (temperature|heating|thermostat) to {degrees:temperature} [degrees]"],
            {},
        ),
        ("HassClimateSetTemperature", ["(set|change) [the] {area} temperature to {degrees:temperature} [degrees]"], {}),
        ("HassClimateSetTemperature", ["(set|change) [the] {name} to {degrees:temperature} degrees"], {}),
    ],
    "valve": [("HassTurnOn", ["open [the] {name}"], {}), ("HassTurnOff", ["close [the] {name}"], {})],
    "scene": [("HassTurnOn", ["(activate|start|turn on) [the] {name} [scene]"], {})],
    "script": [("HassTurnOn", ["(run|start) [the] {name} [script]"], {})],
    "vacuum": [
        ("HassVacuumStart", ["start [the] {name}"], {}),
        ("HassVacuumReturnToBase", ["send [the] {name} (home|back)"], {}),
    ],
    "todo": [
        ("HassShoppingListAddItem", ["(add|put) {item} (to|on) [the|my] shopping list"], {}),
        ("HassListAddItem", ["(add|put) {item} (to|on) [the|my] {name} [list]"], {}),
    ],
}


def home_grammar(home: Home, *, domains: Iterable[str], language: str) -> dict[str, Any]:
    """Returns the values of a grammar's file for what this home has."""
    present = {entity.domain for entity in home.entities} | ({"timer"} & set(domains))
    lists = {
        "area": [_value(area) for area in home.areas],
        "floor": [_value(floor) for floor in home.floors],
        "name": _names(home.entities),
    }
    values, _ = import_home_assistant(
        language, lists, is_wanted=lambda intent, block: _domains(intent, block) <= present and not _is_crossed(block)
    )
    if language == "en":
        _add_english(values, home, present)
    _add_names_in_areas(values, home)
    _drop_unused(values)
    return values


def _add_english(values: dict[str, Any], home: Home, present: set[str]) -> None:
    first, last = (40, 95) if home.is_fahrenheit else (5, 35)
    values["lists"]["degrees"] = {"range": {"type": "temperature", "from": first, "to": last}}
    items = dict.fromkeys([*(item.name for item in home.items), *GROCERIES])
    values["lists"]["item"] = {"values": [*items]}
    for domain, blocks in ENGLISH.items():
        if domain not in present:
            continue
        named = [entity for entity in home.entities if entity.domain == domain]
        for intent, sentences, slots in blocks:
            if not home.areas and any("{area}" in text for text in sentences):
                continue
            block: dict[str, Any] = {"sentences": sentences, **({"slots": slots} if slots else {})}
            if any("{name}" in text for text in sentences):
                block["lists"] = {"name": {"values": _names(named)}}
            values["intents"].setdefault(intent, {"data": []})["data"].append(block)


def _add_names_in_areas(values: dict[str, Any], home: Home) -> None:
    """Let a name be said with its own area, which tells two of the same name apart."""
    if values["language"] != "en":
        return
    for area in home.areas:
        named = [each for each in home.entities if each.area == area.area and each.domain in SWITCHED]
        if not named:
            continue
        place = area.spoken[0] if len(area.spoken) == 1 else f"({'|'.join(area.spoken)})"
        for intent, state in (("HassTurnOn", "on"), ("HassTurnOff", "off")):
            sentences = [f"(turn|switch) {state} [the] {{name}} in [the] {place}"]
            block = {"sentences": sentences, "slots": {"area": area.name}, "lists": {"name": {"values": _names(named)}}}
            values["intents"].setdefault(intent, {"data": []})["data"].append(block)


SWITCHED = ("light", "switch", "fan", "media_player", "input_boolean")


def _names(entities: Iterable[Named]) -> list[dict[str, Any]]:
    found = {}  # by what is said: two rooms' lamps are one value
    for entity in entities:
        for spoken in entity.spoken:
            value = {"in": spoken, "out": entity.name, "context": {"domain": entity.domain}}
            found.setdefault((spoken, entity.domain), value)
    return [*found.values()]


def _value(place: Named) -> dict[str, Any]:
    said = place.spoken[0] if len(place.spoken) == 1 else f"({'|'.join(place.spoken)})"
    return {"in": said, "out": place.name}


def _domains(intent: str, block: Mapping[str, Any]) -> set[str]:
    """Returns the domain that a block cannot do without, if any."""
    if isinstance(domain := block.get("slots", {}).get("domain"), str):
        return {domain}
    if "Timer" in intent:
        return {"timer"}
    return {domain for start, domain in DOMAIN_OF_INTENT.items() if intent.startswith(start)}


def _is_crossed(block: Mapping[str, Any]) -> bool:
    """Returns whether every name would be said with every area."""
    return any("{name}" in text and "{area}" in text for text in block["sentences"])


def _drop_unused(values: dict[str, Any]) -> None:
    """Leave out rules and lists that no sentence uses, and lists without values."""
    text = str(values["intents"])
    rules = values.get("expansion_rules", {})
    used: set[str] = set()
    while more := {name for name in rules if f"<{name}>" in text} - used:
        used |= more
        text += "".join(rules[name] for name in more)
    values["expansion_rules"] = {name: rule for name, rule in rules.items() if name in used}
    values["lists"] = {
        name: each for name, each in values["lists"].items() if f"{{{name}}}" in text or f"{{{name}:" in text
    }
    for key in ("expansion_rules", "lists"):
        if not values[key]:
            del values[key]
