"""report.html of a study: a table of the trials, and drawings of what mattered and what was ended early."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from asr.files.replacing import replacing
from asr.pages.plots import PlotError
from asr.pages.render import render
from asr.tuning.plots import draw_curves, draw_front, draw_history, draw_importance, draw_parallel, draw_slices
from asr.tuning.results import Retrained, TriedValues, front, ranked, say_counts, winner
from asr.tuning.trials import Plan

TEMPLATE = "tuning.html.j2"
MOST_AXES = 8  # of the parallel coordinates


def write_report(
    path: Path,
    plan: Plan,
    trials: Sequence[TriedValues],
    *,
    shares: Mapping[str, float] | None,
    retrained: Sequence[Retrained],
) -> None:
    """Writes the page; without matplotlib it has the table alone, and says so."""
    remarks = notes(plan, trials, shares)
    try:
        plots = draw_all(plan, trials, shares)
    except PlotError as error:
        plots = []
        remarks.append(str(error))
    best = winner(trials, retrained)
    page = render(
        TEMPLATE,
        title=f"Tuning {plan.place.folder.name}",
        notes=remarks,
        headings=("trial", "state", *plan.space.objectives, "epochs", "seconds", *plan.space.space),
        rows=[(trial.number == (best.number if best else None), _row(trial, plan)) for trial in _order(trials)],
        failures=[f"trial {trial.number}: {trial.reason}" for trial in trials if trial.state == "failed"],
        retrained=[
            (each.number, f"{each.mean:.4g}", ", ".join(f"{error:.4g}" for error in each.errors)) for each in retrained
        ],
        # Drawn by ourselves, names escaped by matplotlib.
        plots=[(caption, Markup(svg)) for caption, svg in plots],
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def notes(plan: Plan, trials: Sequence[TriedValues], shares: Mapping[str, float] | None) -> list[str]:
    """Returns what was done, in sentences."""
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    lines = [
        f"{say_counts(trials)}; {seconds / 3600:.2f} hours of training.",
        f"Sampler {plan.space.sampler}, pruner {plan.space.pruning}; made small on {plan.config.data.dev.manifest}: "
        f"{' and '.join(plan.space.objectives)}.",
        "The best of many trials looks better than it is, for it was chosen by the same figure: train the best again "
        "with other seeds, and score a split that no trial has seen.",
    ]
    if shares is None:
        lines.append("Importance needs four complete trials with different errors.")
    return lines


def draw_all(plan: Plan, trials: Sequence[TriedValues], shares: Mapping[str, float] | None) -> list[tuple[str, str]]:
    """Returns the caption and the SVG of each drawing that there are trials for."""
    label = f"dev {plan.space.error}"
    plots = [("The error of each trial, and the best so far.", draw_history(trials, label=label))]
    if any(trial.curve for trial in trials):
        caption = "The error after each epoch; a cross is where a trial was ended early."
        plots.append((caption, draw_curves(trials, label=label)))
    done = ranked(trials)
    if len(plan.space.objectives) > 1 and done:
        caption = "Both objectives; no trial beats one of the front in both."
        plots.append((caption, draw_front(trials, labels=(label, plan.space.objectives[1]))))
    if shares:
        plots.append(
            ("Importance: the share of the error's variance that a key explains (fANOVA).", draw_importance(shares))
        )
    logs = [key for key, dimension in plan.space.space.items() if dimension.log]
    keys = [key for key in plan.space.space if any(key in trial.params for trial in done)]
    if keys:
        caption = "Slices: the error of complete trials by each key's value; later trials are darker."
        plots.append((caption, draw_slices(trials, keys, logs=logs, label=label)))
        shared = [key for key in keys if all(key in trial.params for trial in done)]
        shared = sorted(shared, key=lambda key: -(shares or {}).get(key, 0.0))[:MOST_AXES]
        caption = (
            "Parallel coordinates: a line is a trial, the best fifth in colour; each axis from its smallest value."
        )
        plots.append((caption, draw_parallel(trials, shared, logs=logs, label=label)))
    return plots


def _order(trials: Sequence[TriedValues]) -> list[TriedValues]:
    """Returns complete trials first, the best at the top (of two objectives those of the front), then the others."""
    best = [trial.number for trial in front(trials)] if trials and any(len(t.values) > 1 for t in trials) else []
    done = sorted(ranked(trials), key=lambda trial: trial.number not in best)
    return [*done, *(trial for trial in trials if trial.state != "complete")]


def _row(trial: TriedValues, plan: Plan) -> list[str]:
    values = [f"{value:.4g}" for value in trial.values] or ["–"] * len(plan.space.objectives)
    state = "ended early" if trial.state == "pruned" else trial.state
    epochs = str(trial.curve[-1][0]) if trial.curve else "–"
    seconds = "–" if trial.seconds is None else f"{trial.seconds:.0f}"
    tried = [_say(trial.params[key]) if key in trial.params else "–" for key in plan.space.space]
    return [str(trial.number), state, *values, epochs, seconds, *tried]


def _say(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
