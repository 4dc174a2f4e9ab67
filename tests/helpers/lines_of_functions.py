"""Lines along which a function of one number is differenced, with noise, and a derivative is given."""

from __future__ import annotations

import numpy as np

from gradcheck_fast.numerical.one_precision_fit import Samples
from gradcheck_fast.numerical.one_precision_line import Line, Roundings


def line_of(f, slope, x, noise=0.0, seed=0):
    """Makes the line of f and of its derivative, as it is given, through x; values have noise of a standard deviation.

    All entries are the same one.
    """
    rng = np.random.default_rng(seed)

    def value(points):
        return f(points) + noise * rng.standard_normal(points.shape)

    def sample(entries, h, centre):
        middle = x + centre[:, None]
        plus, minus, here = value(middle + h), value(middle - h), value(middle)
        floor = np.full(h.shape, noise / 2.0**0.5)
        return Samples(h, plus - minus, plus + minus - 2.0 * here, floor, np.full(h.shape, float(h.shape[1])))

    return Line(sample, lambda entries, offsets: (offsets, slope(x + offsets)))


def without_rounding(count):
    """What rounding does to given derivatives that are exact."""
    return Roundings(1.0, *np.zeros((3, count)))
