"""Says what to do next about a run: suspect transcripts, what its log shows, and what it confuses on dev."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.config.recognizer import Config
from asr.data.manifest import Manifest
from asr.evaluation.report import Evaluation, audio_sources
from asr.evaluation.scoring import EvaluationError, ScoringOptions, recognize_manifest, summarize
from asr.files.packaged import results_parent
from asr.files.replacing import absolute_path
from asr.improvement.advice import Advice, Remark, by_gain
from asr.improvement.hearing import ImprovementError, Judged, Listed, Unread, judge_transcripts
from asr.improvement.history import diagnose, read_history
from asr.improvement.suspects import Suspect, choose_reviewed, exclude_marked, rank_suspects, write_suspects
from asr.metrics import count_word_errors, total
from asr.pages.render import render
from asr.process.distributed import set_num_threads
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK
from asr.recognizer import Recognizer
from asr.runs.checkpoint import write_text
from asr.runs.recognizer import open_run

TEMPLATE = "improvement.html.j2"
MOST_ON_PAGE = 200  # suspects with players


@dataclass(frozen=True)
class ImprovementSettings:
    """Says of which run, and how much is looked at."""

    run: Path
    manifests: Sequence[Path] = ()  # in the place of the training's own
    dev: Path | None = None  # in the place of the training's own
    output_dir: Path | None = None  # None: in the run folder
    review: float = 0.05  # share of the utterances that a person is to look at
    max_utterances: int = 5000  # of training, spread evenly
    num_threads: int = 1

    @property
    def folder(self) -> Path:
        """Returns where the page and its table lie."""
        return self.output_dir or results_parent(self.run) / "improvement"


@dataclass(frozen=True)
class Improvement:
    """Holds all that was found."""

    run: str
    advice: list[Advice]
    remarks: list[Remark]
    suspects: list[Suspect]
    num_judged: int
    unread: list[Unread]
    dev: Evaluation | None
    train_wer: float | None


def run(settings: ImprovementSettings) -> int:
    """Writes the page, the figures and the table of suspects, prints a summary and returns the exit code."""
    set_num_threads(settings.num_threads)
    _, config = open_run(settings.run)
    recognizer = Recognizer.load(settings.run)
    folder = settings.folder
    found = find_improvement(settings, recognizer, config)
    kept = write_suspects(folder / "suspects.csv", found.suspects) if found.suspects else 0
    write_text(folder / "results.json", json.dumps(_results(found), ensure_ascii=False, indent=1) + "\n")
    shown = found.suspects[:MOST_ON_PAGE]
    audio = audio_sources([(each.judged.utterance, each.suspicion) for each in shown], "embed")
    write_text(folder / "improvement.html", render(TEMPLATE, found=found, shown=shown, audio=audio))
    print(*_summary(found, folder, kept), sep="\n")
    return EXIT_BAD_FILES if found.unread or (found.dev and found.dev.failures) else EXIT_OK


def exclude(settings: ImprovementSettings, table: Path) -> int:
    """Writes the training's manifests without what is marked in a table, and prints how to train on them."""
    folder, config = open_run(settings.run)
    written = {absolute_path(old): new for old, new in exclude_marked(table, settings.folder / "without_marked", print)}
    sources = config.data.train
    named = [(number, written.get(absolute_path(each.manifest))) for number, each in enumerate(sources)]
    overrides = " ".join(f"data.train.{number}.manifest={path}" for number, path in named if path is not None)
    print(f"train without them: earshot train {folder.config_path} run_dir={folder.path}_without_marked {overrides}")
    return EXIT_OK


def find_improvement(settings: ImprovementSettings, recognizer: Recognizer, config: Config) -> Improvement:
    """Looks at each part; one that cannot be looked at is a remark, and the others go on.

    Raises ImprovementError where no part is left.
    """
    remarks: list[Remark] = []
    judged, unread = _judge(settings, recognizer, config, remarks)
    dev = _evaluate(settings, recognizer, config, remarks)
    counts = total(count_word_errors([each.utterance.text for each in judged], [each.heard for each in judged]))
    train_wer = counts.rate if counts.reference_length else None
    advice: list[Advice] = []
    try:
        dev_wer = dev.words.counts.rate if dev is not None else None
        advice += diagnose(read_history(settings.run), config, train_wer=train_wer, dev_wer=dev_wer)
    except ImprovementError as error:
        remarks.append(Remark("course of the training", str(error)))
    if len(remarks) == 3:
        raise ImprovementError("; ".join(f"{each.part}: {each.reason}" for each in remarks))
    suspects = choose_reviewed(rank_suspects(judged), settings.review) if judged else []
    if suspects:
        advice.append(_look_at(suspects, judged, settings))
    if dev is not None:
        advice += _speakers(dev)
    return Improvement(
        str(settings.run), by_gain(advice), remarks, suspects, len(judged), unread, dev, train_wer if judged else None
    )


def _judge(
    settings: ImprovementSettings, recognizer: Recognizer, config: Config, remarks: list[Remark]
) -> tuple[list[Judged], list[Unread]]:
    given = [str(path) for path in settings.manifests]
    paths = given or [each.manifest for each in config.data.train if not each.without_speech]
    try:
        listed = [Listed(each, path) for path in paths for each in Manifest.read(path)]
        number = min(len(listed), settings.max_utterances)
        if number < len(listed):
            print(f"{number:,} of {len(listed):,} training utterances, spread evenly (--max-utterances)")
        places = np.linspace(0, len(listed) - 1, number).round().astype(int).tolist()
        judged, unread = judge_transcripts(recognizer, [listed[place] for place in places])
    except ValueError as error:
        remarks.append(Remark("suspect transcripts", str(error)))
        return [], []
    if not judged:
        remarks.append(Remark("suspect transcripts", f"no recording could be read; the first: {unread[0].error}"))
    return judged, unread


def _evaluate(
    settings: ImprovementSettings, recognizer: Recognizer, config: Config, remarks: list[Remark]
) -> Evaluation | None:
    path = settings.dev or Path(config.data.dev.manifest)
    options = ScoringOptions()
    try:
        scored, failures = recognize_manifest(recognizer, Manifest.read(path), batch_size=16)
        return summarize(scored, failures, recognizer=recognizer, run=settings.run, manifest=path, options=options)
    except (EvaluationError, ValueError) as error:
        remarks.append(Remark("what is confused on dev", str(error)))
        return None


def _look_at(suspects: Sequence[Suspect], judged: Sequence[Judged], settings: ImprovementSettings) -> Advice:
    differing = sum(each.judged.errors.errors > 0 for each in suspects)
    return Advice(
        "Look at the suspect transcripts",
        f"{len(suspects):,} of {len(judged):,} utterances stand out; in {differing:,} something else is heard than is "
        "written",
        f"mark what is wrong in {settings.folder / 'suspects.csv'}, then: "
        f"earshot improve {settings.run} --exclude {settings.folder / 'suspects.csv'}",
        None,
        "how many are wrong is known once they were looked at",
    )


def _speakers(dev: Evaluation) -> list[Advice]:
    """Returns advice about the speaker whose words go wrong more than all others', by more than chance."""
    found = []
    for name, group in dev.speakers.items():
        counts, everybody = group.counts, dev.words.counts
        others = everybody.reference_length - counts.reference_length
        if min(counts.reference_length, others) < 30:
            continue
        rate = (everybody.errors - counts.errors) / others
        spread = (rate * (1 - min(rate, 1.0)) / counts.reference_length) ** 0.5
        if counts.rate > rate + 3 * spread + 0.01:
            found.append(
                Advice(
                    f"Speaker {name} is understood worst",
                    f"WER {counts.rate:.2%} of {counts.reference_length} words, the others {rate:.2%}",
                    "record more speakers like this one, or add {kind: vocal_tract} and {kind: pitch} to augment",
                    (counts.rate - rate) * counts.reference_length / everybody.reference_length,
                    "at most: if this speaker went as well as the others",
                )
            )
    return found


def _results(found: Improvement) -> dict[str, Any]:
    return {
        "run": found.run,
        "advice": [asdict(each) for each in found.advice],
        "remarks": [asdict(each) for each in found.remarks],
        "num_judged": found.num_judged,
        "train_wer": found.train_wer,
        "dev_wer": found.dev.words.counts.rate if found.dev is not None else None,
        "suspects": [
            {**each.judged.to_dict(), "suspicion": each.suspicion, "reasons": each.reasons} for each in found.suspects
        ],
        "unread": [asdict(each) for each in found.unread],
    }


def _summary(found: Improvement, folder: Path, num_marks: int) -> list[str]:
    lines = []
    for number, each in enumerate(found.advice, 1):
        gain = f"about {100 * each.gain:.2f} points of WER" if each.gain is not None else "gain unknown"
        lines += [f"{number}. {each.title} ({gain})", f"   seen: {each.seen}", f"   do: {each.do}"]
    lines += [] if lines else ["nothing stands out"]
    lines += [f"not looked at: {each.part}: {each.reason}" for each in found.remarks]
    lines += [f"not read: {each.id}: {each.error}" for each in found.unread[:5]]
    lines += [f"{num_marks:,} marks of the earlier suspects.csv were kept"] if num_marks else []
    return [*lines, f"the page is {folder / 'improvement.html'}"]
