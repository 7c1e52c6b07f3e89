"""The same commands under several conditions, such as noise of rising level: how many are accepted in each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.files.replacing import replacing
from asr.understanding.scoring import CommandScore, Proportion, pool_scores

if TYPE_CHECKING:
    from rich.console import Console

    from asr.data.manifest import Utterance

NUM_SHOWN = 10  # confusions


class AcceptanceError(ValueError):
    """A file that does not hold the figures of conditions."""


@dataclass(frozen=True)
class Condition:
    """One manifest's figures, with what they cost."""

    name: str
    score: CommandScore
    snr_db: float | None  # of the noise; None: without, or not known
    audio_seconds: float
    seconds: float  # of one core, from the file to the command; on a GPU, by the clock

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for each second of audio."""
        return self.seconds / self.audio_seconds


def noise_of(utterances: Iterable[Utterance]) -> float | None:
    """The signal-to-noise ratio in dB that all utterances have by their `snr_db`; None without, or mixed."""
    ratios = {utterance.extra.get("snr_db") for utterance in utterances}
    return ratios.pop() if len(ratios) == 1 else None


def mean_in_noise(conditions: Sequence[Condition], *, before_rejecting: bool = False) -> float | None:
    """The mean share accepted over the conditions with noise; None without any."""
    scores = [each.score for each in conditions if each.snr_db is not None]
    rates = [(score.guessed if before_rejecting else score.accepted).rate for score in scores]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def pool_conditions(groups: Iterable[Sequence[Condition]]) -> list[Condition]:
    """Conditions of the same name made one, such as those of the folds of a cross-validation."""
    by_name: dict[str, list[Condition]] = {}
    for group in groups:
        for condition in group:
            by_name.setdefault(condition.name, []).append(condition)
    return [
        Condition(
            name,
            pool_scores([each.score for each in members]),
            snr_db=members[0].snr_db,
            audio_seconds=sum(each.audio_seconds for each in members),
            seconds=sum(each.seconds for each in members),
        )
        for name, members in by_name.items()
    ]


def write_conditions(path: Path, conditions: Sequence[Condition]) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps([asdict(each) for each in conditions], indent=1) + "\n", encoding="utf-8")


def read_conditions(path: Path) -> list[Condition]:
    """Returns what `write_conditions` wrote. Raises AcceptanceError where it is something else."""
    try:
        return [_condition(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AcceptanceError(
            f"{path}: not the figures of commands ({error}); expected a file that asr.evaluate --commands writes"
        ) from error


def _condition(record: dict[str, Any]) -> Condition:
    score = record["score"]
    values: dict[str, Any] = {"other_hours": score["other_hours"]}
    for name in ("accepted", "guessed", "understood", "intents", "false_accepts"):
        values[name] = Proportion(**score[name])
    for name in ("by_intent", "slots"):
        values[name] = {key: Proportion(**share) for key, share in score[name].items()}
    for name in ("confused", "confused_intents"):
        values[name] = [tuple(each) for each in score[name]]
    return Condition(**{**record, "score": CommandScore(**values)})


def show_conditions(console: Console, conditions: Sequence[Condition]) -> None:
    """A row for each condition, the mean of those with noise, and what was wrong in all of them together.

    Conditions without a command have the false accepts instead.
    """
    from rich.markup import escape
    from rich.table import Table

    spoken = [each for each in conditions if each.score.accepted.total]
    table = Table("condition", "accepted", "of", "share", "95 % interval", "before rejecting", "real-time factor")
    for each in spoken:
        accepted = each.score.accepted
        low, high = accepted.interval
        table.add_row(
            escape(each.name),
            f"{accepted.number:,}",
            f"{accepted.total:,}",
            _percent(accepted),
            f"{low:.1%} to {high:.1%}",
            _percent(each.score.guessed),
            f"{each.real_time_factor:.4f}",
        )
    if spoken:
        console.print(table)
    _show_false_accepts(console, [each for each in conditions if each.score.false_accepts.total])
    mean, guessed = mean_in_noise(conditions), mean_in_noise(conditions, before_rejecting=True)
    if mean is not None:
        ratios = sorted(each.snr_db for each in conditions if each.snr_db is not None)
        between = f"{ratios[0]:g} to {ratios[-1]:g} dB"
        console.print(
            f"mean of {len(ratios)} with noise, {between}: {mean:.1%}; before rejecting {guessed:.1%}", highlight=False
        )
    if len(spoken) > 1:
        _show_parts(console, spoken)
    _show_confusions(console, pool_scores([each.score for each in conditions]))


def _show_false_accepts(console: Console, conditions: Sequence[Condition]) -> None:
    """Shows how often a command was understood where there was none."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("without a command", "false accepts", "of", "hours", "an hour", "real-time factor")
    for each in conditions:
        share, hours = each.score.false_accepts, each.score.other_hours
        rate = f"{share.number / hours:.2f}"
        cost = f"{each.real_time_factor:.4f}"
        table.add_row(escape(each.name), f"{share.number:,}", f"{share.total:,}", f"{hours:.2f}", rate, cost)
    if conditions:
        console.print(table)


def _show_parts(console: Console, conditions: Sequence[Condition]) -> None:
    """The slots that are right, and where there are several, the commands of each intent that are accepted."""
    from rich.markup import escape
    from rich.table import Table

    scores = [each.score for each in conditions]
    rows = {slot: [score.slots.get(slot) for score in scores] for slot in pool_scores(scores).slots}
    intents = pool_scores(scores).by_intent
    if len(intents) > 1:
        rows |= {f"intent {intent}": [score.by_intent.get(intent) for score in scores] for intent in intents}
    table = Table("right", *(escape(each.name) for each in conditions))
    for name, shares in rows.items():
        table.add_row(escape(name), *(_percent(share) for share in shares))
    console.print(table)


def _show_confusions(console: Console, score: CommandScore) -> None:
    lines = [(number, f"{intent} taken for {found or 'nothing'}") for intent, found, number in score.confused_intents]
    for number, line in lines[:NUM_SHOWN]:
        console.print(f"  {number:4d} x {line}", highlight=False, markup=False)
    for slot, expected, found, number in score.confused[:NUM_SHOWN]:
        taken = f"taken for {found}" if found else "missed"
        console.print(f"  {number:4d} x {slot}: {expected} {taken}", highlight=False, markup=False)


def _percent(share: Proportion | None) -> str:
    return "–" if share is None or share.rate is None else f"{share.rate:.1%}"
