"""An evaluation of commands as one HTML page that needs nothing else: acceptance, where it is lost, every recording."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.evaluation.breakdown import (
    VERDICTS,
    JudgedCommand,
    SlotValue,
    by_condition,
    by_speaker,
    count_verdicts,
    score_by,
    slot_rows,
    slot_values,
)
from asr.evaluation.report import LONGEST_EMBEDDED, AudioChoice, Evaluation, audio_sources
from asr.files.replacing import replacing
from asr.pages.render import render
from asr.understanding.rejection import poisson_upper
from asr.understanding.scoring import CommandScore

TEMPLATE = "command_report.html.j2"
NUM_TAKEN = 6  # other values named beside one that was mistaken
RANKS = {verdict: len(VERDICTS) - place for place, verdict in enumerate(VERDICTS)}


def write_command_report(path: Path, evaluation: Evaluation, *, audio: AudioChoice, max_utterances: int) -> None:
    """Write the page; of more than `max_utterances` recordings, those with the worst verdicts are shown.

    `audio` is as in `asr.evaluation.report.write_report`.
    """
    score = evaluation.understanding
    assert score is not None
    order = sorted(range(len(evaluation.judged)), key=lambda place: (-RANKS[evaluation.judged[place].verdict], place))
    chosen = sorted(order[:max_utterances])
    judged = [evaluation.judged[place] for place in chosen]
    sources = audio_sources([(each.utterance, RANKS[each.verdict]) for each in judged], audio)
    rows: list[dict[str, Any]] = [
        _row(each, evaluation, place) | {"audio": sources.get(n)}
        for n, (place, each) in enumerate(zip(chosen, judged, strict=True))
    ]
    page = render(
        TEMPLATE,
        evaluation=evaluation,
        score=score,
        false_accepts=_false_accepts(score),
        verdicts=[(name, number, VERDICTS[name]) for name, number in count_verdicts(evaluation.judged).items()],
        groups=_groups(evaluation.judged),
        slots=_by_slot(slot_values(evaluation.judged)),
        rows=rows,
        choices=_choices(rows),
        ranks=RANKS,
        longest=max((each.utterance.duration for each in judged), default=0.0),
        longest_embedded=LONGEST_EMBEDDED,
        audio=audio,
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _choices(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Returns what the page's recordings can be filtered by."""
    verdicts = {row["verdict"] for row in rows}
    found = {name: sorted({str(row[name]) for row in rows if row[name]}) for name in ("intent", "condition", "speaker")}
    return {"verdict": [name for name in VERDICTS if name in verdicts], **found}


def _row(judged: JudgedCommand, evaluation: Evaluation, place: int) -> dict[str, Any]:
    """Returns what the template shows of a recording."""
    result, scored = judged.labelled.result, evaluation.utterances[place]
    intent = judged.labelled.intent
    return {
        "number": place,
        "utterance": judged.utterance,
        "verdict": judged.verdict,
        "intent": intent or "",
        "top": judged.top,
        "slots": slot_rows(judged),
        "condition": judged.condition or "",
        "speaker": judged.utterance.speaker or "",
        "result": result,
        "alignment": scored.alignment if scored.words.reference_length else [],
    }


def _false_accepts(score: CommandScore) -> dict[str, Any] | None:
    """Returns the rate an hour with its upper bound; None where every recording holds a command."""
    if not score.false_accepts.total or not score.other_hours:
        return None
    number = score.false_accepts.number
    return {
        "number": number,
        "total": score.false_accepts.total,
        "hours": score.other_hours,
        "rate": number / score.other_hours,
        "upper": poisson_upper(number) / score.other_hours,
    }


def _groups(judged: Sequence[JudgedCommand]) -> list[tuple[str, str, list[tuple[str, CommandScore]]]]:
    """Returns the tables of conditions, intents and speakers, where there are several; speakers the worst first."""
    intents = score_by(judged, lambda each: each.labelled.intent)
    conditions = score_by(judged, by_condition)
    speakers = sorted(score_by(judged, by_speaker).items(), key=lambda item: (_rate(item[1]), item[0]))
    tables = [
        ("Conditions", "Condition", list(conditions.items())),
        ("Intents", "Intent", list(intents.items())),
        ("Speakers", "Speaker", speakers),
    ]
    return [table for table in tables if len(table[2]) > 1]


def _rate(score: CommandScore) -> float:
    rate = score.accepted.rate
    return 2.0 if rate is None else rate


def _by_slot(values: Sequence[SlotValue]) -> list[dict[str, Any]]:
    """Returns for each slot its values, and how many of them are right; the slots with most mistakes first."""
    slots: dict[str, list[SlotValue]] = {}
    for value in values:
        slots.setdefault(value.slot, []).append(value)
    shown = [
        {
            "slot": slot,
            "num_said": sum(each.num_said for each in rows),
            "num_right": sum(each.num_right for each in rows),
            "rows": [(each, each.taken_for[:NUM_TAKEN], len(each.taken_for) - NUM_TAKEN) for each in rows],
        }
        for slot, rows in slots.items()
    ]
    return sorted(shown, key=lambda slot: slot["num_right"] - slot["num_said"])
