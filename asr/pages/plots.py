"""Plots as SVG text that stands in a page or beside a Markdown file; made by matplotlib."""

import importlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

# Told apart in print and by eyes that see red and green alike (Okabe & Ito 2008), then by dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8c6d31", "#7f7f7f")
DASHES = ("-", "--", ":")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


class PlotError(ValueError):
    """Plots without what draws them."""


@dataclass(frozen=True)
class Points:
    """A mean with the values it is of and its interval."""

    name: str
    mean: float
    values: tuple[float, ...]
    interval: tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One of several plots that share a figure and a legend."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]  # by name
    level: float | None = None  # a dashed line to compare with
    level_name: str = ""


def draw_intervals(points: Sequence[Points], *, label: str) -> str:
    """Draws one row for each: the mean as a square, its values as small dots, the interval as a bar."""
    with open_figure(7.5, 0.7 + 0.32 * len(points)) as (figure, result):
        axes = figure.subplots()
        for row, point in enumerate(points):
            low, high = (value if math.isfinite(value) else point.mean for value in point.interval)
            axes.plot((low, high), (row, row), color=COLOURS[0], linewidth=2)
            axes.plot(point.values, [row] * len(point.values), ".", color="#555555", markersize=5)
            axes.plot([point.mean], [row], "s", color=COLOURS[0], markersize=6)
        axes.set_yticks(range(len(points)), [plain_name(point.name) for point in points])
        axes.set_ylim(len(points) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        axes.grid(axis="x", alpha=0.3)
    return result[0]


def draw_scatter(points: Sequence[tuple[str, float, float]], *, x_label: str, y_label: str) -> str:
    """Draws a mark for each (name, x, y), with a legend."""
    with open_figure(7.5, 4.2) as (figure, result):
        axes = figure.subplots()
        for number, (name, x, y) in enumerate(points):
            colour = COLOURS[number % len(COLOURS)]
            # Hollow the second time round, as lines are dashed.
            inside = colour if number < len(COLOURS) else "none"
            mark = MARKS[number % len(MARKS)]
            axes.plot([x], [y], mark, color=colour, markerfacecolor=inside, markersize=7, label=plain_name(name))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.margins(0.08)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return result[0]


def draw_lines(lines: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> str:
    """Draws a line for each name, from zero."""
    return draw_panels([Panel("", lines)], x_label=x_label, y_label=y_label, from_zero=True)


def draw_panels(
    panels: Sequence[Panel],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    from_zero: bool = False,
) -> str:
    """Panels side by side with the same axes and one legend; values that a logarithm cannot take are left out."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    with open_figure(2.5 + 4.5 * len(panels), 4.2) as (figure, result):
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            for name, line in panel.lines.items():
                number = names.index(name)
                shown = [(x, y) for x, y in line if math.isfinite(y) and (y > 0 or not log_y)]
                axes.plot(
                    [x for x, _ in shown],
                    [y for _, y in shown],
                    color=COLOURS[number % len(COLOURS)],
                    linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
                    marker=MARKS[number % len(MARKS)] if len(shown) <= 12 else None,
                    markersize=4,
                    label=plain_name(name),
                )
            if panel.level is not None:
                axes.axhline(panel.level, color="#555555", linestyle="--", linewidth=1, label=panel.level_name)
            axes.set_title(panel.title, fontsize="medium")
            axes.set_xlabel(x_label)
            axes.set_xscale("log" if log_x else "linear")
            axes.set_yscale("log" if log_y else "linear")
            axes.grid(alpha=0.3)
            if from_zero:
                axes.set_ylim(bottom=0)
        row[0].set_ylabel(y_label)
        legend = {
            label: handle for axes in row for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(legend.values(), legend.keys(), loc="outside right upper", fontsize="small", frameon=False)
    return result[0]


def new_figure(width: float, height: float, *, kind: Literal["agg", "svg"]) -> Any:
    """Returns a figure of so many inches for matplotlib's backend of that kind;
    PlotError where there is no matplotlib.
    """
    try:
        importlib.import_module("matplotlib")
        from matplotlib.figure import Figure

        backend = importlib.import_module(f"matplotlib.backends.backend_{kind}")
    except ImportError:
        raise PlotError("plots: matplotlib is not installed; expected it, by  pip install 'earshot[plots]'") from None
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    backend.FigureCanvas(figure)
    return figure


@contextmanager
def open_figure(width: float, height: float) -> Iterator[tuple[Any, list[str]]]:
    """Opens a figure of so many inches; on leaving, its SVG is in the list. The same figure gives the same text."""
    figure = new_figure(width, height, kind="svg")
    import matplotlib

    result: list[str] = []
    with matplotlib.rc_context({"svg.hashsalt": "earshot", "svg.fonttype": "none", "font.family": "sans-serif"}):
        yield figure, result
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    result.append(text[text.index("<svg") :])


def plain_name(name: str) -> str:
    """Returns a name as it stands: matplotlib takes dollar signs for formulas and hides labels that begin
    with a line.
    """
    return name.replace("$", r"\$").lstrip("_")
