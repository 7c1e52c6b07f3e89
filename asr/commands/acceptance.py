"""The same commands under several conditions, such as noise of rising level: how many are accepted in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asr.commands.scoring import CommandScore, Share

if TYPE_CHECKING:
    from rich.console import Console

    from asr.manifest import Utterance


@dataclass(frozen=True)
class Condition:
    """One manifest's figures, with what they cost."""

    name: str
    score: CommandScore
    snr_db: float | None  # of the noise; None: without, or not known
    audio_seconds: float
    cpu_seconds: float  # processor time from the file to the command

    @property
    def real_time_factor(self) -> float:
        """Seconds of one core for each second of audio."""
        return self.cpu_seconds / self.audio_seconds


def noise_of(utterances: Iterable[Utterance]) -> float | None:
    """The signal-to-noise ratio in dB that all utterances have by their `snr_db`; None without, or mixed."""
    ratios = {utterance.extra.get("snr_db") for utterance in utterances}
    return ratios.pop() if len(ratios) == 1 else None


def mean_in_noise(conditions: Sequence[Condition]) -> float | None:
    """The mean share accepted over the conditions with noise; None without any."""
    rates = [each.score.accepted.rate for each in conditions if each.snr_db is not None]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def show_conditions(console: Console, conditions: Sequence[Condition]) -> None:
    """A row for each condition, and the mean of those with noise."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("condition", "accepted", "95 % interval", "before rejecting", "intents", "slots", "real-time factor")
    for each in conditions:
        score = each.score
        shares = [_percent(share) for share in (score.guessed, score.intents, score.all_slots)]
        low, high = score.accepted.interval
        table.add_row(
            escape(each.name),
            f"{score.accepted.number} of {score.accepted.total} ({_percent(score.accepted)})",
            f"{low:.1%} to {high:.1%}",
            *shares,
            f"{each.real_time_factor:.4f}",
        )
    console.print(table)
    mean = mean_in_noise(conditions)
    if mean is not None:
        ratios = sorted(each.snr_db for each in conditions if each.snr_db is not None)
        console.print(
            f"mean of {len(ratios)} with noise, {ratios[0]:g} to {ratios[-1]:g} dB: {mean:.1%}", highlight=False
        )


def _percent(share: Share) -> str:
    return "–" if share.rate is None else f"{share.rate:.1%}"
