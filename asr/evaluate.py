"""Score a trained run on a manifest: python -m asr.evaluate RUN MANIFEST

Writes into RUN/evaluations/MANIFEST (or --output-dir): report.html (open it in a browser), results.json (the
figures) and utterances.jsonl (a manifest with `pred_text` and the errors of each utterance).
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.runtime import EXIT_BAD_FILES, EXIT_OK, run_program

if TYPE_CHECKING:
    from rich.console import Console

    from asr.commands.scoring import CommandScore
    from asr.commands.understanding import CommandSearch
    from asr.manifest import Manifest, Utterance
    from asr.metrics import ErrorCounts, GroupScore, Interval
    from asr.recognizer import Recognizer, Transcription
    from asr.report import Evaluation, Failure, ScoredUtterance

NUM_SHOWN = 10  # rows of each table on the console
NUM_CONFUSIONS = 100


class EvaluationError(ValueError):
    """A manifest that gives nothing to score."""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    import torch
    from rich.console import Console

    from asr.manifest import Manifest
    from asr.recognizer import Recognizer
    from asr.report import write_report

    torch.set_num_threads(options.num_threads)
    recognizer = Recognizer.load(options.run, device=options.device, commands=options.commands)
    manifest = Manifest.read(options.manifest)
    scored, failures = recognize_manifest(recognizer, manifest, batch_size=options.batch_size)
    evaluation = summarize(scored, failures, recognizer=recognizer, options=options)
    folder = options.output_dir or options.run / "evaluations" / f"{manifest.path.parent.name}-{manifest.path.stem}"
    write_utterances(folder / "utterances.jsonl", evaluation)
    write_results(folder / "results.json", evaluation)
    write_report(folder / "report.html", evaluation, audio=options.audio, max_utterances=options.max_in_report)
    show(Console(), evaluation, folder)
    return EXIT_BAD_FILES if failures else EXIT_OK


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m asr.evaluate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder of asr.train")
    parser.add_argument("manifest", type=Path, help="JSON lines of utterances with their text")
    parser.add_argument("--output-dir", type=Path, help="default: RUN/evaluations/MANIFEST")
    parser.add_argument(
        "--commands",
        type=Path,
        help="a grammar, such as conf/commands/home.yaml; scores the manifest's intent and slots",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="utterances at a time (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--min-repeats",
        type=int,
        default=2,
        help="a transcript spoken at least so often is listed as a command (default: %(default)s)",
    )
    parser.add_argument(
        "--audio",
        choices=("embed", "link", "none"),
        default="embed",
        help="recordings in the report (default: %(default)s)",
    )
    parser.add_argument(
        "--max-in-report", type=int, default=1000, help="utterances in the report, worst first (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    return parser.parse_args(arguments)


def recognize_manifest(
    recognizer: "Recognizer", manifest: "Manifest", *, batch_size: int
) -> "tuple[list[ScoredUtterance], list[Failure]]":
    """Recognise every utterance; what cannot be read is a failure, in the order of the manifest."""
    from rich.console import Console
    from rich.progress import track

    from asr.recognizer import Stretch
    from asr.report import Failure

    utterances = list(manifest)
    stretches = [Stretch(Path(item.audio_filepath), item.offset, item.duration) for item in utterances]
    outcomes = track(
        recognizer.transcribe_stretches(stretches, manifest.durations.tolist(), batch_size=batch_size),
        description="recognising",
        total=len(utterances),
        console=Console(stderr=True),
        transient=True,
    )
    heard, errors = {}, {}
    for outcome in outcomes:
        if outcome.transcription is None:
            errors[outcome.index] = Failure(utterances[outcome.index].id, str(outcome.error))
        else:
            heard[outcome.index] = outcome.transcription
    order = sorted(heard)
    scored = score([utterances[index] for index in order], [heard[index] for index in order])
    return scored, [errors[index] for index in sorted(errors)]


def score(utterances: "Sequence[Utterance]", transcriptions: "Sequence[Transcription]") -> "list[ScoredUtterance]":
    """Align each transcription with its reference."""
    from asr.metrics import align_words, count_character_errors, count_operations
    from asr.report import ScoredUtterance

    references = [utterance.text for utterance in utterances]
    hypotheses = [transcription.text for transcription in transcriptions]
    alignments = align_words(references, hypotheses)
    characters = count_character_errors(references, hypotheses)
    return [
        ScoredUtterance(utterance, transcription, alignment, words=count_operations(alignment), characters=letters)
        for utterance, transcription, alignment, letters in zip(
            utterances, transcriptions, alignments, characters, strict=True
        )
    ]


def summarize(
    scored: "list[ScoredUtterance]",
    failures: "list[Failure]",
    *,
    recognizer: "Recognizer",
    options: argparse.Namespace,
) -> "Evaluation":
    """All totals. Raises EvaluationError where no utterance could be read."""
    import numpy as np

    from asr.metrics import bootstrap_interval, most_confused, score_group, score_groups
    from asr.report import Evaluation

    if not scored:
        raise EvaluationError(
            f"{options.manifest}: none of its {len(failures)} utterances could be read; expected at least one. "
            f"The first: {failures[0].error}"
        )
    words, characters = [item.words for item in scored], [item.characters for item in scored]
    spoken = [item for item in scored if item.utterance.speaker is not None]
    repeats = Counter(item.utterance.text for item in scored)
    commands = [item for item in scored if repeats[item.utterance.text] >= options.min_repeats]
    return Evaluation(
        run=str(options.run),
        manifest=str(options.manifest),
        utterances=scored,
        failures=failures,
        words=score_group(words),
        characters=score_group(characters),
        word_interval=bootstrap_interval(words, generator=np.random.default_rng(options.seed)),
        character_interval=bootstrap_interval(characters, generator=np.random.default_rng(options.seed)),
        speakers=score_groups([item.utterance.speaker or "" for item in spoken], [item.words for item in spoken]),
        commands=score_groups([item.utterance.text for item in commands], [item.words for item in commands]),
        confusions=most_confused((item.alignment for item in scored), limit=NUM_CONFUSIONS),
        unknown_characters=_count_unknown(recognizer, (item.utterance.text for item in scored)),
        understanding=_score_commands(scored, recognizer.commands) if recognizer.commands is not None else None,
    )


def _score_commands(scored: "list[ScoredUtterance]", commands: "CommandSearch") -> "CommandScore":
    """By the manifest's `intent` and `slots`, or where it has none by what its text means in the grammar.

    An utterance whose intent is null, or whose text is no command, is one that should not be understood.
    """
    from asr.commands.scoring import Labelled, score_commands

    labelled = []
    for item in scored:
        label, result = item.utterance.extra, item.transcription.command
        assert result is not None
        if "intent" in label:
            intent, slots = label["intent"], label.get("slots") or {}
        else:
            meanings = commands.meanings(item.utterance.text)
            intent, slots = (meanings[0].intent, meanings[0].slots) if meanings else (None, {})
        if not isinstance(slots, dict) or not isinstance(intent, str | None):
            raise EvaluationError(
                f"utterance {item.utterance.id}: intent {intent!r} with slots {slots!r}; expected a name, and slots as "
                f'{{"name": "value"}}'
            )
        labelled.append(Labelled(intent, slots, result, item.utterance.duration))
    return score_commands(labelled)


def _count_unknown(recognizer: "Recognizer", texts: Iterable[str]) -> dict[str, int]:
    """Characters that no transcript of this recogniser can hold, most frequent first."""
    characters = Counter(character for text in texts for character in text)
    unknown = recognizer.tokenizer.unknown_characters("".join(characters))
    return {character: number for character, number in characters.most_common() if character in unknown}


def write_utterances(path: Path, evaluation: "Evaluation") -> None:
    """A manifest of what was scored: each line of the input with `pred_text`, score and counts added."""
    from dataclasses import asdict, replace

    from asr.manifest import write_manifest

    write_manifest(
        path,
        (
            replace(
                item.utterance,
                extra={
                    **item.utterance.extra,
                    "pred_text": item.transcription.text,
                    "score": round(item.transcription.score, 6),
                    "word_errors": asdict(item.words),
                    "character_errors": asdict(item.characters),
                    **({"command": item.transcription.command.to_dict()} if item.transcription.command else {}),
                },
            )
            for item in evaluation.utterances
        ),
    )


def write_results(path: Path, evaluation: "Evaluation") -> None:
    """Every figure, for other programs; a rate over no words is null."""
    from dataclasses import asdict

    from asr.checkpoint import write_text

    results = {
        "run": evaluation.run,
        "manifest": evaluation.manifest,
        "num_utterances": evaluation.words.num_utterances,
        "num_failed": len(evaluation.failures),
        "num_exact": evaluation.words.num_exact,
        "duration": round(evaluation.duration, 3),
        "wer": _rate(evaluation.words.counts, evaluation.word_interval),
        "cer": _rate(evaluation.characters.counts, evaluation.character_interval),
        "speakers": {name: _group(group) for name, group in evaluation.speakers.items()},
        "commands": {name: _group(group) for name, group in evaluation.commands.items()},
        "confusions": [asdict(confusion) for confusion in evaluation.confusions],
        "unknown_characters": evaluation.unknown_characters,
        "failures": [asdict(failure) for failure in evaluation.failures],
    }
    if evaluation.understanding is not None:
        results["understanding"] = asdict(evaluation.understanding)
    write_text(path, json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _rate(counts: "ErrorCounts", interval: "Interval") -> dict[str, Any]:
    low, high = (value if math.isfinite(value) else None for value in (interval.low, interval.high))
    return {**_counts(counts), "low": low, "high": high}


def _group(group: "GroupScore") -> dict[str, Any]:
    return {"num_utterances": group.num_utterances, "num_exact": group.num_exact, **_counts(group.counts)}


def _counts(counts: "ErrorCounts") -> dict[str, Any]:
    from dataclasses import asdict

    return {"rate": counts.rate if math.isfinite(counts.rate) else None, **asdict(counts)}


def show(console: "Console", evaluation: "Evaluation", folder: Path) -> None:
    """The figures on the console; the failures last, where they are seen."""
    # Labels of commands often come without transcripts.
    if evaluation.understanding is None or evaluation.words.counts.reference_length:
        _show_rates(console, evaluation)
    if evaluation.understanding is not None:
        _show_understanding(console, evaluation.understanding)
    for confusion in evaluation.confusions[:NUM_SHOWN]:
        console.print(
            f"  {confusion.count:4d} x {confusion.reference} heard as {confusion.hypothesis}", highlight=False
        )
    if evaluation.unknown_characters:
        named = ", ".join(f"{character!r} ({times})" for character, times in evaluation.unknown_characters.items())
        line = f"warning: the references hold characters the tokenizer lacks: {named}"
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False, markup=False)
    for failure in evaluation.failures:
        console.print(f"not scored: {failure.id}: {failure.error}", style="red", soft_wrap=True, markup=False)


def _show_rates(console: "Console", evaluation: "Evaluation") -> None:
    """WER and CER, of all and of the worst speakers and transcripts."""
    from rich.table import Table

    table = Table(
        "", "rate", "95 % interval", "sub", "del", "ins", "of", title=f"{evaluation.run} on {evaluation.manifest}"
    )
    for name, group, interval in (
        ("WER", evaluation.words, evaluation.word_interval),
        ("CER", evaluation.characters, evaluation.character_interval),
    ):
        counts = group.counts
        edits = (counts.substitutions, counts.deletions, counts.insertions, counts.reference_length)
        between = f"{interval.low:.2%} to {interval.high:.2%}"
        table.add_row(name, f"{counts.rate:.2%}", between, *(f"{number:,}" for number in edits))
    console.print(table)
    right, number = evaluation.words.num_exact, evaluation.words.num_utterances
    console.print(f"{right:,} of {number:,} utterances without an error ({right / number:.2%})", highlight=False)
    for title, groups in (("speakers", evaluation.speakers), ("commands", evaluation.commands)):
        _show_groups(console, title, groups)


def _show_understanding(console: "Console", understanding: "CommandScore") -> None:
    """Acceptance, intents, slots and false accepts."""
    from rich.markup import escape
    from rich.table import Table

    rows = {
        "accepted (intent and all slots right)": understanding.accepted,
        "right, before any is rejected": understanding.guessed,
        "understood, rightly or wrongly": understanding.understood,
        "intents right": understanding.intents,
        "slots right": understanding.all_slots,
        **{f"  {slot}": share for slot, share in understanding.slots.items()},
        f"false accepts in {understanding.other_hours:.2f} h": understanding.false_accepts,
    }
    table = Table("commands", "number", "of", "share")
    for name, share in rows.items():
        if share.total:
            table.add_row(escape(name), f"{share.number:,}", f"{share.total:,}", f"{share.rate:.1%}")
    console.print(table)
    for slot, expected, found, number in understanding.confused[:NUM_SHOWN]:
        taken = f"taken for {found}" if found else "missed"
        console.print(f"  {number:4d} x {slot}: {expected} {taken}", highlight=False, markup=False)


def _show_groups(console: "Console", title: str, groups: "dict[str, GroupScore]") -> None:
    """The worst of them."""
    from rich.markup import escape
    from rich.table import Table

    if not groups:
        return
    worst = sorted(groups.items(), key=lambda item: (-item[1].counts.rate, item[0]))[:NUM_SHOWN]
    table = Table(title, "utterances", "right", "WER", title=f"the worst {len(worst)} of {len(groups)} {title}")
    for name, group in worst:
        table.add_row(escape(name), str(group.num_utterances), str(group.num_exact), f"{group.counts.rate:.2%}")
    console.print(table)


if __name__ == "__main__":
    run_program(main)
