"""A calibration as a page: what each threshold would cost, and whether the confidences mean what they say."""

from pathlib import Path
from typing import Any

from asr.files.replacing import replacing
from asr.fitting.threshold import ALONE, Calibration, Judgement
from asr.pages.plots import Panel, draw_panels

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What counts as understood: {{ grammar }}</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .3rem 1.5rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
th { color: #666; font-weight: normal; font-size: .85rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.kept { font-weight: bold; }
.quiet { color: #666; font-size: .9rem; overflow-wrap: anywhere; }
</style></head>
<body>
<h1>What counts as understood</h1>
<p>Grammar <code>{{ grammar }}</code>, run <code>{{ run }}</code>.</p>
{% for line in summary %}<p>{{ line[0] | upper }}{{ line[1:] }}.</p>
{% endfor %}
{% if rows %}
<table>
<tr><th>judged<th class="number">threshold
<th class="number">false accepts an hour<th class="number">right commands missed
{% for row in rows %}<tr class="{{ "kept" if row.is_kept }}"><td>{{ row.name }}{{ " (kept)" if row.is_kept }}
<td class="number">{{ "%.2f" | format(row.threshold) }}<td class="number">{{ "%.2f" | format(row.rate) }}
<td class="number">{{ "%.1f" | format(100 * row.missed) }} %
{% endfor %}</table>
<h2>Right commands missed against false accepts</h2>
<p>Of the commands that were heard right, how many a threshold rejects, and how often it takes other sounds for a
command. Along each line the threshold falls from left to right; the dashed line is the one that is kept.</p>
{{ detection | safe }}
<h2>Do the confidences mean what they say?</h2>
<p>Of the recordings with a confidence near 0.8, eight in ten should have been heard right: points on the diagonal.
A confidence held by few recordings says little.</p>
{{ reliability | safe }}
<table>
<tr><th class="number">confidence<th class="number">heard right<th class="number">recordings
{% for confidence, right, number in bins %}<tr><td class="number">{{ "%.2f" | format(confidence) }}
<td class="number">{{ "%.0f" | format(100 * right) }} %<td class="number">{{ number }}
{% endfor %}</table>
{% endif %}
{% if worst %}
<h2>Other sounds that are most like a command</h2>
<table>
<tr><th class="number">confidence<th>taken for<th>recording
{% for confidence, recording, sentence in worst %}<tr><td class="number">{{ "%.2f" | format(confidence) }}
<td>{{ sentence }}<td class="quiet">{{ recording }}
{% endfor %}</table>
{% endif %}
{% if errors %}
<h2>Not read</h2>
<ul>{% for error in errors %}<li class="quiet">{{ error }}{% endfor %}</ul>
{% endif %}
</body>
</html>
"""


def write_calibration_report(path: Path, calibration: Calibration, *, run: Path, grammar: Path) -> None:
    """Write the page; the plots need commands among the recordings, and matplotlib (PlotError where it is absent)."""
    from jinja2 import Environment

    has_plots = calibration.rejection.recall is not None
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            run=str(run),
            grammar=str(grammar),
            summary=list(calibration.summary()),
            rows=[_row(calibration, name) for name in calibration.judgements] if has_plots else [],
            detection=_draw_detection(calibration) if has_plots else "",
            reliability=_draw_reliability(calibration) if has_plots else "",
            bins=calibration.judgements[calibration.kept].bins,
            worst=calibration.worst,
            errors=calibration.errors,
        )
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _row(calibration: Calibration, name: str) -> dict[str, Any]:
    found = calibration.judgements[name].rejection
    return {
        "name": name,
        "is_kept": name == calibration.kept,
        "threshold": found.threshold,
        "rate": found.false_accepts_per_hour,
        "missed": 1 - (found.recall or 0.0),
    }


def _shown(calibration: Calibration) -> dict[str, Judgement]:
    """Without a second opinion that has no weight: its lines would hide the others'."""
    judgements = calibration.judgements
    return {name: each for name, each in judgements.items() if name == ALONE or each.rejection.familiarity_weight}


def _draw_detection(calibration: Calibration) -> str:
    return draw_panels(
        [
            Panel(
                "",
                {name: _steps(judgement) for name, judgement in _shown(calibration).items()},
                level=1 - (calibration.rejection.recall or 0.0),
                level_name="kept",
            )
        ],
        x_label="false accepts an hour",
        y_label="share of right commands missed",
        from_zero=True,
    )


def _steps(judgement: Judgement) -> list[tuple[float, float]]:
    """The curve up to where nothing more is gained: between two thresholds it goes along, then down."""
    steps: list[tuple[float, float]] = []
    for _, rate, missed in judgement.curve:
        if steps:
            steps.append((rate, steps[-1][1]))
        steps.append((rate, missed))
        if missed == 0:
            break
    return steps


def _draw_reliability(calibration: Calibration) -> str:
    lines = {
        name: [(confidence, right) for confidence, right, _ in judgement.bins]
        for name, judgement in _shown(calibration).items()
    }
    ideal = [(number / 20, number / 20) for number in range(21)]
    return draw_panels(
        [Panel("", {**lines, "ideal": ideal})],
        x_label="confidence",
        y_label="share heard right",
        from_zero=True,
    )
