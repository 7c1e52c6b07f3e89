"""The names of a home: areas, floors and exposed entities with their aliases, as they are spoken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from asr.grammar.references import number_words
from asr.grammar.sounds import sounds
from asr.homes.link import CommandRefused, HomeError, HomeLink
from asr.text.normalization import normalize_transcript
from asr.text.pronunciation import pronounce

# What is said of a home; sensors are many, and are asked for by name.
DOMAINS: tuple[str, ...] = (
    "light",
    "switch",
    "cover",
    "climate",
    "lock",
    "fan",
    "media_player",
    "timer",
    "weather",
    "todo",
    "scene",
    "script",
    "vacuum",
    "input_boolean",
    "valve",
)
OTHER_DOMAINS = ("sensor", "binary_sensor", "humidifier", "lawn_mower", "automation", "button", "input_button")
SIGNS = {"en": {"&": " and ", "+": " plus ", "@": " at "}, "de": {"&": " und ", "+": " plus "}}
MOST_DIGITS = 4  # of a number that is said as one; longer ones are spelled


@dataclass(frozen=True)
class Named:
    """Something of a home: its name as Home Assistant has it, and the ways to say it."""

    name: str
    spoken: tuple[str, ...]
    domain: str = ""
    area: str | None = None  # the area's id


@dataclass(frozen=True)
class Home:
    """Holds what can be named in a home; `left_out` says of the rest why not."""

    areas: tuple[Named, ...]
    floors: tuple[Named, ...]
    entities: tuple[Named, ...]
    items: tuple[Named, ...]  # that are on its lists
    is_fahrenheit: bool
    left_out: tuple[str, ...]


def check_domains(text: str | None) -> list[str]:
    """Returns the domains of a comma-separated list; DOMAINS without one."""
    domains = [each.strip() for each in text.split(",")] if text is not None else list(DOMAINS)
    known = {*DOMAINS, *OTHER_DOMAINS}
    if unknown := [each for each in domains if each not in known]:
        raise HomeError(f"--domains: '{unknown[0]}' is unknown; expected some of {', '.join(sorted(known))}")
    return domains


def read_home(link: HomeLink, *, domains: Iterable[str], language: str) -> Home:
    """Reads the registries of a home. Raises HomeError where nothing of these domains is exposed to Assist."""
    wanted = set(domains)
    exposed = sorted(
        name
        for name, assistants in _exposed(link).items()
        if assistants.get("conversation") and name.partition(".")[0] in wanted
    )
    if not exposed:
        raise HomeError(
            f"home-assistant: no exposed entity of {', '.join(sorted(wanted))}; expected some; "
            f"expose them in Settings, Voice assistants, Expose"
        )
    entries = _optional(link, "config/entity_registry/get_entries", {}, entity_ids=exposed)
    entries = entries or {each["entity_id"]: each for each in link.ask("config/entity_registry/list")}
    states = {each["entity_id"]: each for each in link.ask("get_states")}
    device_area = {each["id"]: each.get("area_id") for each in link.ask("config/device_registry/list")}
    speaker = _Speaker(language)
    entities = [
        found
        for name in exposed
        for found in speaker.entity(name, entries.get(name) or {}, states.get(name), device_area)
    ]
    used = {entity.area for entity in entities}
    areas = [each for each in link.ask("config/area_registry/list") if each["area_id"] in used]
    floor_ids = {each.get("floor_id") for each in areas}
    floors = [each for each in _optional(link, "config/floor_registry/list", []) if each["floor_id"] in floor_ids]
    return Home(
        areas=tuple(speaker.places(areas, "area")),
        floors=tuple(speaker.places(floors, "floor")),
        entities=tuple(speaker.once(entities)),
        items=tuple(speaker.items(link, [name for name in exposed if name.startswith("todo.") and name in states])),
        is_fahrenheit="F" in ((link.ask("get_config").get("unit_system") or {}).get("temperature") or ""),
        left_out=tuple(speaker.left_out),
    )


def _exposed(link: HomeLink) -> dict[str, dict[str, bool]]:
    try:
        return link.ask("homeassistant/expose_entity/list")["exposed_entities"]
    except CommandRefused as error:
        if error.code != "unauthorized":
            raise
        raise HomeError(
            "home-assistant: the token's user may not see what is exposed; expected a token of an administrator"
        ) from error


def _optional(link: HomeLink, command: str, default: Any, **values: Any) -> Any:
    """Returns the result of a command, and of one that an older Home Assistant does not know the default."""
    try:
        return link.ask(command, **values)
    except CommandRefused as error:
        if error.code != "unknown_command":
            raise
        return default


@dataclass
class _Speaker:
    """Says names in words, and notes those that cannot be said."""

    language: str
    left_out: list[str] = field(default_factory=list)

    def entity(
        self, entity_id: str, entry: dict[str, Any], state: dict[str, Any] | None, device_area: dict[str, Any]
    ) -> Iterable[Named]:
        if state is None or entry.get("disabled_by"):
            self.left_out.append(f"{entity_id}: it is exposed, but it is not there")
            return
        own = state.get("attributes", {}).get("friendly_name") or entry.get("name") or entry.get("original_name")
        name = str(own or entity_id.partition(".")[2].replace("_", " "))
        spoken = self._ways(entity_id, name, entry.get("aliases"))
        if spoken:
            area = entry.get("area_id") or device_area.get(str(entry.get("device_id")))
            yield Named(name, spoken, entity_id.partition(".")[0], area)

    def places(self, entries: Iterable[dict[str, Any]], kind: str) -> Iterable[Named]:
        for entry in sorted(entries, key=lambda each: each[f"{kind}_id"]):
            name = str(entry["name"])
            if spoken := self._ways(f"{kind} {entry[f'{kind}_id']}", name, entry.get("aliases")):
                yield Named(name, spoken, area=entry[f"{kind}_id"])

    def items(self, link: HomeLink, lists: Iterable[str]) -> Iterable[Named]:
        """Yields what is on the lists, each once."""
        found: dict[str, str] = {}
        for entity_id in lists:
            for item in _optional(link, "todo/item/list", {}, entity_id=entity_id).get("items", []):
                for spoken in self._ways(entity_id, str(item.get("summary") or ""), ()):
                    found.setdefault(spoken, spoken)
        return [Named(spoken, (spoken,)) for spoken in sorted(found)]

    def once(self, entities: Iterable[Named]) -> Iterable[Named]:
        """Yields the entities, of those that are said alike in one domain and area the first."""
        seen: set[tuple[str, str, str | None]] = set()
        for entity in entities:
            keys = {(entity.domain, spoken, entity.area): spoken for spoken in entity.spoken}
            ways = tuple(spoken for key, spoken in keys.items() if key not in seen)
            self.left_out += [
                f"'{spoken}' of {entity.domain} '{entity.name}': another one of its area is called so already"
                for key, spoken in keys.items()
                if key in seen
            ]
            seen |= keys.keys()
            if ways:
                yield Named(entity.name, ways, entity.domain, entity.area)

    def _ways(self, where: str, name: str, aliases: Any) -> tuple[str, ...]:
        """Returns the name and its aliases as they are spoken; an alias of None stands for the name."""
        ways: dict[str, None] = {}
        for text in [name, *sorted(str(each) for each in aliases or () if each is not None)]:
            if spoken := spoken_name(text, language=self.language):
                ways.setdefault(spoken)
            else:
                self.left_out.append(f"{where}: '{text}' cannot be said; give it an alias in words")
        return tuple(ways)


def spoken_name(text: str, *, language: str) -> str:
    """Returns a name in words: "Lamp 2 💡" is "lamp two"; nothing where it cannot be pronounced."""
    text = unicodedata.normalize("NFKC", text)
    for sign, words in SIGNS.get(language, {}).items():
        text = text.replace(sign, words)
    text = re.sub(r"\d+", lambda found: f" {_said(found[0], language)} ", text)
    words = normalize_transcript(text).split()
    is_said = words and all(map(sounds, pronounce(words, language=language).values()))
    return " ".join(words) if is_said and len(words) <= 12 else ""


def _said(digits: str, language: str) -> str:
    """Returns a number in words, digit by digit where it is long or begins with 0."""
    parts = list(digits) if len(digits) > MOST_DIGITS or digits[0] == "0" else [digits]
    return " ".join(number_words(int(part), language)[0] for part in parts)
