"""Draws Taylor remainders by matplotlib, an optional dependency."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.taylor import RATES, REMAINDERS
from gradcheck_fast.report.plots import BLUE, GREEN, VERMILLION, pyplot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gradcheck_fast.numerical.taylor import Remainders

#: The colour and the mark of the remainders of each order.
_STYLES = ((GREEN, "^"), (BLUE, "o"), (VERMILLION, "s"))
#: How many characters of the verdict a line of the title shows, and how many panels a row has.
_TITLE_CHARACTERS, _COLUMNS = 90, 3
#: How many arrays are drawn, at most: those that are not right come first.
_MOST_ARRAYS = 5


def plot_taylor(words: str, together: Remainders, arrays: Sequence[Remainders]) -> Figure:
    """Draws what `TaylorReport.plot` describes: a panel for the whole direction, and one for each array.

    Parameters
    ----------
    words : str
        The title.
    together : Remainders
    arrays : sequence of Remainders
    """
    order = {"wrong": 0, "inconclusive": 1}
    arrays = sorted(arrays, key=lambda one: order.get(one.status, 2))[:_MOST_ARRAYS]
    panels = [together, *arrays]
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure: Figure = pyplot().figure(figsize=(4.4 * columns + 0.8, 3.8 * rows + 0.7), layout="constrained")
    most = _TITLE_CHARACTERS if columns > 1 else _TITLE_CHARACTERS // 2
    figure.suptitle("\n".join(_lines(words, most)), fontsize=10)
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    for place, one in zip(axes.flat, panels, strict=False):
        _draw(place, one)
    axes.flat[0].legend(frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, one: Remainders) -> None:
    """Draws the remainders of each order; those that are hardly more than noise are pale."""
    steps = np.array(one.steps)
    for what, rate, remainder, (colour, mark) in zip(REMAINDERS, RATES, one.orders, _STYLES, strict=False):
        sizes, used = np.array(remainder.sizes), np.array(remainder.used)
        seen = np.isfinite(sizes) & (sizes > 0.0)
        axes.plot(steps[seen & ~used], sizes[seen & ~used], mark, color=colour, alpha=0.3, markersize=4)
        axes.plot(steps[used], sizes[used], mark, color=colour, label=what, markersize=5)
        if used.any():
            first = int(np.flatnonzero(used)[0])
            right = sizes[first] * (steps / steps[first]) ** rate
            axes.plot(steps, right, "-", color=colour, linewidth=0.8, alpha=0.6)
            axes.annotate(
                f"h{'¹²³'[rate - 1]}" if rate > 1 else "h", (steps[-1], right[-1]), (3, -9), textcoords="offset points",
                fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    if one.noise > 0.0 and isfinite(one.noise):
        axes.axhspan(one.noise * 1e-3, one.noise, color="0.85", zorder=0, linewidth=0)
        axes.set_ylim(bottom=one.noise * 0.1)
    axes.set_title(f"{one.name or 'whole direction'}: {one.status}", fontsize=9)
    axes.set_xlabel("step h", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color="0.92")


def _lines(text: str, width: int) -> list[str]:
    from textwrap import wrap  # only who plots needs it

    return wrap(text, width) or [""]
