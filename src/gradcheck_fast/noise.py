"""How much of a function's values is noise: rounding, iterations that stop early, tables, chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .differences import PLAIN_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Points of a difference table.
POINTS = 7
#: Distances of the points, in sizes of the parameters: some roundings; and much less than any step of a difference.
#: A function that turns quickly, or a kink, may look like noise; a shorter line tells.
ROUNDINGS_APART, APART, CLOSER = 2.0**-46, PLAIN_STEP / 16.0, 2.0**-6
#: Differences of this order and higher are looked at; those of noise give the same size up to a factor, and up to
#: another one on the shorter line.
LOWEST_ORDER, SAME_SIZE, STILL_THERE = 3, 4.0, 8.0


def noise_level(cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64]) -> float:
    """An estimate of the size of a function's noise around `theta`, from a few values on short lines.

    Of a smooth function, high differences of equally distant values are noise alone: the k-th has the variance of the
    noise times binomial(2k, k). (Hamming, Introduction to Applied Numerical Analysis, 1971; Moré and Wild, Estimating
    computational noise, SIAM J. Sci. Comput. 33, 2011.)
    """
    direction = np.random.default_rng(0).choice((-1.0, 1.0), len(theta)) * np.maximum(1.0, np.abs(theta))

    def on_a_line(spacing: float) -> float:
        values = np.array([cost(theta + (k - POINTS // 2) * spacing * direction) for k in range(POINTS)])
        sizes, variance = [], 1.0
        if not np.isfinite(values).all():
            return 0.0
        for k in range(1, POINTS - 1):
            values = np.diff(values)
            variance *= 2.0 * (2 * k - 1) / k  # binomial(2k, k)
            sizes.append(float(np.sqrt(np.mean(values**2) / variance)))
        high = sizes[LOWEST_ORDER - 1 :]
        return max(high) if max(high) <= SAME_SIZE * min(high) else 0.0

    of_rounding, level = on_a_line(ROUNDINGS_APART), on_a_line(APART)
    if level <= STILL_THERE * of_rounding:
        return max(of_rounding, level)
    closer = on_a_line(APART * CLOSER)
    return max(level, closer) if level <= STILL_THERE * closer else of_rounding
