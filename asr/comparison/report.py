"""Reports the figures of every member, as Markdown and as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from markupsafe import Markup

from asr.comparison.members import ComparisonConfig, Member
from asr.comparison.significance import PairedDifference, adjust_for_many, interval_over_seeds, paired_difference
from asr.comparison.trial import TrialResult
from asr.evaluation.intervals import Interval, bootstrap_interval
from asr.files.replacing import replacing
from asr.metrics import ErrorCounts
from asr.pages.plots import Points, draw_intervals, draw_lines, draw_scatter
from asr.pages.render import render
from asr.training.speed import Speed

TEMPLATE = "comparison.html.j2"
NOTHING_LEARNT = "nothing learnt"
LEVEL = 0.05  # of the significance tests, all of them together


@dataclass(frozen=True)
class MemberFigures:
    """Everything known of one member."""

    name: str
    size: str  # "hidden_size 128"
    num_parameters: int
    rates: tuple[float, ...]  # WER of each finished seed
    wer: float  # their mean
    over_seeds: Interval | None
    over_utterances: Interval
    difference: PairedDifference | None  # from the reference; None for the reference itself
    adjusted_p: float | None
    epoch_seconds: float | None
    peak_bytes: int
    speed: Speed
    dev_curve: tuple[tuple[int, float], ...]  # of the first seed
    chance: float  # WER of one and the same answer to everything
    reference_learnt: bool

    @property
    def interval(self) -> Interval:
        """Over seeds where they are three or more (of two it spans all), else over utterances."""
        return self.over_seeds if self.over_seeds and len(self.rates) > 2 else self.over_utterances

    @property
    def has_learnt(self) -> bool:
        """Returns whether the WER, and all of its interval, is lower than that of one answer to everything."""
        return max(self.wer, self.interval.high) < self.chance

    @property
    def verdict(self) -> str:
        if not self.has_learnt:
            return NOTHING_LEARNT
        if self.difference is None or self.adjusted_p is None:
            return "reference"
        if not self.reference_learnt:
            return "none: the reference learnt nothing"
        if self.adjusted_p >= LEVEL:
            return "no difference shown"
        return "better" if self.difference.difference < 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    title: str
    test: str
    num_utterances: int
    num_words: int
    seeds: tuple[int, ...]
    num_parameters: int | None  # aimed at
    reference: str
    members: tuple[MemberFigures, ...]
    failures: tuple[str, ...]
    chance: float = 1.0  # WER of one and the same answer to everything


def compare(
    config: ComparisonConfig,
    members: Sequence[Member],
    *,
    results: Mapping[str, Mapping[int, TrialResult]],  # by member and seed
    speeds: Mapping[str, Speed],
    failures: Sequence[str],
    chance: float = 1.0,
) -> Comparison:
    """Returns the figures of every member that has at least one result; tested against the reference where that has
    one.

    `chance` is the WER of a recogniser that gives one answer to everything: who is not below it has learnt nothing.
    """
    present = [member for member in members if results.get(member.name)]
    reference = results.get(config.reference_name) or {}
    differences = {
        member.name: _difference(results[member.name], reference, config.num_resamples)
        for member in present
        if reference and member.name != config.reference_name
    }
    adjusted = dict(zip(differences, adjust_for_many([found.p_value for found in differences.values()]), strict=True))
    any_result = next(iter(results[present[0].name].values())) if present else None
    words = sum(any_result.words, start=ErrorCounts()) if any_result else ErrorCounts()
    figures = [
        _figures(
            member,
            results=list(results[member.name].values()),
            speed=speeds[member.name],
            difference=differences.get(member.name),
            adjusted_p=adjusted.get(member.name),
            chance=chance,
        )
        for member in present
    ]
    learnt = {member.name: member.has_learnt for member in figures}
    reference_learnt = learnt.get(config.reference_name, False)
    return Comparison(
        title=Path(config.run_dir).name,
        test=config.test,
        num_utterances=len(any_result.words) if any_result else 0,
        num_words=words.reference_length,
        seeds=config.seeds,
        num_parameters=config.num_parameters,
        reference=config.reference_name,
        members=tuple(replace(member, reference_learnt=reference_learnt) for member in figures),
        failures=tuple(failures),
        chance=chance,
    )


def _figures(
    member: Member,
    *,
    results: Sequence[TrialResult],
    speed: Speed,
    difference: PairedDifference | None,
    adjusted_p: float | None,
    chance: float,
) -> MemberFigures:
    rates = tuple(result.rate for result in results)
    pooled = [sum(counts, start=ErrorCounts()) for counts in zip(*(result.words for result in results), strict=True)]
    epochs = [result.epoch_seconds for result in results if result.epoch_seconds is not None]
    return MemberFigures(
        name=member.name,
        size=member.size,
        num_parameters=member.num_parameters,
        rates=rates,
        wer=float(np.mean(rates)),
        over_seeds=interval_over_seeds(rates),
        over_utterances=bootstrap_interval(pooled, generator=np.random.default_rng(0)),
        difference=difference,
        adjusted_p=adjusted_p,
        epoch_seconds=float(np.median(epochs)) if epochs else None,
        peak_bytes=max(result.peak_bytes for result in results),
        speed=speed,
        dev_curve=results[0].dev_curve,
        chance=chance,
        reference_learnt=True,
    )


def _difference(
    results: Mapping[int, TrialResult], reference: Mapping[int, TrialResult], num_resamples: int
) -> PairedDifference:
    def errors(of: Mapping[int, TrialResult]) -> np.ndarray:
        return np.array([[counts.errors for counts in result.words] for result in of.values()])

    lengths = np.array([counts.reference_length for counts in next(iter(reference.values())).words])
    return paired_difference(
        errors(results), errors(reference), lengths, generator=np.random.default_rng(0), num_resamples=num_resamples
    )


def draw_plots(comparison: Comparison) -> dict[str, tuple[str, str]]:
    """Returns each plot by the name of its file: its caption and the SVG."""
    members = comparison.members
    if not members:
        return {}
    intervals = [
        Points(member.name, 100 * member.wer, tuple(100 * rate for rate in member.rates), _percents(member))
        for member in members
    ]
    million = [(member.name, member.speed.multiply_adds / 1e6, 100 * member.wer) for member in members]
    latency = [(member.name, 1000 * member.speed.latency, 100 * member.wer) for member in members]
    curves = {m.name: [(float(epoch), 100 * rate) for epoch, rate in m.dev_curve] for m in members if m.dev_curve}
    return {
        "wer.svg": (
            "Word error rate on the test split: mean of the seeds, each seed (small dots), 95 % interval "
            "(over seeds where there are three or more, else over utterances).",
            draw_intervals(intervals, label="WER (%)"),
        ),
        "cost.svg": (
            "Word error rate against the multiply-adds of a second of audio.",
            draw_scatter(million, x_label="million multiply-adds a second of audio", y_label="WER (%)"),
        ),
        "latency.svg": (
            "Word error rate against the time from the end of a 2 s command to its transcript.",
            draw_scatter(latency, x_label="latency (ms)", y_label="WER (%)"),
        ),
        "epochs.svg": (
            "Word error rate on the dev split after each epoch, first seed.",
            draw_lines(curves, x_label="epoch", y_label="dev WER (%)"),
        ),
    }


def _percents(member: MemberFigures) -> tuple[float, float]:
    return 100 * member.interval.low, 100 * member.interval.high


HEADINGS = (
    "member", "size", "parameters", "WER", "95 % over seeds", "95 % over utterances", "difference", "p (Holm)",
    "verdict", "M multiply-adds / s", "s / epoch", "peak MB", "real-time factor", "latency of 2 s (ms)",
)  # fmt: skip


def table_rows(comparison: Comparison) -> list[list[str]]:
    """Returns a row of text for each member, under HEADINGS."""
    return [
        [
            member.name,
            member.size or "as configured",
            f"{member.num_parameters:,}",
            f"{member.wer:.2%}",
            _interval(member.over_seeds),
            _interval(member.over_utterances),
            f"{100 * member.difference.difference:+.2f} ({100 * member.difference.low:+.2f} to "
            f"{100 * member.difference.high:+.2f})"
            if member.difference
            else "–",
            "–" if member.adjusted_p is None else f"{member.adjusted_p:.3g}",
            member.verdict,
            f"{member.speed.multiply_adds / 1e6:.1f}",
            "–" if member.epoch_seconds is None else f"{member.epoch_seconds:.1f}",
            f"{member.peak_bytes / 1e6:.0f}",
            f"{member.speed.real_time_factor:.4f}",
            f"{1000 * member.speed.latency:.1f}",
        ]
        for member in comparison.members
    ]


def notes(comparison: Comparison) -> list[str]:
    """Returns how to read the table."""
    size = f"sized to {comparison.num_parameters:,} parameters" if comparison.num_parameters else "of their own sizes"
    seeds = ", ".join(map(str, comparison.seeds))
    lines = [
        f"{len(comparison.members)} members, {size}; seeds {seeds}; scored on {comparison.test}: "
        f"{comparison.num_utterances:,} utterances, {comparison.num_words:,} words.",
        f"Difference: WER less that of {comparison.reference}, in points, with its 95 % interval by paired bootstrap "
        "over utterances and seeds. A verdict other than 'no difference shown' needs p < 0.05 after Holm's correction "
        "for the number of members.",
        f"'{NOTHING_LEARNT}': the WER, or its 95 % interval, is not below {comparison.chance:.2%}, that of one and the "
        "same answer to everything; such members, and all where the reference is one, get no other verdict.",
        "Speed: one after the other in turns on one machine, by median; peak memory is that of the training's "
        "largest process.",
    ]
    if len(comparison.seeds) == 1:
        lines.append("One seed: the verdicts speak of these trainings, not of what another training would give.")
    return lines


def conclusions(comparison: Comparison) -> list[str]:
    """Returns what the tests allow to say, and nothing else."""
    lines = []
    for verdict in ("better", "worse", "no difference shown"):
        names = [member.name for member in comparison.members if member.verdict == verdict]
        if names:
            lines.append(f"{verdict} than {comparison.reference}: {', '.join(names)}")
    lines = [line.replace("shown than", "shown from") for line in lines]
    names = [member.name for member in comparison.members if member.verdict == NOTHING_LEARNT]
    if names:
        lines.append(f"{NOTHING_LEARNT}, no better than one answer to everything: {', '.join(names)}")
    if any(member.name == comparison.reference and not member.has_learnt for member in comparison.members):
        lines.append(f"no verdicts: {comparison.reference}, which the others are tested against, learnt nothing")
    return lines


def write_markdown(path: Path, comparison: Comparison, plots: Mapping[str, tuple[str, str]]) -> None:
    """report.md, with its plots as files beside it."""
    lines = [f"# {comparison.title}", "", *(f"{note}\n" for note in notes(comparison))]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(row) + " |" for row in table_rows(comparison)]
    lines += ["", *(f"- {line}" for line in conclusions(comparison))]
    if comparison.failures:
        lines += ["", "## Failed", "", *(f"- {failure}" for failure in comparison.failures)]
    for name, (caption, svg) in plots.items():
        _write(path.with_name(name), svg)
        lines += ["", f"![{caption}]({name})", "", caption]
    _write(path, "\n".join(lines) + "\n")


def write_page(path: Path, comparison: Comparison, plots: Mapping[str, tuple[str, str]]) -> None:
    """report.html, with its plots inside."""
    _write(
        path,
        render(
            TEMPLATE,
            title=comparison.title,
            headings=HEADINGS,
            rows=table_rows(comparison),
            notes=notes(comparison),
            conclusions=conclusions(comparison),
            failures=comparison.failures,
            # Drawn by ourselves, names escaped by matplotlib.
            plots=[(caption, Markup(svg)) for caption, svg in plots.values()],
        ),
    )


def _write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.2%} to {interval.high:.2%}"
