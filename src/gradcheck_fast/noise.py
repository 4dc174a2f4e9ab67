"""How much of a function's values is noise: rounding, iterations that stop early, tables, chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .differences import PLAIN_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Points of a difference table, and which differences are looked at.
POINTS, LOWEST_ORDER, HIGHEST_ORDER = 11, 3, 6
#: Distances of the points, in sizes of the parameters: some roundings; and much less than any step of a difference.
ROUNDINGS_APART, APART = 2.0**-46, PLAIN_STEP / 16.0
#: A function that turns quickly, or a kink, may look like noise; but not as much, to a factor, on a line so many times
#: shorter.
CLOSER, STILL_THERE = 64.0, 8.0
#: What is more than this part of the values is the function itself, unless it is there between neighbours, too.
MOST_NOISE = 1e-4


def noise_level(cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64]) -> float:
    """An estimate of the size of a function's noise around `theta`, from a few values on short lines.

    Of a smooth function, high differences of equally distant values are noise alone: the k-th has the variance of the
    noise times binomial(2k, k). (Hamming, Introduction to Applied Numerical Analysis, 1971; Moré and Wild, Estimating
    computational noise, SIAM J. Sci. Comput. 33, 2011.)
    """
    direction = np.random.default_rng(0).choice((-1.0, 1.0), len(theta)) * np.maximum(1.0, np.abs(theta))

    def on_a_line(spacing: float) -> tuple[float, float]:
        """How much of the values would be noise, and their size."""
        # not through `theta` itself, which often lies on kinks and jumps: zeros, ties
        values = np.array([cost(theta + k * spacing * direction) for k in range(1, POINTS + 1)])
        if not np.isfinite(values).all():
            return 0.0, 0.0
        size, sizes, variance = float(np.abs(values).max()), [], 1.0
        for k in range(1, HIGHEST_ORDER + 1):
            values = np.diff(values)
            variance *= 2.0 * (2 * k - 1) / k  # binomial(2k, k)
            sizes.append(float(np.sqrt(np.mean(values**2) / variance)))
        return max(sizes[LOWEST_ORDER - 1 :]), size

    between_neighbours, _ = on_a_line(ROUNDINGS_APART)
    level, size = on_a_line(APART)
    if level <= STILL_THERE * between_neighbours:
        return max(level, between_neighbours)
    if level > MOST_NOISE * size:
        return between_neighbours
    closer, _ = on_a_line(APART / CLOSER)
    return max(level, closer) if level <= STILL_THERE * closer else between_neighbours
