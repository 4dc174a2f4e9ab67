"""Idea F: with which probability an error of one array would be missed, by the formula of `docs/chain.md`."""

import math

import numpy as np
from boxes import BLUE, GREY, ORANGE
from matplotlib import pyplot

ALLOWED = 2e-13  # of the standard deviation of g·r, for rounding
ARRAYS = 6
errors = np.logspace(-14, -9, 200)
for directions, color in [(1, GREY), (2, BLUE), (10, ORANGE)]:
    # an error e of one of the arrays moves g·r by a normal number of the standard deviation e / √arrays
    missed = [math.erf(ALLOWED * math.sqrt(ARRAYS) / e / math.sqrt(2)) ** directions for e in errors]
    pyplot.loglog(errors, missed, color=color, label=f"{directions} direction{'s' if directions > 1 else ''}")
pyplot.axhline(0.01, color="black", lw=0.7, ls=":")
pyplot.ylim(1e-6, 1.5)
pyplot.xlabel("relative error of one array of the gradient")
pyplot.ylabel("probability of missing it")
pyplot.legend(frameon=False, loc="lower left")
