"""The keys of a grammar's YAML file, as hassil defines them; a key that would change nothing here is none of them.

Context (https://github.com/home-assistant/hassil): a list's value may bring `context: {domain: light}`. A block's
`requires_context` asks for keys with a value, one of several, or any (null); `{value: light, slot: true}` also puts it
into a slot. `excludes_context` asks for none of these. There is no context from outside, as of a room.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

SlotValue = str | int | float | bool
ContextValue = SlotValue | list[SlotValue] | None

REMOVED = {  # keys that hassil or Home Assistant knows, and why they are refused here
    "responses": "answers are the assistant's to give; remove it",
    "required_keywords": "every sentence is searched anyway; remove it",
    "inferred_domain": "only an assistant can use it; remove it, or put it into slots:",
    "name_domains": "only an assistant can use it; remove it, or use requires_context:",
}


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    form: ClassVar[str]  # what is expected of it, for an error


class Weight(Part):
    """Says how often this is said, beside the others."""

    form = "{weight: 2.0}"
    weight: float = 1.0

    @field_validator("weight")
    @classmethod
    def _is_positive(cls, weight: float) -> float:
        if not 0 < weight < math.inf:
            raise ValueError(f"weight {weight:g}; expected a number above 0, such as 2.0")
        return weight


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    weight = metadata.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ValueError(f"weight {weight!r}; expected a number above 0, such as 2.0")
    return metadata


class Brought(Part):
    """A value's context, written at length."""

    form = "a value, or {value: light}"
    value: SlotValue


class Required(Part):
    """Says at length what a block requires of a context."""

    form = "a value, several, or {value: light, slot: true}"
    value: ContextValue = None
    slot: bool | str = False  # put it into the slot of that name, or of the context's


class Excluded(Part):
    form = "a value, several, or {value: light}"
    value: ContextValue


class Value(Part):
    form = "words, or {in: words, out: value}"
    text: str = Field(alias="in")
    out: SlotValue | None = None
    context: dict[str, SlotValue | Brought] = {}
    metadata: Weight = Weight()

    @property
    def brought(self) -> dict[str, SlotValue]:
        return {key: each.value if isinstance(each, Brought) else each for key, each in self.context.items()}


class Range(Part):
    form = "{from: 1, to: 9}, perhaps with a step"
    type: Literal["number", "percentage", "temperature"] = "number"  # what the number counts; it is said alike
    first: int = Field(alias="from", ge=-(10**15), le=10**15)
    last: int = Field(alias="to", ge=-(10**15), le=10**15)
    step: int = Field(1, ge=1)
    multiplier: float | None = None
    fractions: Literal["halves", "tenths"] | None = None
    digits: bool = True  # in a text; nothing that is spoken has digits
    words: Literal[True] = True
    words_language: str | None = None


class ValueList(Part):
    form = "values: [...], or range: {from: 1, to: 9}"
    values: list[Value] | None = Field(None, min_length=1)
    range: Range | None = None
    wildcard: bool = False

    @field_validator("values", mode="before")
    @classmethod
    def _words_are_values(cls, values: Any) -> Any:
        """`kitchen` stands for `{in: kitchen}`."""
        return (
            [{"in": each} if isinstance(each, str) else each for each in values] if isinstance(values, list) else values
        )

    @model_validator(mode="after")
    def _is_one_kind(self) -> ValueList:
        kinds = [name for name in ("values", "range", "wildcard") if getattr(self, name)]
        if len(kinds) > 1:
            raise ValueError(f"it has {' and '.join(kinds)}; expected one of these")
        return self


class BlockSettings(Part):
    form = "{filter_with_regex: false}"
    filter_with_regex: bool = True  # how fast hassil is; it changes no result, nor hassil's since 3.0


class FileSettings(BlockSettings):
    ignore_whitespace: Literal[False] = False  # true: for languages without spaces, whose words are not known here


class Block(Part):
    """Templates of an intent with what is said of all of them."""

    form = "sentences: and a list of templates"
    sentences: list[str] = Field(min_length=1)
    slots: dict[str, SlotValue | list[SlotValue]] = {}
    lists: dict[str, ValueList] = {}
    expansion_rules: dict[str, str] = {}
    response: str | None = None
    requires_context: dict[str, ContextValue | Required] = {}
    excludes_context: dict[str, ContextValue | Excluded] = {}
    metadata: Annotated[dict[str, Any], AfterValidator(_check_metadata)] = {}
    settings: BlockSettings = BlockSettings()

    @property
    def required(self) -> dict[str, ContextValue]:
        return {key: each.value if isinstance(each, Required) else each for key, each in self.requires_context.items()}

    @property
    def excluded(self) -> dict[str, ContextValue]:
        return {key: each.value if isinstance(each, Excluded) else each for key, each in self.excludes_context.items()}

    @property
    def slots_of_context(self) -> dict[str, str]:
        """Returns the slots that get what the context holds, with its keys."""
        asked = {key: each.slot for key, each in self.requires_context.items() if isinstance(each, Required)}
        return {slot if isinstance(slot, str) else key: key for key, slot in asked.items() if slot}


class Intent(Part):
    form = "data: and a list of blocks, each with sentences:"
    data: list[Block] = Field(min_length=1)


class File(Part):
    form = "language: and intents:, and perhaps lists: and expansion_rules:"
    language: str
    intents: dict[str, Intent] = Field(min_length=1)
    lists: dict[str, ValueList] = {}
    expansion_rules: dict[str, str] = {}
    skip_words: list[str] = []
    prior: float = Field(0.0, ge=0.0, le=1.0)  # how much the ways of each choice share its probability
    pronunciations: dict[str, str | list[str]] = {}  # of words that eSpeak NG gets wrong
    settings: FileSettings = FileSettings()


UNION_PARTS: dict[str, type[Part]] = {"Brought": Brought, "Required": Required, "Excluded": Excluded}
SCALARS = ("str", "int", "float", "bool")  # as pydantic calls a union's other members


def part_at(key: tuple[str | int, ...]) -> type[Part]:
    """Returns the part of the file that these keys lead to."""
    if not key:
        return File
    parts: dict[str | int, type[Part]] = {"range": Range, "metadata": Weight}
    if key[-1] in parts:
        return parts[key[-1]]
    if key[-1] == "settings":
        return FileSettings if len(key) == 1 else BlockSettings
    if len(key) == 2 and key[0] == "intents":
        return Intent
    if isinstance(key[-1], int):
        return Block if key[-2] == "data" else Value
    return ValueList
