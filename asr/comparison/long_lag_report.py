"""The long-lag probe's plots and tables, as Markdown and as one HTML page."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from asr.comparison.long_lag import TASKS, LagResult, LongLagConfig, table
from asr.files.replacing import replacing
from asr.pages.plots import Panel, draw_panels
from asr.pages.render import render

TEMPLATE = "comparison.html.j2"
SMALLEST_DRAWN = 1e-12  # of the gradient at once; below it all is gone, and the axis stays readable


def draw_scores(results: Sequence[LagResult]) -> str:
    """Draws a panel for each task: the score of each cell against the lag."""
    panels = []
    for task in TASKS:
        lines: dict[str, list[tuple[float, float]]] = {}
        for result in results:
            if result.task == task.name:
                lines.setdefault(result.cell, []).append((result.lag, result.score))
        panels.append(Panel(task.name, lines, level=1.0, level_name="remembers nothing"))
    return draw_panels(panels, x_label="lag (steps)", y_label="score (0: remembers all)", log_x=True, from_zero=True)


def draw_gradients(results: Sequence[LagResult], lag: int) -> str:
    """Draws the gradient's norm against the steps back, before and after training on the adding problem at `lag`."""
    chosen = [result for result in results if result.lag == lag and result.task == TASKS[0].name]
    panels = [
        Panel("at the start", {result.cell: _drawn(result.gradient_at_start) for result in chosen}),
        Panel(f"after training at lag {lag}", {result.cell: _drawn(result.gradient_after) for result in chosen}),
    ]
    return draw_panels(panels, x_label="steps back", y_label="gradient's norm, relative", log_x=True, log_y=True)


def _drawn(gradient: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Returns the points from the first step back on, which a logarithm can show."""
    return [(float(k), norm) for k, norm in gradient if k and norm >= SMALLEST_DRAWN]


def write_reports(folder: Path, results: Sequence[LagResult], config: LongLagConfig) -> None:
    """report.md, report.html and the plots."""
    trained = config.lags[len(config.lags) // 2]
    plots = {
        "scores.svg": (
            "What is not remembered: mean squared error over that of the best constant (adding problem), share of "
            "wrong symbols over that of guessing (copy memory).",
            draw_scores(results),
        ),
        "gradients.svg": (
            "How much the cell's last output depends on its input so many steps before, relative to the input of the "
            f"last step; what fell below {SMALLEST_DRAWN:g} is not drawn.",
            draw_gradients(results, trained),
        ),
    }
    notes = [
        f"One layer of each cell with about {config.num_parameters:,} parameters, {config.num_steps:,} steps of Adam "
        f"at {config.learning_rate:g} on batches of {config.batch_size}, seed {config.seed}. The adding problem of "
        "Hochreiter & Schmidhuber 1997; copy memory as in Arjovsky et al. 2016.",
        "Scores: 0 remembers all, 1 is as good as remembering nothing. One training each: read trends, not digits.",
    ]
    tables = {task.name: table(results, task.name) for task in TASKS}
    for name, (_, svg) in plots.items():
        _write(folder / name, svg)
    _write(folder / "report.md", _markdown(notes, tables, plots))
    headings = next(iter(tables.values()))[0]
    rows = [[f"{row[0]}, {name}", *row[1:]] for name, (_, own) in tables.items() for row in own]
    page = render(
        TEMPLATE,
        title="How long each cell remembers",
        headings=headings,
        rows=rows,
        notes=notes,
        conclusions=[],
        failures=[],
        wide_plots=True,
        plots=[(caption, Markup(svg)) for caption, svg in plots.values()],
    )
    _write(folder / "report.html", page)


def _markdown(
    notes: Sequence[str],
    tables: dict[str, tuple[list[str], list[list[str]]]],
    plots: dict[str, tuple[str, str]],
) -> str:
    lines = ["# How long each cell remembers", "", *(f"{note}\n" for note in notes)]
    for name, (headings, rows) in tables.items():
        lines += [f"## {name.capitalize()}", "", "| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    for name, (caption, _) in plots.items():
        lines += [f"![{caption}]({name})", "", caption, ""]
    return "\n".join(lines)


def _write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
