"""Central differences in plain arithmetic: which step, and how much of the result is noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON = float(np.finfo(np.float64).eps)


class Numerical(NamedTuple):
    """A numerical gradient and how it was found.

    Attributes
    ----------
    gradient : ndarray, shape (size,)
    method : str
    step : float or None
        None: chosen for each parameter.
    noise : float or ndarray, shape (size,)
        How far rounding may have moved each entry: 0 in difference arithmetic.
    """

    gradient: NDArray[np.float64]
    method: str
    step: float | None
    noise: float | NDArray[np.float64]


def plain_steps(
    theta: NDArray[np.float64], step: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What to put in each parameter's place, and by what to divide: p + h, p - h, 2h.

    Parameters
    ----------
    theta : ndarray, shape (size,)
    step : float or None
        None: h = ∛ε max(1, |p|), which balances truncation against rounding (Press et al., Numerical Recipes, 5.7),
        and the divisor is the distance of the two rounded points. Given: that h, as it stands in textbooks.
    """
    h = np.cbrt(EPSILON) * np.maximum(1.0, np.abs(theta)) if step is None else np.full_like(theta, step)
    plus, minus = theta + h, theta - h
    return plus, minus, plus - minus if step is None else 2.0 * h


def plain_noise(cost: float, width: NDArray[np.float64]) -> NDArray[np.float64]:
    """A bound for what rounding two costs of this size does to their difference over 2h, give or take a few ulp."""
    return 16.0 * EPSILON * abs(cost) / width
