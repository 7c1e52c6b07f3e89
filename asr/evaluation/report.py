"""Reports an evaluation as one HTML page that needs nothing else: figures, tables, every utterance to hear."""

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asr.data.manifest import Utterance
from asr.evaluation.breakdown import JudgedCommand
from asr.evaluation.groups import Confusion, GroupScore
from asr.evaluation.intervals import Interval
from asr.evaluation.reference_form import FormFault
from asr.files.replacing import replacing
from asr.metrics import ErrorCounts, Operation
from asr.pages.player import embedded_audio
from asr.pages.render import render
from asr.recognizer import Transcription
from asr.understanding.scoring import CommandScore

TEMPLATE = "report.html.j2"
LONGEST_EMBEDDED = 30.0  # seconds; longer recordings would make the page heavy
MAX_EMBEDDED_BYTES = 20_000_000  # of audio in one page

AudioChoice = Literal["embed", "link", "none"]


@dataclass(frozen=True)
class ScoredUtterance:
    """One recognised utterance beside its reference."""

    utterance: Utterance
    transcription: Transcription
    alignment: list[Operation]
    words: ErrorCounts
    characters: ErrorCounts
    reference: str  # as it was compared: the utterance's text, or its normalised form


@dataclass(frozen=True)
class Failure:
    """An utterance whose recording could not be read."""

    id: str
    error: str


@dataclass(frozen=True)
class Hallucinated:
    """Words that were heard where nothing was said: in silence, in noise."""

    num_utterances: int
    num_words: int
    minutes: float

    @property
    def words_a_minute(self) -> float:
        return self.num_words / self.minutes


@dataclass(frozen=True)
class Evaluation:
    """All figures of one run on one manifest."""

    run: str
    manifest: str
    utterances: list[ScoredUtterance]  # in the order of the manifest
    failures: list[Failure]
    words: GroupScore
    characters: GroupScore
    word_interval: Interval
    character_interval: Interval
    speakers: dict[str, GroupScore]
    commands: dict[str, GroupScore]  # by transcript, where spoken more than once
    confusions: list[Confusion]
    form_faults: list[FormFault]  # what the references hold that no transcript can
    normalized: bool = False  # references and transcripts were compared in lower case, without punctuation
    understanding: CommandScore | None = None  # with a grammar only
    judged: tuple[JudgedCommand, ...] = ()  # as the utterances, with a grammar only

    @property
    def duration(self) -> float:
        """Returns seconds of speech that were scored."""
        return sum(scored.utterance.duration for scored in self.utterances)

    @property
    def has_transcripts(self) -> bool:
        """Returns whether there are words to compare with: labels of commands often come without."""
        return self.words.counts.reference_length > 0

    @property
    def hallucinated(self) -> Hallucinated | None:
        """Counts words in the utterances in which nothing is said; None if there are none.

        With a grammar too: what is recognised then is a command, and false accepts are counted.
        """
        if self.understanding is not None:
            return None
        empty = [scored for scored in self.utterances if not scored.words.reference_length]
        if not empty:
            return None
        return Hallucinated(
            num_utterances=len(empty),
            num_words=sum(scored.words.insertions for scored in empty),
            minutes=sum(scored.utterance.duration for scored in empty) / 60,
        )


def write_report(path: Path, evaluation: Evaluation, *, audio: AudioChoice, max_utterances: int) -> None:
    """Write the page; of more than `max_utterances`, those with the most word errors are shown.

    `audio`: "embed" puts short recordings into the page as MP3, up to MAX_EMBEDDED_BYTES; "link" refers to the files
    where they are; "none" leaves them out.
    """
    chosen = _worst(evaluation.utterances, max_utterances)
    sources = audio_sources([(each.utterance, each.words.errors) for each in chosen], audio)
    page = render(
        TEMPLATE,
        evaluation=evaluation,
        rows=[{"number": index, "scored": scored, "audio": sources.get(index)} for index, scored in enumerate(chosen)],
        audio=audio,
        tables=[
            ("Speakers", "Speaker", _ranked(evaluation.speakers)),
            ("Commands", "Transcript", _ranked(evaluation.commands)),
        ],
        speakers=sorted({scored.utterance.speaker for scored in chosen if scored.utterance.speaker is not None}),
        longest=max((each.utterance.duration for each in chosen), default=0.0),
        longest_embedded=LONGEST_EMBEDDED,
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _worst(utterances: Sequence[ScoredUtterance], number: int) -> list[ScoredUtterance]:
    """Returns the `number` utterances with the most word errors, in the order given."""
    order = sorted(range(len(utterances)), key=lambda index: (-utterances[index].words.errors, index))
    return [utterances[index] for index in sorted(order[:number])]


def audio_sources(utterances: Sequence[tuple[Utterance, float]], audio: AudioChoice) -> dict[int, str]:
    """Returns the `src` of a player by the utterance's place; those with the highest number are embedded first."""
    sources: dict[int, str] = {}
    num_bytes = 0
    for index in sorted(range(len(utterances)), key=lambda index: (-utterances[index][1], index)):
        source = _audio_source(utterances[index][0], audio)
        if source and num_bytes + len(source) <= MAX_EMBEDDED_BYTES:
            sources[index] = source
            num_bytes += len(source) if audio == "embed" else 0
    return sources


def _audio_source(utterance: Utterance, audio: AudioChoice) -> str | None:
    """Returns the `src` of a player."""
    if audio == "none" or (audio == "embed" and utterance.duration > LONGEST_EMBEDDED):
        return None
    if audio == "link":
        # A media fragment plays the stretch alone: file:///x/a.wav#t=2.5,5.735
        end = utterance.offset + utterance.duration
        return f"file://{urllib.parse.quote(utterance.audio_filepath)}#t={utterance.offset:g},{end:g}"
    return embedded_audio(utterance.stretch)


def _ranked(groups: dict[str, GroupScore]) -> list[tuple[str, GroupScore]]:
    """Worst first."""
    return sorted(groups.items(), key=lambda item: (-item[1].counts.rate, -item[1].counts.errors, item[0]))
