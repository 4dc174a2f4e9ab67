"""Idea G: the difference of tanh by +h and -h, its odd half, and its even half, against h."""

import numpy as np
from boxes import BLUE, GREY, ORANGE
from matplotlib import pyplot

z = 0.7
h = 2.0 ** -np.arange(1, 41, dtype=float)
# tanh(z + d) - tanh(z) without cancellation: sinh(d) / (cosh(z + d) cosh(z))
up, down = (np.sinh(d) / (np.cosh(z + d) * np.cosh(z)) for d in (h, -h))
odd = (up - down) / 2
even = (
    np.tanh(z) * np.sinh(h) ** 2 / (np.cosh(z + h) * np.cosh(z - h))
)  # (up + down) / 2 without cancellation, but for its sign
pyplot.loglog(h, odd, color=BLUE, label="odd half: what the derivative is made of")
pyplot.loglog(h, even, color=ORANGE, label="even half: falls as h²")
pyplot.loglog(h, odd * h**2, color=GREY, ls="--", label="what the even half does to the odd one: falls as h³")
pyplot.axvline(2.0**-40, color="black", lw=0.7, ls=":")
pyplot.xlabel("step h (dotted: the default, 2⁻⁴⁰)")
pyplot.ylabel("size")
pyplot.ylim(1e-40, 5)
pyplot.legend(frameon=False, loc="lower right")
