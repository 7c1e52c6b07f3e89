"""Spoken commands made from a grammar, or any sentences of a text file, said by many voices.

    python -m data_prep.synthesize conf/commands/home.yaml cache/home

Writes train.jsonl, dev.jsonl and test.jsonl, the recordings below wav/, and listen.html to hear some of them. In train
each choice of the grammar and each pair of neighbouring words occurs --min-count times at least. No voice of dev or
test is in train. The same command gives the same bytes; run again after an interruption, it does what is missing.

    python -m data_prep.synthesize conf/commands/home.yaml cache/home --other-speech conf/commands/everyday.yaml

writes into other_speech/ the same of sentences that are no commands, by the same voices: to train on beside the
commands, so that other speech does not pass for one, and to find the threshold and count false accepts with.

    python -m data_prep.synthesize sentences.txt cache/sentences --language en-us --engines espeak,hibari

speaks sentences that mean nothing, a line of the file each: those first that together have each pair of neighbouring
phonemes --min-count times, as far as the file has it so often. No sentence is in two splits while there are others.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.files.packaged import locate
from asr.process.runtime import EXIT_OK, Parser, program_name, run_program

if TYPE_CHECKING:
    from asr.data.manifest import Utterance
    from asr.grammar.sampling import Sampler
    from asr.grammar.templates import Grammar
    from data_prep.casting import Casting
    from data_prep.sentence_list import SentenceList
    from data_prep.speaking import Line
    from data_prep.voices import Engine

    Engines = dict[str, Engine]

SETTINGS_NAME = "synthesis.json"
NUM_TO_HEAR = 12  # of each split, on the listening page
SPLITS = ("train", "dev", "test")
LANGUAGE = "en"  # of a list of sentences, unless given
OTHER_SPEECH = "other_speech"  # folder of the sentences that are no commands


def plan(options: argparse.Namespace, engines: Engines) -> list[Line]:
    """Every sentence of every split with who says it and how; a pure function of the options and the grammar.

    Raises GrammarError where the grammar is wrong or --num-train too small for it, SynthesisError where the engines
    have too few speakers.
    """
    import numpy as np

    from asr.grammar.sampling import Sampler
    from data_prep.speaking import plan_split

    sampler = _sampler(options.grammar, options)
    print(f"{options.grammar}: {sampler.num_sentences:,} sentences of {len(sampler.words):,} different words")
    casting = _casting(options, engines)
    lines: list[Line] = []
    # A list has each sentence once, and train may take all that dev and test have left.
    for number, split in reversed(list(enumerate(SPLITS))):
        rng = np.random.default_rng([options.seed, 1 + number])
        min_count = options.min_count if split == "train" and options.num_train else 0
        commands = sampler.sample(getattr(options, f"num_{split}"), min_count=min_count, rng=rng)
        lines = plan_split(split, commands, casting=casting, suffix=options.format, rng=rng) + lines
    if options.other_speech is not None:
        assert isinstance(sampler, Sampler)
        lines += _plan_other_speech(options, sampler.grammar, casting)
    return lines


def _is_list(path: Path) -> bool:
    return path.suffix == ".txt"


def _language(path: Path, options: argparse.Namespace) -> str:
    """Returns the language of a grammar, or the one given for a list of sentences."""
    from asr.grammar.templates import load_grammar

    return options.language or LANGUAGE if _is_list(path) else load_grammar(path).language


def _sampler(path: Path, options: argparse.Namespace) -> Sampler | SentenceList:
    from asr.grammar.sampling import Sampler
    from asr.grammar.templates import load_grammar
    from data_prep.sentence_list import SentenceList

    return SentenceList(path, language=_language(path, options)) if _is_list(path) else Sampler(load_grammar(path))


def _plan_other_speech(options: argparse.Namespace, grammar: Grammar, casting: Casting) -> list[Line]:
    """Sentences of the other grammar that are none of this one."""
    import numpy as np

    from asr.grammar.parsing import SentenceParser
    from data_prep.speaking import plan_split

    sampler, parser = _sampler(options.other_speech, options), SentenceParser(grammar)
    lines: list[Line] = []
    left_out: set[str] = set()
    for number, split in reversed(list(enumerate(SPLITS))):
        rng = np.random.default_rng([options.seed, 1 + len(SPLITS) + number])
        wanted = options.num_other if split == "train" else options.num_other_held_out
        said = sampler.sample(wanted, min_count=0, rng=rng)
        left_out |= {each.text for each in said if parser.parse(each.text)}
        others = [each for each in said if each.text not in left_out]
        lines = plan_split(split, others, casting=casting, suffix=options.format, rng=rng, folder=OTHER_SPEECH) + lines
    for text in sorted(left_out):
        print(f"{options.other_speech}: left out, as it is a command: {text}")
    return lines


def _casting(options: argparse.Namespace, engines: Engines) -> Casting:
    import numpy as np

    from data_prep.casting import Casting, ValueRange, cast_all, choose_accents, with_accents

    # No speaker is spared for a split without sentences.
    is_heard = {split: options.other_speech is not None or getattr(options, f"num_{split}") > 0 for split in SPLITS}
    speakers = cast_all(
        engines,
        num_dev=options.num_dev_speakers * is_heard["dev"],
        num_test=options.num_test_speakers * is_heard["test"],
        rng=np.random.default_rng([options.seed, 0]),
        named={split: names for split in ("dev", "test") if (names := getattr(options, f"{split}_voices"))},
    )
    accents = choose_accents(engines, options.accents)
    return Casting(
        speakers=with_accents(speakers, accents, heard=[split for split in SPLITS if is_heard[split]]),
        shares=options.engines,
        accents=accents,
        words_per_minute=ValueRange(options.slowest, options.fastest),
        pitch=ValueRange(options.lowest_pitch, options.highest_pitch),
    )


def check_settings(options: argparse.Namespace, engines: Engines) -> None:
    """Write down what the folder is made from; SynthesisError where it was made from something else."""
    from asr.files.digest import file_digest
    from asr.files.replacing import replacing
    from data_prep.voices import SynthesisError

    settings: dict[str, Any] = {
        name: value
        for name, value in sorted(vars(options).items())
        if name not in ("grammar", "output_dir", "num_workers")
    }
    settings["grammar_sha256"] = file_digest(options.grammar)
    of_others = {name: settings.pop(name) for name in ("other_speech", "num_other", "num_other_held_out")}
    if options.other_speech is not None:
        settings |= of_others
        settings["other_speech"] = file_digest(options.other_speech)
    settings["engine_versions"] = {name: engine.version for name, engine in engines.items()}
    path = options.output_dir / SETTINGS_NAME
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        keys = sorted(settings.keys() | earlier.keys())
        different = [
            f"{key} was {earlier.get(key)}, now {settings.get(key)}"
            for key in keys
            if earlier.get(key) != settings.get(key)
        ]
        if different:
            raise SynthesisError(
                f"{options.output_dir}: made with other settings: {'; '.join(different)}; expected the same; choose "
                f"another folder, or remove this one first"
            )
    with replacing(path) as beside:
        beside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def speak(lines: Sequence[Line], options: argparse.Namespace) -> dict[str, float]:
    """Speak all lines; gives their durations in seconds, by id."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from data_prep.speaking import speak_all

    durations: dict[str, float] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("sentences spoken", total=len(lines))
        for spoken in speak_all(
            lines,
            options.output_dir,
            sample_rate=options.sample_rate,
            num_workers=options.num_workers,
        ):
            durations |= spoken
            progress.update(bar, completed=len(durations))
    return durations


def write_manifests(lines: Sequence[Line], durations: dict[str, float], options: argparse.Namespace) -> None:
    """The manifest of each split, the page to listen to, and the summary on screen."""
    from asr.data.manifest_writing import write_manifest
    from data_prep.listening import write_page
    from data_prep.summary import print_summary
    from data_prep.validation import Kept

    splits: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for line in lines:
        name = (line.folder / line.split).as_posix()
        splits.setdefault(name, []).append(_utterance(line, durations[line.id], options.output_dir))
    for split, utterances in splits.items():
        if utterances:
            write_manifest(options.output_dir / f"{split}.jsonl", utterances)
    page = options.output_dir / "listen.html"
    chosen = {
        split: utterances[:: max(1, len(utterances) // NUM_TO_HEAR)][:NUM_TO_HEAR]
        for split, utterances in splits.items()
    }
    write_page(page, chosen, title=f"{options.grammar.stem}: spoken commands")
    kept = {split: [Kept(each, options.sample_rate) for each in utterances] for split, utterances in splits.items()}
    print_summary(kept, dropped=(), notes=(f"to listen to some: {page}",), output_dir=options.output_dir)


def _utterance(line: Line, duration: float, folder: Path) -> Utterance:
    from asr.data.manifest import Utterance

    meaning = {"intent": line.command.intent, "slots": line.command.slots}
    return Utterance(
        id=line.id,
        audio_filepath=str((folder / line.file).absolute()),
        duration=duration,
        text=line.command.text,
        speaker=line.speaker,
        extra={
            **(meaning if line.is_command else {}),
            "accent": line.delivery.accent,
            "words_per_minute": line.delivery.words_per_minute,
            "pitch": line.delivery.pitch,
        },
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program_name("data_prep.synthesize"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "grammar",
        type=locate,
        help="YAML of sentence templates, such as conf/commands/home.yaml, or a .txt of a sentence a line",
    )
    parser.add_argument("output_dir", type=Path, help="folder of the manifests and recordings")
    add = parser.add_argument
    add("--language", help=f"of a .txt file's sentences ({LANGUAGE}); a grammar names its own")
    add("--seed", type=int, default=0, help="of the sentences, the speakers and how they speak (0)")
    add("--num-train", type=int, default=8000, help="sentences to train on (8000); 0: only dev and test are spoken")
    add("--num-dev", type=int, default=400, help="sentences of dev (400); 0: all speakers are in train")
    add("--num-test", type=int, default=400, help="sentences of test (400); 0: all speakers are in train")
    add("--min-count", type=int, default=3, help="how often each choice and pair of words is in train at least (3)")
    add(
        "--other-speech", type=locate, metavar="GRAMMAR", help="sentences that are no commands, to speak too; or a .txt"
    )
    add("--num-other", type=int, default=3000, help="of these in train (3000)")
    add("--num-other-held-out", type=int, default=1000, help="of these in dev, and in test (1000)")
    add("--num-dev-speakers", type=int, default=8, help="voices that only dev has (8)")
    add("--num-test-speakers", type=int, default=8, help="voices that only test has (8)")
    for split in ("dev", "test"):
        add(
            f"--{split}-voices",
            type=lambda names: names.split(","),
            help=f"those of {split} by name, such as flite/slt,hibari/w098-p100, in the place of speakers drawn of the "
            f"first engine",
        )
    add(
        "--engines",
        default="espeak",
        help="synthesizers and their shares of train, such as espeak=2,flite; auto "
        "for all that are installed, in equal shares; dev and test hear the first (espeak)",
    )
    add("--accents", help="comma between them; all that the engines have, unless given")
    add("--slowest", type=int, default=120, help="words per minute (120)")
    add("--fastest", type=int, default=210, help="words per minute (210)")
    add("--lowest-pitch", type=int, default=30, help="0 to 100, 50 is the speaker's own (30)")
    add("--highest-pitch", type=int, default=70, help="0 to 100, 50 is the speaker's own (70)")
    add("--sample-rate", type=int, default=16000, help="hertz (16000)")
    add("--format", choices=("wav", "flac"), default="wav", help="of the recordings (wav)")
    add("--num-workers", type=int, default=os.cpu_count() or 1, help="processes that speak")
    return parser


def _check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    at_least_one = ("num_workers", "num_dev_speakers", "num_test_speakers", "sample_rate")
    for name in at_least_one:
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: {getattr(options, name)}; expected at least 1")
    for name in ("seed", "num_train", "num_dev", "num_test", "min_count", "num_other", "num_other_held_out"):
        if getattr(options, name) < 0:
            parser.error(f"--{name.replace('_', '-')}: {getattr(options, name)}; expected at least 0")
    if options.num_train + options.num_dev + options.num_test == 0:
        parser.error("--num-train 0 --num-dev 0 --num-test 0; expected sentences in one of them at least")
    if not 80 <= options.slowest <= options.fastest <= 450:
        parser.error(
            f"--slowest {options.slowest} --fastest {options.fastest}; expected 80 <= slowest <= fastest <= 450"
        )
    if not 0 <= options.lowest_pitch <= options.highest_pitch <= 100:
        parser.error("--lowest-pitch, --highest-pitch: expected 0 <= lowest <= highest <= 100")
    if _is_list(options.grammar) and options.other_speech is not None:
        parser.error("--other-speech: beside sentences that are no commands; expected a grammar; leave it out")
    if options.language and not any(each and _is_list(each) for each in (options.grammar, options.other_speech)):
        parser.error(f"--language {options.language}: beside a grammar, which names its own; leave it out")


def _load_engines(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Engines:
    """The synthesizers named, in that order; puts their shares into the options."""
    from data_prep.voices import ENGINES, InLanguage, SynthesisError, load_engine

    language = _language(options.grammar, options)
    if options.other_speech is not None and (other := _language(options.other_speech, options)) != language:
        raise SynthesisError(
            f"{options.other_speech}: in language '{other}', but {options.grammar} in '{language}'; expected the same "
            f"voices for both"
        )
    shares: dict[str, int] = {}
    for part in ",".join(ENGINES).split(",") if options.engines == "auto" else options.engines.split(","):
        name, _, share = part.partition("=")
        if name not in ENGINES or name in shares:
            parser.error(f"--engines: '{name}'; expected auto, or each once, of {', '.join(ENGINES)}")
        if not (share or "1").isdecimal() or int(share or "1") < 1:
            parser.error(f"--engines: {name}={share}; expected a whole number of at least 1")
        shares[name] = int(share or "1")
    engines = {}
    for name in shares:
        try:
            engines[name] = InLanguage(name, load_engine(name), language)
        except SynthesisError as error:
            if options.engines != "auto" or name == ENGINES[0]:
                raise
            print(f"without {error}")
    options.engines = {name: shares[name] for name in engines}
    return engines


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    _check_options(parser, options)
    engines = _load_engines(parser, options)
    lines = plan(options, engines)
    check_settings(options, engines)
    write_manifests(lines, speak(lines, options), options)
    return EXIT_OK


if __name__ == "__main__":
    run_program(main)
