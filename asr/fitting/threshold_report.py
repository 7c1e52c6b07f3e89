"""A calibration as a page: what each threshold would cost, and whether the confidences mean what they say."""

from pathlib import Path
from typing import Any

from asr.files.replacing import replacing
from asr.fitting.threshold import ALONE, Calibration, Judgement
from asr.pages.plots import Panel, draw_panels
from asr.pages.render import render


def write_calibration_report(path: Path, calibration: Calibration, *, run: Path, grammar: Path) -> None:
    """Write the page; the plots need commands among the recordings, and matplotlib (PlotError where it is absent)."""
    has_plots = calibration.rejection.recall is not None
    page = render(
        "threshold.html.j2",
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
    """Returns the curve up to where nothing more is gained: between two thresholds it goes along, then down."""
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
