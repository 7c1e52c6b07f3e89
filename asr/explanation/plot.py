"""An explanation as one picture: everything over the same seconds, the words under the last axis."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from asr.explanation.inside import Explanation, WatchedLayer
from asr.pages.plots import COLOURS, PlotError, new_figure
from asr.text import BLANK_ID, WORD_START

WIDTH = 12.0  # inches
MAX_GRADIENTS = 12  # words; more make the picture too high to look at
GATE_COLOURS = {"input": COLOURS[0], "forget": COLOURS[1], "output": COLOURS[2], "reset": COLOURS[3]}
GATE_COLOURS["update"] = COLOURS[1]
LONGEST_LABEL = 14  # characters


@dataclass(frozen=True)
class Picture:
    """A PNG, and where in its width the time axis lies."""

    png: bytes
    left: float  # share of the width at which the recording begins
    right: float  # and at which it ends


@dataclass(frozen=True)
class PictureOptions:
    """Says what of an explanation is shown."""

    layer: int | None = None  # the recurrent layer whose gates are drawn, counted from 1; None: the last
    units: tuple[int, ...] | None = None  # of it, each by itself; None: the two whose memory moves the most
    dots_per_inch: int = 110


def draw_explanation(explanation: Explanation, options: PictureOptions = PictureOptions(), *, title: str) -> Picture:
    """Raises PlotError without matplotlib, and for a layer or a unit that the model does not have."""
    rows = _rows(explanation, options)
    figure = new_figure(WIDTH, 0.9 + sum(height for height, *_ in rows), kind="agg")
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=[height for height, *_ in rows])[
        :, 0
    ]
    for each, (_, draw, *arguments) in zip(axes, rows, strict=True):
        draw(each, explanation, *arguments)
    axes[0].set_title(_plain(title), fontsize="medium", loc="left")
    axes[0].set_xlim(0, max(explanation.duration, 1e-3))
    _write_words(axes[-1], explanation)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    place = axes[-1].get_position()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=options.dots_per_inch, metadata={"Software": None})
    return Picture(drawn.getvalue(), left=place.x0, right=place.x1)


def _rows(explanation: Explanation, options: PictureOptions) -> list[tuple[Any, ...]]:
    """(height in inches, what draws it, with what), from the top down."""
    rows: list[tuple[Any, ...]] = [(1.8, _draw_log_mel)]
    if explanation.posteriors is not None:
        rows.append((1.5, _draw_posteriors))
    if explanation.attention is not None:
        rows.append((min(6.0, 0.7 + 0.16 * len(explanation.attention.weights)), _draw_attention))
    for layer in _chosen_layer(explanation, options):
        rows.append((1.4, _draw_means, layer))
        rows += [(1.1, _draw_unit, layer, unit) for unit in _chosen_units(layer, options)]
    number = min(MAX_GRADIENTS, len(explanation.gradients))
    return rows + [(0.75, _draw_gradient, word) for word in range(number)]


def _chosen_layer(explanation: Explanation, options: PictureOptions) -> list[WatchedLayer]:
    """Both directions of the layer asked for."""
    names = [layer.name.split(",")[0] for layer in explanation.layers]
    count = len(set(names))
    number = count if options.layer is None else options.layer
    if not 1 <= number <= count:
        raise PlotError(f"layer: {number}; the encoder has {count} recurrent layers, counted from 1")
    return [layer for layer, name in zip(explanation.layers, names, strict=True) if name == f"layer {number}"]


def _chosen_units(layer: WatchedLayer, options: PictureOptions) -> list[int]:
    count = layer.memory.shape[1]
    if options.units is None:
        return sorted(np.argsort(-layer.memory.std(axis=0), kind="stable")[:2].tolist())
    for unit in options.units:
        if not 0 <= unit < count:
            raise PlotError(f"units: {unit}; {layer.name} has units 0 to {count - 1}")
    return list(options.units)


def _show_over_time(axes: Any, values: Float[np.ndarray, "row time"], duration: float, **options: Any) -> None:
    """Draws an image whose columns fill the whole of the recording's time, the first row at the bottom."""
    extent = (0, max(duration, 1e-3), -0.5, len(values) - 0.5)
    axes.imshow(values, aspect="auto", origin="lower", extent=extent, interpolation="nearest", **options)


def _times(explanation: Explanation, count: int) -> Float[np.ndarray, " step"]:
    """Returns the middle of each of so many steps, in seconds."""
    return (np.arange(count) + 0.5) * explanation.duration / max(1, count)


def _draw_log_mel(axes: Any, explanation: Explanation) -> None:
    _show_over_time(axes, explanation.features.T, explanation.duration, cmap="magma")
    axes.set_ylabel("log-mel")


def _draw_posteriors(axes: Any, explanation: Explanation) -> None:
    """Draws a line for each token of the transcript, its piece over its highest points; the blank in grey."""
    posteriors = explanation.posteriors
    assert posteriors is not None
    times = _times(explanation, len(posteriors))
    axes.fill_between(times, posteriors[:, BLANK_ID], color="#dddddd", linewidth=0, label="blank")
    for number, token in enumerate(dict.fromkeys(explanation.tokens)):
        line = posteriors[:, token]
        axes.plot(times, line, color=COLOURS[number % len(COLOURS)], linewidth=1.2)
        inside = np.concatenate(([0.0], line, [0.0]))
        peaks = np.flatnonzero((line >= 0.3) & (line >= inside[:-2]) & (line > inside[2:]))
        for peak in peaks:
            axes.text(
                times[peak], min(line[peak], 1.0) + 0.03, _shown(explanation, token), ha="center", fontsize="x-small"
            )
    axes.set_ylim(0, 1.25)
    axes.set_ylabel("CTC")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), fontsize="x-small", frameon=False, borderpad=0.0)


def _draw_attention(axes: Any, explanation: Explanation) -> None:
    attention = explanation.attention
    assert attention is not None
    _show_over_time(axes, attention.weights, explanation.duration, cmap="Blues", vmin=0)
    labels = [*(_shown(explanation, token) for token in explanation.tokens), "end"]
    axes.set_yticks(range(len(labels)), labels, fontsize="x-small")
    axes.invert_yaxis()
    axes.set_ylabel("attention")
    figures = f"diagonality {attention.diagonality:.2f}, entropy {attention.entropy:.2f}"
    axes.text(0.995, 0.97, figures, transform=axes.transAxes, ha="right", va="top", fontsize="x-small")


def _draw_means(axes: Any, explanation: Explanation, layer: WatchedLayer) -> None:
    count = layer.memory.shape[1]
    lines = {name: values.mean(axis=1) for name, values in layer.gates.items()}
    size = np.abs(layer.memory).mean(axis=1)
    _draw_lines(axes, explanation, lines, size, name="mean size of the cell", has_legend=True)
    axes.set_ylabel("gates")
    axes.set_title(f"{layer.name}: means over {count} units", fontsize="x-small", loc="left", pad=2)


def _draw_unit(axes: Any, explanation: Explanation, layer: WatchedLayer, unit: int) -> None:
    lines = {name: values[:, unit] for name, values in layer.gates.items()}
    _draw_lines(axes, explanation, lines, layer.memory[:, unit], name="cell")
    axes.set_ylabel(f"unit {unit}")


def _draw_lines(
    axes: Any,
    explanation: Explanation,
    gates: dict[str, np.ndarray],
    memory: np.ndarray,
    *,
    name: str,
    has_legend: bool = False,
) -> None:
    """Gates on the left scale from 0 to 1, the cell on the right one."""
    times = _times(explanation, len(memory))
    for gate, values in gates.items():
        axes.plot(times, values, color=GATE_COLOURS[gate], linewidth=1.1, label=f"{gate} gate")
    axes.set_ylim(-0.03, 1.03)
    other = axes.twinx()
    other.plot(times, memory, color="black", linestyle="--", linewidth=1.0, label=name)
    other.tick_params(labelsize="x-small")
    if has_legend:  # over the axes, where it hides nothing
        handles = [*axes.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
        axes.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1.0, 0.98),
            fontsize="x-small",
            ncols=len(handles),
            frameon=False,
            borderpad=0.0,
        )


def _draw_gradient(axes: Any, explanation: Explanation, word: int) -> None:
    """Draws what raises the word's probability where it is louder in red, what lowers it in blue."""
    gradient = explanation.gradients[word]
    limit = float(np.percentile(np.abs(gradient), 99.5)) or 1.0
    _show_over_time(axes, gradient.T, explanation.duration, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_yticks([])
    label = explanation.words[word].text
    axes.set_ylabel(_plain(label[:LONGEST_LABEL]), rotation=0, ha="right", va="center", fontsize="small")
    span, each = explanation.words[word], explanation.seconds_per_frame
    for edge in (span.start_frame, span.end_frame):
        axes.axvline(edge * each, color="black", linewidth=0.6, linestyle=":")


def _write_words(axes: Any, explanation: Explanation) -> None:
    """Writes each word where it is, under the ticks of the last axis, as a second row of them."""
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    below = axes.secondary_xaxis(-0.42 if explanation.gradients else -0.25)
    middles = [(word.start_frame + word.end_frame) / 2 * explanation.seconds_per_frame for word in explanation.words]
    below.set_xticks(middles, [_plain(word.text) for word in explanation.words], fontsize="small")
    below.tick_params(length=0)
    below.spines["bottom"].set_visible(False)


def _shown(explanation: Explanation, token: int) -> str:
    piece = explanation.pieces[token].replace(WORD_START, "_").replace(" ", "_")
    return _plain(piece)


def _plain(text: str) -> str:
    """Escapes dollar signs, which matplotlib takes for formulas."""
    return text.replace("$", r"\$")
