"""A calibration as a page: what each threshold would cost, and whether the confidences mean what they say."""

from pathlib import Path

from asr.calibration import Calibration
from asr.files import replacing
from asr.plots import Panel, draw_panels

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What counts as understood</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
svg { max-width: 100%; height: auto; }
</style></head>
<body>
<h1>What counts as understood</h1>
<p>Run <code>{{ run }}</code>, grammar <code>{{ grammar }}</code>.</p>
<pre>{% for line in lines %}{{ line }}
{% endfor %}</pre>
{% if detection %}
<h2>Commands missed against false accepts</h2>
<p>Each point is a threshold; the dashed line is the share that is missed with the one that was chosen.</p>
{{ detection | safe }}
<h2>Do the confidences mean what they say?</h2>
<p>Of the recordings with a confidence near 0.8, eight in ten should have been understood rightly.</p>
{{ reliability | safe }}
{% endif %}
</body>
</html>
"""


def write_calibration_report(path: Path, calibration: Calibration, *, run: Path, grammar: Path) -> None:
    """Write the page; the plots need commands among the recordings, and matplotlib (PlotError where it is absent)."""
    from jinja2 import Environment

    detection = reliability = ""
    if calibration.curve and calibration.rejection.recall is not None:
        curve = [(rate, missed) for _, rate, missed in calibration.curve]
        chosen = 1 - calibration.rejection.recall
        detection = draw_panels(
            [Panel("", {"thresholds": curve}, level=chosen, level_name="chosen")],
            x_label="false accepts an hour",
            y_label="share of commands missed",
        )
        bins = [(confidence, right) for confidence, right, _ in calibration.bins]
        reliability = draw_panels(
            [Panel("", {"found": bins, "ideal": [(0.0, 0.0), (1.0, 1.0)]})],
            x_label="confidence",
            y_label="share understood rightly",
        )
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            run=str(run),
            grammar=str(grammar),
            lines=list(calibration.lines()),
            detection=detection,
            reliability=reliability,
        )
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")
