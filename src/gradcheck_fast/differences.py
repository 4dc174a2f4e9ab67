"""Central differences as numbers: what was found, with which step, and how far rounding and truncation may reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EPSILON = float(np.finfo(np.float64).eps)
#: The default h of plain arithmetic, for parameters up to 1 in size.
PLAIN_STEP = float(np.cbrt(EPSILON))
#: The default h of difference arithmetic: truncation is then below rounding, for nothing is lost to cancellation.
EXACT_STEP = 2.0**-30
#: How many roundings of everything that was added up, at worst, an entry may be off in difference arithmetic.
ROUNDING_ULPS = 64.0
#: Steps beyond these would make h² or 2h under- or overflow.
SMALLEST_STEP, LARGEST_STEP = 1e-150, 1e150


class Numerical(NamedTuple):
    """A numerical gradient and how it was found.

    Attributes
    ----------
    gradient : ndarray, shape (size,)
    method : str
    exact : bool
        Whether it was found in difference arithmetic.
    step : float or None
        None: chosen for each parameter.
    rounding : callable
        About how far rounding may have moved each entry: a float, or an ndarray of shape (size,). Called only by who
        compares.
    """

    gradient: NDArray[np.float64]
    method: str
    exact: bool
    step: float | None
    rounding: Callable[[], float | NDArray[np.float64]]

    @property
    def truncation(self) -> float:
        """h²: about how far a central difference is from the derivative, where third derivatives are near 1."""
        return (PLAIN_STEP if self.step is None else self.step) ** 2


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

    Raises
    ------
    ValueError
        If p + h and p - h are the same number.
    """
    h = PLAIN_STEP * np.maximum(1.0, np.abs(theta)) if step is None else np.full_like(theta, step)
    plus, minus = theta + h, theta - h
    lost = plus == minus
    if lost.any():
        k = int(np.argmax(lost))
        raise ValueError(f"step: {step} is lost in a parameter of {theta[k]:.6g} (entry {k}); use a larger step")
    return plus, minus, plus - minus if step is None else 2.0 * h


def plain_rounding(cost: float, width: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rounding two costs of this size to a few ulp does to their difference over 2h."""
    return 16.0 * EPSILON * abs(cost) / width


def exact_rounding(magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rounding does to a sum of contributions of this size altogether, in difference arithmetic."""
    return ROUNDING_ULPS * EPSILON * magnitude
