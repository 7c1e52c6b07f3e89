"""JSON files of strangers: bounded in size, no key twice, and every value as a schema says."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from asr.files.json_lines import LineError, parse_object

LARGEST_FILE = 16 << 20  # bytes; what a run folder holds as JSON is a thousandth of it
FAULTS_SHOWN = 5
SHOWN_CHARACTERS = 60  # of a value that is refused


def read_object(path: Path, schema: type[BaseModel], *, error: type[ValueError], remedy: str) -> dict[str, Any]:
    """Returns the object in a JSON file as it is written, once the schema has found nothing wrong with it.

    Raises `error` that names the file, each faulty key, what it holds, and the remedy; OSError where there is no file.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise error(f"{path}: more than {LARGEST_FILE >> 20} MiB; expected a small JSON file; {remedy}")
    try:
        values = parse_object(content, is_finite=False)  # the schema says which numbers may be infinite
    except LineError as fault:
        raise error(f"{path}: {str(fault).replace(' a line', '')}; {remedy}") from None
    check_values(values, schema, where=str(path), error=error, remedy=remedy)
    return values


def check_values(
    values: dict[str, Any], schema: type[BaseModel], *, where: str, error: type[ValueError], remedy: str
) -> None:
    """Raises `error` where the schema does not take these JSON values; each fault with its key."""
    try:
        schema.model_validate_json(json.dumps(values))  # of JSON, where lists stand for tuples
    except ValidationError as refused:
        faults = refused.errors(include_url=False)
        lines = [f"{where}: {say_fault(fault)}" for fault in faults[:FAULTS_SHOWN]]
        more = f"\nand {len(faults) - FAULTS_SHOWN} faults more" if len(faults) > FAULTS_SHOWN else ""
        raise error("\n".join(lines) + f"{more}; {remedy}") from None


def say_fault(fault: Any) -> str:
    """Returns one fault that pydantic found, as an error says it: the key, what it holds, what is the matter."""
    key = ".".join(map(str, fault["loc"])) or "the object"
    if fault["type"] == "missing":
        return f"{key}: missing; this key is required"
    message = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{key}: found {shortened(fault['input'])}; {message}"


def shortened(value: Any) -> str:
    """Returns a value as an error shows it: whatever strangers write, a line stays a line."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
