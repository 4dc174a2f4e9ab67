"""Idea C: how many perturbations a network needs if its weights are perturbed, and if its units are."""

import itertools

from boxes import BLUE, ORANGE
from matplotlib import pyplot

SHAPES = {"64-48-10": (64, 48, 10), "784-128-10": (784, 128, 10), "784-512-512-10": (784, 512, 512, 10)}
weights = [sum((a + 1) * b for a, b in itertools.pairwise(s)) for s in SHAPES.values()]
units = [sum(s[1:]) for s in SHAPES.values()]
rows = range(len(SHAPES))
for counts, shift, color, label in [(weights, 0.2, ORANGE, "parameters"), (units, -0.2, BLUE, "units")]:
    bars = pyplot.barh([row + shift for row in rows], counts, height=0.36, color=color, label=label)
    pyplot.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=9)
pyplot.yticks(rows, SHAPES)
pyplot.xscale("log")
pyplot.xlim(10, 5e6)
pyplot.xlabel("what is perturbed, of each sample")
pyplot.legend(frameon=False, loc="lower right")
