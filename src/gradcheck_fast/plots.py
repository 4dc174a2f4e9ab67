"""Pictures, by matplotlib, an optional dependency: the errors of a report, and how an error depends on the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from .compare import relative_error
from .heatmap import HeatMap, heat_maps
from .names import choose, integer, number
from .numerical import as_problem, differentiate
from .runner import Runner
from .text import format_shape, wrong_of
from .trees import copy, pack_as

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    from .numerical import Loss
    from .report import Report
    from .trees import Tree

# Of Okabe and Ito's colours, which colour-blind people tell apart; marks and words say the same once more.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
_LINES: dict[str, dict[str, Any]] = {
    "direct": {"color": VERMILLION, "marker": "o", "markersize": 7, "markerfacecolor": "none", "zorder": 3},
    "incremental": {"color": GREEN, "marker": "^", "markersize": 4},
    "units": {"color": BLUE, "marker": "s", "markersize": 4},
}
#: Of the heat maps, from an error far within the tolerance to one far beyond it: pale up to it, then a jump.
_SCALE = [(0.0, "#d8e8f4"), (0.5, "#7fb9da"), (0.5, "#f4b183"), (0.75, "#c85200"), (1.0, "#6a2700")]
_DECADES = 8
_CELLS = (96, 96)
_MOST_POINTS = 4000
_NO_ERROR = 1e-17  # where an error of exactly 0 is drawn on a logarithmic axis


def plot_report(report: Report, most: int) -> Figure:
    """What `Report.plot` draws."""
    pyplot = _pyplot()
    maps = heat_maps(report, integer("most", most, positive=True), cells=_CELLS)
    columns = max(1, ceil(sqrt(len(maps))))
    rows = max(1, ceil(len(maps) / columns))
    width, scatter_width = max(4.2, 2.1 * columns), 5.0
    figure: Figure = pyplot.figure(figsize=(width + scatter_width, max(4.8, 1.5 * rows + 1.5)), layout="constrained")
    figure.suptitle(f"gradcheck: {report.verdict}   {_shortened(report.reason, 100)}", fontsize=11)
    grid = figure.add_gridspec(1, 2, width_ratios=(width, scatter_width))
    left, right = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    left_out = sum(array.size > 0 for array in report.arrays) - len(maps)
    others = f"\n{left_out} more arrays, with smaller errors, are not drawn" if left_out else ""
    left.suptitle(f"error / tolerance of each entry{others}", fontsize=9)
    _draw_maps(left, maps, rows, columns)
    _draw_scatter(right.add_subplot(), report)
    return figure


def plot_step_sweep(
    loss: Loss,
    gradient: Tree | Callable[[Tree], Tree],
    params: Tree,
    *,
    methods: Sequence[str] | None = None,
    steps: Sequence[float] | None = None,
    entries: int = 64,
    n_threads: int | None = None,
) -> Figure:
    """Draws the error of the numerical gradient against its step h: a V in plain arithmetic, flat in differences.

    In plain arithmetic a small h loses digits to rounding, a large one to truncation; the best is between. Difference
    arithmetic has nothing to lose by a small h.

    Parameters
    ----------
    loss, gradient, params
        As for `gradcheck`. The gradient should be right: its own error is where all lines end.
    methods : sequence of {"direct", "incremental", "units"}, optional
        Default: ``direct``, and ``units`` for the loss of a `Network`.
    steps : sequence of float, optional
        Default: two for each power of ten from 1e-15 to 1.
    entries : int
        How many entries are compared, spread evenly over all. ``direct`` is computed for these only: two calls of the
        loss for each, at each step.
    n_threads : int, optional
        As for `gradcheck`.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of `matplotlib.pyplot`.

    Raises
    ------
    ImportError
        If matplotlib is not installed; it is an optional dependency.
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    pyplot = _pyplot()
    problem = as_problem(loss)
    if methods is None:
        methods = tuple(method for method in ("direct", "units") if method in problem.methods)
    for method in methods:
        choose("methods", method, _LINES)
    widths = [number("steps", h, positive=True) for h in (np.logspace(-15, 0, 31) if steps is None else steps)]
    at = problem.pack(params)
    given = gradient(copy(params)) if callable(gradient) else gradient
    analytic = pack_as(given, at.shapes, "gradient", paths=at.paths, unit_axes=True).flat
    if not analytic.size:
        raise ValueError("params: there are no entries to compare")
    picked = np.unique(np.linspace(0, analytic.size - 1, integer("entries", entries, positive=True)).astype(np.intp))

    def plain(h: float) -> NDArray[np.float64]:
        return np.array([_slope(lambda theta: problem.cost(at, theta), at.flat, k, h) for k in picked])

    def found(method: str, h: float) -> NDArray[np.float64]:
        if method == "direct":
            return plain(h)
        return differentiate(problem, at, method, h, Runner(n_threads)).gradient[picked]

    figure: Figure = pyplot.figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for method in methods:
        errors = [relative_error(analytic[picked], found(method, h)) for h in widths]
        axes.loglog(widths, np.maximum(errors, _NO_ERROR), label=method, **_LINES[method])
    axes.set_title(f"Error of the numerical gradient, {len(picked)} of {analytic.size:,} entries", fontsize=11)
    axes.set_xlabel("step h")
    axes.set_ylabel("relative error  ‖a − n‖ / ‖a + n‖")
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    return figure


def _slope(cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64], k: int, h: float) -> float:
    """The central difference as it stands in textbooks."""
    plus, minus = theta.copy(), theta.copy()
    plus[k] += h
    minus[k] -= h
    return (cost(plus) - cost(minus)) / (2.0 * h)


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
        axes.set_title(f"{_shortened(array.name, 32)}\n{wrong}", fontsize=7)
        axes.set_xticks([0, width - 1] if width > 1 else [])
        axes.set_yticks([0, height - 1] if height > 1 else [])
        axes.tick_params(labelsize=6, length=2)
    bar = figure.colorbar(image, ax=panels, orientation="horizontal", aspect=40, shrink=0.9)
    bar.set_ticks([-8, -4, 0, 4, 8], labels=["≤1e-8", "1e-4", "1 (tolerance)", "1e4", "≥1e8"], fontsize=7)
    if any(np.isnan(heat_map.cells).any() for heat_map in maps):
        handles = [Patch(color="black", label="NaN or infinite")]
        figure.legend(handles=handles, loc="outside lower center", fontsize=7, frameon=False)


def _draw_scatter(axes: Axes, report: Report) -> None:
    """Each entry's two numbers; a right one lies on the diagonal. Logarithmic to both sides of a strip around 0."""
    analytic, numerical = report._flat
    known = int(np.count_nonzero(report._excess != -np.inf))
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
    linear = 10.0 ** np.floor(np.log10(max(largest * 1e-4, float(np.median(sizes)) if sizes.size else 0.0)))
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


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "gradcheck_fast[plot]"') from None
    return pyplot
