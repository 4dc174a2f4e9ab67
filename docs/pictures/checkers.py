"""How many mistakes each checker lets pass, and how many right gradients: the first table of `checkers.md`."""

from boxes import BLUE, ORANGE
from matplotlib import pyplot
from page_tables import numbers

counts = numbers("checkers.md", "| | mistakes that are not reported")
names = list(counts)[::-1]
pyplot.figure(figsize=(7.2, 3.6))
for k, (shift, color, label) in enumerate(
    [(0.2, ORANGE, "mistakes that are not reported"), (-0.2, BLUE, "right gradients that do not pass")]
):
    bars = pyplot.barh(
        [row + shift for row in range(len(names))], [counts[name][k] for name in names], 0.38, color=color, label=label
    )
    pyplot.bar_label(bars, padding=3, fontsize=9)
pyplot.yticks(range(len(names)), names)
pyplot.xlabel("of 40")
pyplot.xlim(0, 40)
pyplot.legend(frameon=False, loc="lower right")
