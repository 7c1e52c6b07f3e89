"""Says what a job did, at its end: counts, errors by kind, what was slow, what is empty, what is doubtful."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

NUM_SHOWN = 10  # of the slowest, the empty and the least sure
LOW_CONFIDENCE = 0.5


@dataclass
class JobReport:
    """Filled one record of the journal after the other; of a hundred thousand, it keeps some dozen."""

    num_recordings: int = 0
    num_transcribed: int = 0
    num_resumed: int = 0  # transcribed by an earlier run of the job
    num_kept: int = 0  # recordings of other jobs whose results are in the same place
    audio_seconds: float = 0.0
    worker_seconds: float = 0.0  # of all workers together, for all recordings
    elapsed_seconds: float = 0.0  # of this run
    elapsed_audio_seconds: float = 0.0  # of audio transcribed in this run
    errors: dict[str, Counter[str]] = field(default_factory=dict)  # kind -> message -> number
    num_empty: int = 0
    empty: list[str] = field(default_factory=list)
    hears_commands: bool = False  # so that one without a word is one that was not understood
    num_doubtful: int = 0
    num_channels: int = 0  # transcribed each by itself, where they are
    warnings: dict[str, list[str]] = field(default_factory=dict)  # what is the matter with a signal -> recordings
    num_warned: Counter[str] = field(default_factory=Counter)
    model_rate: int = 0  # hertz that the model hears
    lower_rates: Counter[int] = field(default_factory=Counter)  # hertz -> recordings
    low_rate_example: str = ""
    passed_over: dict[str, int] = field(default_factory=dict)
    is_complete: bool = False  # every recording has been tried
    _slowest: list[tuple[float, str]] = field(default_factory=list)
    _doubtful: list[tuple[float, str]] = field(default_factory=list)

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Counts a recording's last record."""
        self.num_recordings += 1
        if "error" in record:
            self.errors.setdefault(record["error_kind"], Counter())[record["error"]] += 1
            return
        self._add_signal(name, record)
        self.num_transcribed += 1
        duration = sum(transcript["duration"] for transcript in record["transcripts"])
        self.hears_commands |= any(transcript.get("command") is not None for transcript in record["transcripts"])
        self.audio_seconds += duration
        self.worker_seconds += record["seconds"]
        _keep(self._slowest, (record["seconds"] / max(duration, 1e-3), name))
        if not any(transcript["pred_text"] for transcript in record["transcripts"]):
            self.num_empty += 1
            self.empty += [name] if len(self.empty) < NUM_SHOWN else []
        elif (confidence := min(each["confidence"] for each in record["transcripts"])) < LOW_CONFIDENCE:
            self.num_doubtful += 1
            _keep(self._doubtful, (-confidence, name))

    def _add_signal(self, name: str, record: dict[str, Any]) -> None:
        """Adds what is the matter with its samples, apart from what was recognised in them."""
        self.num_channels += len(record["transcripts"]) if record.get("each_channel") else 0
        for warning in dict.fromkeys(each.get("warning") for each in record["transcripts"]):
            if warning is not None:
                self.num_warned[warning] += 1
                named = self.warnings.setdefault(warning, []) if len(self.warnings) < NUM_SHOWN else []
                named += [name] if len(named) < NUM_SHOWN else []
        rate = record.get("sample_rate") or self.model_rate
        if rate < self.model_rate:
            self.lower_rates[rate] += 1
            self.low_rate_example = self.low_rate_example or name

    def _common_failure(self) -> str | None:
        """Why every recording failed, where a library is the one cause."""
        if self.num_transcribed or set(self.errors) != {"library"} or self.num_recordings < 2:
            return None
        causes = {message.partition(": ")[2] for message in self.errors["library"]}
        return causes.pop() if len(causes) == 1 else None

    @property
    def num_errors(self) -> int:
        return sum(sum(messages.values()) for messages in self.errors.values())

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON types."""
        return {
            "recordings": self.num_recordings,
            "transcribed": self.num_transcribed,
            "resumed": self.num_resumed,
            "kept_of_other_jobs": self.num_kept,
            "failed": self.num_errors,
            "is_complete": self.is_complete,
            "audio_hours": round(self.audio_seconds / 3600, 4),
            "worker_rtf": round(self.worker_seconds / max(self.audio_seconds, 1e-9), 6),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "elapsed_audio_hours": round(self.elapsed_audio_seconds / 3600, 4),
            "errors": {kind: sorted(messages) for kind, messages in sorted(self.errors.items())},
            "empty": {"number": self.num_empty, "some": self.empty},
            "low_confidence": {
                "below": LOW_CONFIDENCE,
                "number": self.num_doubtful,
                "lowest": [{"id": name, "confidence": -value} for value, name in sorted(self._doubtful, reverse=True)],
            },
            "warnings": {
                warning: {"number": self.num_warned[warning], "some": names} for warning, names in self.warnings.items()
            },
            "lower_sample_rates": {str(rate): number for rate, number in sorted(self.lower_rates.items())},
            "slowest": [{"id": name, "rtf": round(value, 6)} for value, name in sorted(self._slowest, reverse=True)],
            "passed_over": dict(sorted(self.passed_over.items())),
        }

    def summary(self) -> list[str]:
        """Lines for the console."""
        speed = self.elapsed_audio_seconds / max(self.elapsed_seconds, 1e-9)
        resumed = f", {self.num_resumed:,} of them by an earlier run" if self.num_resumed else ""
        if self.num_resumed:
            resumed += f" ({_length(self.audio_seconds)} of audio in all)"
        channels = f", {self.num_channels:,} channels" if self.num_channels else ""
        lines = [
            f"{self.num_transcribed:,} of {self.num_recordings:,} recordings{channels} transcribed{resumed}",
            f"{_length(self.elapsed_audio_seconds)} of audio in {self.elapsed_seconds:.1f} s "
            f"({speed:.0f} times real time)",
        ]
        if self.num_kept:
            lines.append(f"{self.num_kept:,} more in the same place, of other jobs or no longer there: kept")
        if self.num_empty:
            what = "not understood as a command" if self.hears_commands else "without a word"
            lines.append(f"{self.num_empty:,} {what}: {_some(self.empty, self.num_empty)}")
        if self.num_doubtful:
            names = [name for _, name in sorted(self._doubtful, reverse=True)]
            lines.append(
                f"{self.num_doubtful:,} with a confidence below {LOW_CONFIDENCE:g}: {_some(names, self.num_doubtful)}"
            )
        if self._slowest:
            value, name = max(self._slowest)
            lines.append(f"slowest: {name}, {value:.4f} seconds a second of audio")
        if self.passed_over:
            kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(self.passed_over.items()))
            lines.append(f"passed over: {kinds}")
        return lines + self.warnings_and_errors()

    def warnings_and_errors(self) -> list[str]:
        """Lines for the console: what may be wrong, and what is."""
        lines = self._warnings()
        if (cause := self._common_failure()) is not None:
            return [*lines, f"{self.num_recordings:,} not transcribed, all for one cause:", f"  {cause}"]
        for kind, messages in sorted(self.errors.items()):
            lines.append(f"{sum(messages.values()):,} not transcribed, {kind}:")
            lines += [f"  {message}" for message in sorted(messages)[:NUM_SHOWN]]
            if len(messages) > NUM_SHOWN:
                lines.append(f"  and {len(messages) - NUM_SHOWN:,} more, each with its error in the transcripts")
        return lines

    def _warnings(self) -> list[str]:
        """Returns what may make a transcript worse than it need be, each once a job."""
        lines = [
            f"warning: {_some(self.warnings[warning], number)}: {warning}"
            for warning, number in self.num_warned.items()
            if warning in self.warnings
        ]
        if self.lower_rates:
            rates = ", ".join(f"{number:,} of {rate:,} Hz" for rate, number in sorted(self.lower_rates.items()))
            lines.append(
                f"warning: the model hears {self.model_rate:,} Hz, and some recordings have less ({rates}, such as "
                f"{self.low_rate_example}): their higher frequencies are missing, expect more errors; record at "
                f"{self.model_rate:,} Hz, or train on telephone speech (augment: telephone)"
            )
        return lines


def _keep(heap: list[tuple[float, str]], item: tuple[float, str]) -> None:
    """Keeps the largest few."""
    (heapq.heappush if len(heap) < NUM_SHOWN else heapq.heappushpop)(heap, item)


def _some(names: list[str], number: int) -> str:
    return ", ".join(names[:3]) + (f" and {number - 3:,} more" if number > 3 else "")


def _length(seconds: float) -> str:
    """Returns a length of audio in the unit that suits it."""
    if seconds < 60:
        return f"{seconds:.1f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.2f} hours"
