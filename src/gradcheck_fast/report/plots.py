"""Draws the errors of a report, and how an error depends on the step, by matplotlib, an optional dependency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arguments import integer
from gradcheck_fast.report.heatmap import HeatMap, heat_maps
from gradcheck_fast.report.text import format_shape, wrong_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from gradcheck_fast.report.findings import Findings

#: The colour of what is right. This colour and the next two are from the palette of Okabe and Ito, which colour-blind
#: people can tell apart; marks or words repeat what they say.
BLUE = "#0072b2"
#: The colour of what is wrong, and of the method that every loss has.
VERMILLION = "#d55e00"
#: The colour of a third line in a picture.
GREEN = "#009e73"
#: The line and the mark of each method.
STYLES: dict[str, dict[str, Any]] = {
    "direct": {"color": VERMILLION, "marker": "o", "markersize": 7, "markerfacecolor": "none", "zorder": 3},
    "incremental": {"color": GREEN, "marker": "^", "markersize": 4},
    "units": {"color": BLUE, "marker": "s", "markersize": 4},
}
#: The colours of the heat maps, from an error far within the tolerance to one far beyond it. They jump at the
#: tolerance.
_SCALE = [(0.0, "#d8e8f4"), (0.5, "#7fb9da"), (0.5, "#f4b183"), (0.75, "#c85200"), (1.0, "#6a2700")]
#: How many powers of ten the colours span to either side of the tolerance; the ticks of their key are at these.
_DECADES = 8
#: How many rows and columns of cells a heat map has, at most.
_CELLS = (96, 96)
#: How many entries are drawn as points, at most: more would lie upon each other, and take long.
_MOST_POINTS = 4000
#: Where an error of exactly 0 is drawn on a logarithmic axis: below the rounding of float64.
_NO_ERROR = 1e-17
#: The axes of the points are linear around 0, up to at least this part of the largest number: with less, most of their
#: length would be taken up by numbers of no weight.
_LINEAR = 1e-4
#: How many characters of the verdict the title shows, at most.
_TITLE_CHARACTERS = 100
#: How many characters of an array's name the title of its heat map shows, at most.
_NAME_CHARACTERS = 32


def plot_report(report: Findings, most: int) -> Figure:
    """Draws what `Report.plot` describes."""
    maps = heat_maps(report, integer("most", most, positive=True), cells=_CELLS)
    columns = max(1, ceil(sqrt(len(maps))))
    rows = max(1, ceil(len(maps) / columns))
    width, scatter_width = max(4.2, 2.1 * columns), 5.0
    figure: Figure = pyplot().figure(figsize=(width + scatter_width, max(4.8, 1.5 * rows + 1.5)), layout="constrained")
    figure.suptitle(f"gradcheck: {report.verdict}   {_shortened(report.reason, _TITLE_CHARACTERS)}", fontsize=11)
    grid = figure.add_gridspec(1, 2, width_ratios=(width, scatter_width))
    left, right = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    left_out = sum(array.size > 0 for array in report.arrays) - len(maps)
    others = f"\n{left_out} more arrays, with smaller errors, are not drawn" if left_out else ""
    left.suptitle(f"error / tolerance of each entry{others}", fontsize=9)
    _draw_maps(left, maps, rows, columns)
    _draw_scatter(right.add_subplot(), report)
    return figure


def draw_step_sweep(steps: Sequence[float], errors: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Draws the relative error of each method at each step, on logarithmic axes."""
    figure: Figure = pyplot().figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for method, found in errors.items():
        axes.loglog(steps, np.maximum(found, _NO_ERROR), label=method, **STYLES[method])
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("step h")
    axes.set_ylabel("relative error  ‖a − n‖ / ‖a + n‖")
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    return figure


def _draw_maps(figure: SubFigure, maps: Sequence[HeatMap], rows: int, columns: int) -> None:
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.patches import Patch

    if not maps:
        figure.text(0.5, 0.5, "no entries", ha="center")
        return
    colours = LinearSegmentedColormap.from_list("error", _SCALE).with_extremes(bad="black")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(maps) :]:
        axes.set_axis_off()
    for axes, (array, (height, width), cells) in zip(panels.flat, maps, strict=False):
        image = axes.imshow(
            np.clip(cells, -_DECADES, _DECADES), cmap=colours, norm=Normalize(-_DECADES, _DECADES), aspect="auto",
            interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )  # fmt: skip
        wrong = f"{format_shape(array.shape, '×')}, {wrong_of(array)} wrong"
        axes.set_title(f"{_shortened(array.name, _NAME_CHARACTERS)}\n{wrong}", fontsize=7)
        axes.set_xticks([0, width - 1] if width > 1 else [])
        axes.set_yticks([0, height - 1] if height > 1 else [])
        axes.tick_params(labelsize=6, length=2)
    bar = figure.colorbar(image, ax=panels, orientation="horizontal", aspect=40, shrink=0.9)
    bar.set_ticks([-8, -4, 0, 4, 8], labels=["≤1e-8", "1e-4", "1 (tolerance)", "1e4", "≥1e8"], fontsize=7)
    if any(np.isnan(heat_map.cells).any() for heat_map in maps):
        handles = [Patch(color="black", label="NaN or infinite")]
        figure.legend(handles=handles, loc="outside lower center", fontsize=7, frameon=False)


def _draw_scatter(axes: Axes, report: Findings) -> None:
    """Draws each entry as a point of its two numbers, so that a right one lies on the diagonal.

    The axes are logarithmic to both sides of a strip around 0.
    """
    analytic, numerical = report._flat
    known = int(np.count_nonzero(report._compared))
    finite = np.flatnonzero(np.isfinite(analytic) & np.isfinite(numerical))
    drawn = finite[np.argsort(-report._excess[finite], kind="stable")]
    half = _MOST_POINTS // 2
    drawn = np.concatenate(
        [drawn[:half], drawn[half :: max(1, ceil(len(drawn) / half) - 1)]]
    )  # the worst, some of the rest
    x, y, beyond = numerical[drawn], analytic[drawn], report._excess[drawn] > 1
    for chosen, colour, mark, says in (
        (~beyond, BLUE, "o", "within the tolerance"),
        (beyond, VERMILLION, "x", "beyond the tolerance"),
    ):
        if chosen.any():
            axes.scatter(x[chosen], y[chosen], s=12, c=colour, marker=mark, linewidths=1, alpha=0.7, label=says)
    sizes = np.abs(np.concatenate([x, y]))
    largest = float(sizes.max(initial=0.0)) or 1.0
    linear = 10.0 ** np.floor(np.log10(max(largest * _LINEAR, float(np.median(sizes)) if sizes.size else 0.0)))
    for set_scale, set_limits in ((axes.set_xscale, axes.set_xlim), (axes.set_yscale, axes.set_ylim)):
        set_scale("symlog", linthresh=linear)
        set_limits(-2 * largest, 2 * largest)
    axes.set_aspect("equal", anchor="N")
    axes.axline((0, 0), (linear, linear), color="0.7", linewidth=0.8, zorder=0)
    axes.set_xlabel("numerical", fontsize=8)
    axes.set_ylabel("analytic", fontsize=8)
    axes.tick_params(labelsize=7)
    if len(drawn):
        axes.legend(fontsize=7, frameon=False, loc="upper left")
    notes = [f"not finite, not drawn: {known - len(finite):,}"] * (len(finite) < known)
    notes += [f"drawn: {len(drawn):,} of {len(finite):,}, the worst among them"] * (len(drawn) < len(finite))
    axes.set_title("\n".join(["analytic against numerical", *notes]), fontsize=9)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def pyplot() -> Any:
    """Imports `matplotlib.pyplot`.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the message says how to install it.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "gradcheck_fast[plot]"') from None
    return pyplot
