"""Boxes and arrows, which several pictures are made of."""

from matplotlib import pyplot
from matplotlib.axes import Axes

BLUE, ORANGE, GREY, LIGHT = "#2f6f9f", "#d1622b", "#8a8a8a", "#e8eef3"


def empty(width: float, height: float) -> Axes:
    """Returns axes without ticks, in which a unit is an inch."""
    _, axes = pyplot.subplots(figsize=(width, height))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return axes


def box(
    axes: Axes, x: float, y: float, text: str, width: float = 0.9, height: float = 0.45, color: str = LIGHT
) -> None:
    """Draws a box around a point, with a text in it."""
    axes.add_patch(
        pyplot.Rectangle((x - width / 2, y - height / 2), width, height, facecolor=color, edgecolor=GREY, lw=0.8)
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if color in (BLUE, ORANGE) else "black")


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = GREY) -> None:
    """Draws an arrow from one point to another."""
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.2})
