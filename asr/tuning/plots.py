"""The drawings of a study's report: history, curves, importance, slices, parallel coordinates, and the front."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from asr.pages.plots import COLOURS, open_figure, plain_name
from asr.tuning.results import TriedValues, front, ranked

DONE, ENDED, FAILED, BEST = COLOURS[0], COLOURS[1], COLOURS[8], COLOURS[2]
COLUMNS = 3  # of slices


def draw_history(trials: Sequence[TriedValues], *, label: str) -> str:
    """Draws each trial's error by its number, and the best so far; trials ended early at their last epoch's."""
    with open_figure(8.0, 3.6) as (figure, result):
        axes = figure.subplots()
        done = [trial for trial in trials if trial.state == "complete"]
        early = [trial for trial in trials if trial.state == "pruned" and trial.curve]
        axes.plot([t.number for t in early], [t.curve[-1][1] for t in early], "x", color=ENDED, label="ended early")
        axes.plot(
            [t.number for t in done], [t.values[0] for t in done], "o", color=DONE, markersize=5, label="complete"
        )
        best = [min(t.values[0] for t in done[: index + 1]) for index in range(len(done))]
        axes.step([t.number for t in done], best, where="post", color=BEST, label="best so far")
        failed = [trial.number for trial in trials if trial.state == "failed"]
        for place, number in enumerate(failed):
            axes.axvline(number, color=FAILED, linestyle=":", linewidth=1, label=None if place else "failed")
        _finish(axes, x_label="trial", y_label=label)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return result[0]


def draw_curves(trials: Sequence[TriedValues], *, label: str) -> str:
    """Draws each trial's error by epoch; a cross is where one was ended early."""
    with open_figure(8.0, 3.8) as (figure, result):
        axes = figure.subplots()
        best = next(iter(ranked(trials)), None)
        for trial in trials:
            line = [x for x, _ in trial.curve], [y for _, y in trial.curve]
            is_best = best is not None and trial.number == best.number
            colour = BEST if is_best else ENDED if trial.state == "pruned" else DONE
            axes.plot(*line, color=colour, linewidth=2.0 if is_best else 0.8, alpha=1.0 if is_best else 0.6)
            if trial.state == "pruned" and trial.curve:
                axes.plot(*trial.curve[-1], "x", color=ENDED, markersize=6)
        for name, colour in (("complete", DONE), ("ended early", ENDED), ("best", BEST)):
            axes.plot([], [], color=colour, label=name)
        _finish(axes, x_label="epoch", y_label=label)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return result[0]


def draw_importance(shares: Mapping[str, float]) -> str:
    """Draws each key's share of the error's variance, the largest first."""
    with open_figure(7.5, 0.8 + 0.32 * len(shares)) as (figure, result):
        axes = figure.subplots()
        names = sorted(shares, key=lambda name: -shares[name])
        axes.barh(range(len(names)), [100 * shares[name] for name in names], color=DONE)
        axes.set_yticks(range(len(names)), [plain_name(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("share of the variance (%)")
        axes.grid(axis="x", alpha=0.3)
    return result[0]


def draw_slices(trials: Sequence[TriedValues], keys: Sequence[str], *, logs: Sequence[str], label: str) -> str:
    """Draws for each key every complete trial's error by its value."""
    rows = math.ceil(len(keys) / COLUMNS)
    with open_figure(10.0, 0.4 + 2.7 * rows) as (figure, result):
        grid = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False)
        for number, axes in enumerate(grid.flat):
            if number >= len(keys):
                axes.set_visible(False)
                continue
            key = keys[number]
            done = [trial for trial in trials if trial.state == "complete" and key in trial.params]
            values, ticks = _places([trial.params[key] for trial in done])
            axes.scatter(
                values,
                [t.values[0] for t in done],
                c=[t.number for t in done],
                cmap="Blues",
                edgecolors="#555555",
                linewidths=0.5,
                vmin=-10,
            )
            if ticks is not None:
                axes.set_xticks(range(len(ticks)), [plain_name(tick) for tick in ticks], fontsize="small")
            elif key in logs:
                axes.set_xscale("log")
                ticks = _log_ticks(min(values, default=1.0), max(values, default=1.0))
                axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                axes.tick_params(axis="x", which="minor", labelbottom=False)
            _finish(axes, x_label=plain_name(key), y_label=label if number % COLUMNS == 0 else "")
    return result[0]


def draw_parallel(trials: Sequence[TriedValues], keys: Sequence[str], *, logs: Sequence[str], label: str) -> str:
    """Draws each complete trial as a line across all keys and the error, the best ones in colour."""
    done = [trial for trial in ranked(trials) if all(key in trial.params for key in keys)]
    with open_figure(10.0, 4.0) as (figure, result):
        axes = figure.subplots()
        columns = [_share([trial.params[key] for trial in done], is_log=key in logs) for key in keys]
        columns.append(_share([trial.values[0] for trial in done], is_log=False))
        for place in reversed(range(len(done))):
            is_good = place < max(1, len(done) // 5)
            line = [column[place] for column in columns]
            axes.plot(
                range(len(columns)),
                line,
                color=BEST if is_good else "#999999",
                alpha=0.9 if is_good else 0.35,
                linewidth=1.8 if is_good else 0.8,
            )
        for x, name in enumerate([*keys, label]):
            raw = [trial.params[name] if name in keys else trial.values[0] for trial in done]
            for y, text in _ends(raw):
                axes.text(x, y, plain_name(text), fontsize="x-small", ha="center", va="bottom" if y else "top")
            axes.axvline(x, color="#555555", linewidth=0.8)
        axes.set_xticks(
            range(len(columns)), [plain_name(name) for name in [*keys, label]], fontsize="x-small", rotation=20
        )
        axes.set_yticks([])
        axes.set_ylim(-0.12, 1.12)
    return result[0]


def draw_front(trials: Sequence[TriedValues], *, labels: Sequence[str]) -> str:
    """Draws both objectives of every complete trial, and the front: those that no other beats in both."""
    with open_figure(7.5, 4.2) as (figure, result):
        axes = figure.subplots()
        done, best = ranked(trials), sorted(front(trials), key=lambda trial: trial.values[1])
        axes.plot([t.values[1] for t in done], [t.values[0] for t in done], "o", color="#999999", label="complete")
        axes.plot([t.values[1] for t in best], [t.values[0] for t in best], "s-", color=BEST, label="front")
        for trial in best:
            axes.annotate(
                str(trial.number),
                (trial.values[1], trial.values[0]),
                fontsize="small",
                xytext=(4, 4),
                textcoords="offset points",
            )
        _finish(axes, x_label=labels[1], y_label=labels[0])
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return result[0]


def draw_learning_rates(rates: Sequence[float], losses: Sequence[float], *, suggested: float) -> str:
    """Draws the loss by the learning rate, and a line at the suggested one."""
    with open_figure(8.0, 3.8) as (figure, result):
        axes = figure.subplots()
        axes.plot(rates, losses, color=DONE)
        axes.axvline(suggested, color=BEST, linestyle="--")
        axes.set_xscale("log")
        _finish(axes, x_label="learning rate", y_label="loss of a token, smoothed")
    return result[0]


def _finish(axes: Any, *, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)


def _log_ticks(low: float, high: float) -> list[float]:
    """Returns few round places on a logarithmic axis: powers of ten, and within two decades 2 and 5 times them too."""
    factors = (1,) if high > 100 * low else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low <= tick <= high] or [low]


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _places(values: Sequence[Any]) -> tuple[list[float], list[str] | None]:
    """Returns where values stand on an axis, and the names of its places where they are no numbers."""
    if _is_number(values):
        return [float(value) for value in values], None
    names = sorted({_say(value) for value in values})
    return [float(names.index(_say(value))) for value in values], names


def _share(values: Sequence[Any], *, is_log: bool) -> list[float]:
    """Returns values as shares of their range, from 0 to 1."""
    places, _ = _places(values)
    places = [math.log(place) for place in places] if is_log and places and min(places) > 0 else places
    low, high = min(places, default=0.0), max(places, default=1.0)
    return [(place - low) / (high - low) if high > low else 0.5 for place in places]


def _ends(values: Sequence[Any]) -> list[tuple[float, str]]:
    """Returns the names at both ends of an axis of parallel coordinates."""
    if not values:
        return []
    ordered = sorted(values) if _is_number(values) else sorted(map(_say, values))
    return (
        [(0.0, _say(ordered[0])), (1.0, _say(ordered[-1]))] if ordered[0] != ordered[-1] else [(0.5, _say(ordered[0]))]
    )


def _say(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
