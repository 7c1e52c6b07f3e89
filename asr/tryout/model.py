"""The model that a grammar is tried with: the one that is asked for, or the shipped one of the grammar's language."""

from __future__ import annotations

from pathlib import Path

from asr.files.packaged import locate, shipped_models
from asr.grammar.file import read_grammar_file
from asr.runs.recognizer import RecognizerError
from asr.text.special import JSON_FILE, read_description


def choose_model(model: str | None, grammar: Path) -> Path:
    """Returns the run folder of `model`, or of the first shipped model in the grammar's language if none is named.

    Raises RecognizerError with what is shipped, if nothing is in that language; GrammarError if the grammar has faults.
    """
    if model is not None:
        return locate(model)
    language = read_grammar_file(grammar).language
    shipped = {name: (folder, _language(folder)) for name, folder in shipped_models().items()}
    for folder, spoken in shipped.values():
        if _family(spoken) == _family(language):
            return folder
    known = ", ".join(f"{name} ({spoken})" for name, (_, spoken) in shipped.items()) or "none"
    raise RecognizerError(
        f"{grammar}: language '{language}', in which no model is shipped; shipped: {known}; expected --model with a "
        f"run in that language, such as one trained on sentences of the grammar (docs/first_hour/phrases.md)"
    )


def _language(folder: Path) -> str:
    path = folder / "tokenizer"
    return str(read_description(path).get("language")) if (path / JSON_FILE).is_file() else "any"


def _family(language: str) -> str:
    return language.lower().replace("_", "-").partition("-")[0]
