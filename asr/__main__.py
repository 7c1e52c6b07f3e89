"""Earshot, speech recognition for voice commands: earshot PROGRAM ..., or python -m asr PROGRAM ...

`earshot train conf/x.yaml` is `python -m asr.train conf/x.yaml`, and so for every program; `earshot prepare folder ...`
is `python -m data_prep.folder ...`. Only the program that is asked for is imported.
"""

import importlib
import sys
from collections.abc import Mapping

from asr.process.runtime import EXIT_OK, EXIT_USAGE, ending_with_its_reader, run_program

PROGRAMS = {
    "train": "train a recogniser or a language model: conf/bilstm_ctc.yaml",
    "evaluate": "score a trained run on manifests, with an HTML report",
    "transcribe": "transcribe recordings, as a job that can be killed and resumed",
    "serve": "serve a run to other programs: OpenAI's API, WebSockets, Wyoming",
    "compare": "train several configurations alike and compare them",
    "tune": "find the settings of a configuration by many short trainings",
    "improve": "say what to do next about a trained run: suspect data, its log, confusions",
    "dashboard": "draw the curves of trainings side by side, also while they go on",
    "explain": "look inside a model while it hears a recording",
    "listen": "recognise a microphone, a stream or a file while it is spoken",
    "export": "make a small copy of a trained run, to hand on",
    "commands": "check, import, export and calibrate grammars of commands",
    "prepare": "make manifests of a corpus, of your folder, or of synthesized commands",
}
CORPORA = {
    "folder": "your recordings, with transcripts beside them, in a table or in folders' names",
    "synthesize": "a grammar, spoken by synthesizers",
    "negatives": "folders without commands, to count false accepts on",
    "extract": "a manifest, to stored log-mels",
    "kaldi": "a Kaldi data folder",
    "nemo": "manifests of JSON lines, as NeMo's",
    "lhotse_cuts": "cuts of lhotse, both ways",
    "fsdd": "Free Spoken Digit Dataset",
    "digit_strings": "strings of digits made from the manifests of fsdd",
    "speech_commands": "Speech Commands",
    "librispeech": "LibriSpeech",
    "speechocean762": "speechocean762",
    "common_voice": "Common Voice, one language",
    "barista": "commands labelled with intent and slots, clean and in noise",
}


def main() -> None:
    """Run the program that the command line names, as its `python -m` does, and exit with its code."""
    launcher, *arguments = "earshot", *sys.argv[1:]
    with ending_with_its_reader():
        module = _choose(launcher, arguments, PROGRAMS)
        if module == "prepare":
            launcher, arguments = f"{launcher} {module}", arguments[1:]
            module = f"data_prep.{_choose(launcher, arguments, CORPORA)}"
        else:
            module = f"asr.{module}"
    # The name that usage lines show; the rest is what the program reads.
    sys.argv = [f"{launcher} {arguments[0]}", *arguments[1:]]
    run_program(importlib.import_module(module).main)


def _choose(launcher: str, arguments: list[str], programs: Mapping[str, str]) -> str:
    """Returns the program that the first argument names, or exits: with the list, or with what was meant."""
    name = arguments[0] if arguments else ""
    if name in programs:
        return name
    if name in ("-h", "--help"):
        print(_help(launcher, programs))
        sys.exit(EXIT_OK)
    if name == "--version":
        from asr import __version__

        print(f"earshot {__version__}")
        sys.exit(EXIT_OK)
    print(_unknown(launcher, name, programs) if name else _help(launcher, programs), file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _help(launcher: str, programs: Mapping[str, str]) -> str:
    width = max(map(len, programs))
    lines = [f"  {name:{width}}  {what}" for name, what in programs.items()]
    what = "Speech recognition for voice commands." if programs is PROGRAMS else "Manifests of a corpus."
    end = f"{launcher} NAME --help says more of each."
    return "\n".join([f"usage: {launcher} NAME ...", "", what, "", *lines, "", end])


def _unknown(launcher: str, name: str, programs: Mapping[str, str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, programs, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(programs)}"
    if programs is PROGRAMS and name in CORPORA:
        hint = f"did you mean 'prepare {name}'?"
    return f"{launcher}: {name!r} is no program; {hint}"


if __name__ == "__main__":
    main()
