"""Every page by one jinja environment: the templates lie beside this file."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

FOLDER = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Returns a page by a template of this folder, such as "report.html.j2"."""
    # Names, transcripts and all of a manifest are text, never markup: autoescape is what keeps them so.
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(FOLDER))
    environment.filters |= {"percent": _percent, "clock": _clock}
    return environment.get_template(template).render(**values)


def _percent(rate: float) -> str:
    """0.08312 -> "8.31 %", with a space that does not break; a rate over nothing has no percentage."""
    return f"{100 * rate:.2f}\u202f%" if math.isfinite(rate) else "–"


def _clock(duration: float) -> str:
    """Returns seconds as a person reads them: "4.2 s", "12 min", "1.53 h"."""
    if duration < 60:
        return f"{duration:.1f} s"
    return f"{duration / 60:.0f} min" if duration < 3600 else f"{duration / 3600:.2f} h"
