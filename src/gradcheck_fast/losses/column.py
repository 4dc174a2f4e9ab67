"""A function of trees along one direction of many, as for the columns of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.losses.along import Along
from gradcheck_fast.numerical.gradient import EPSILON, PLAIN_STEP, Numerical, Refined
from gradcheck_fast.numerical.steadiest import steadiest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.along import ExactChanges
    from gradcheck_fast.losses.tree_function import TreeFunction

    Reals = NDArray[np.float64]

#: The step of differences of the fourth order. ε^(1/5) would balance truncation against rounding where a function
#: changes over the size of its inputs; others change sooner. Rounding is then about 1e-12.
STEP = 2.0**-13
#: The steps that are tried where error bars are needed: each is so much smaller that it has 4096 times less truncation.
STEPS = tuple(STEP * 8.0**power for power in range(1, -7, -1))
#: How many roundings a difference of the fourth order over 2h may have.
ROUNDINGS = 6.0
#: Differences of the fourth order are used where they agree with those of the second to this part of their array.
NO_KINK = 1e-6


class Column(Along):
    """A function along one direction.

    Parameters
    ----------
    function : TreeFunction
    direction : ndarray, shape (size,)
    exact : ExactChanges or None
    noise : callable
        Gives the noise of each output, which is measured once for all directions.
    """

    def __init__(
        self, function: TreeFunction, direction: Reals, exact: ExactChanges | None, noise: Callable[[], Reals]
    ) -> None:
        super().__init__(function, direction, exact)
        self._known_noise = noise

    def _noise(self) -> Reals:
        return self._known_noise()


class AccurateColumn(Column):
    """A function that has no error but rounding, as an exact gradient, along one direction.

    Its derivatives are differences of the fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h (Abramowitz and
    Stegun, Handbook of Mathematical Functions, 25.3.21). A difference of 0 is 0 for such a function, and not a rounded
    one, so that no larger steps need be tried there.

    Parameters
    ----------
    function, direction, noise
        As for `Column`.
    roundings : ndarray of float64
        How far each output moves if all that it is found from is rounded once, over EPSILON.
    """

    def __init__(self, function: TreeFunction, direction: Reals, noise: Callable[[], Reals], roundings: Reals) -> None:
        super().__init__(function, direction, None, noise)
        self._roundings = roundings

    def central_differences(self, params: Packed, *, method: str, step: float | None, **options: Any) -> Numerical:
        found = super().central_differences(params, method=method, step=step, **options)
        fourth, largest = self._fourth_order(STEP)
        with np.errstate(invalid="ignore", over="ignore"):
            size = max(root_mean_square(found.gradient), PLAIN_STEP * root_mean_square(largest))
            used = np.abs(fourth - found.gradient) <= NO_KINK * np.maximum(np.abs(found.gradient), size)
        if found.kinks is not None:
            used &= ~found.kinks.where
        noise = np.where(used, np.maximum(largest, self._roundings) / STEP, found.noise())
        return found._replace(
            gradient=np.where(used, fourth, found.gradient), step=None, noise=lambda: noise,
            roundings=lambda: self._roundings,
        )  # fmt: skip

    def _refined(self, some: NDArray[np.intp], enough: Reals) -> Refined:
        found = [self._fourth_order(step) for step in STEPS]
        level = np.maximum(self._noise(), EPSILON * np.max([largest for _, largest in found], axis=0))[some]
        values = np.stack([own[some] for own, _ in found])
        best, bars = steadiest(values, np.stack([ROUNDINGS * level / step for step in STEPS]))
        return Refined(best, bars)

    def _fourth_order(self, step: float) -> tuple[Reals, Reals]:
        """Returns the difference of the fourth order with a step, and the largest size of each output."""
        theta = self._function.at.flat
        with np.errstate(invalid="ignore", over="ignore"):
            (plus, minus), (farther, before) = self._values(theta, step), self._values(theta, 2.0 * step)
            found = (8.0 * (plus - minus) - (farther - before)) / (12.0 * step)
            largest = np.fmax(np.fmax(np.abs(farther), np.abs(before)), np.abs(self._function.outputs.flat))
        return found, largest
