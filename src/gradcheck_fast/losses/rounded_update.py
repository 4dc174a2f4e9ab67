"""How much rounding a gradient has that was found from an update of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.losses.rounded_gradient import RoundedGradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical


class RoundedUpdate(RoundedGradient):
    """A problem with a gradient that is (before - after) / rate: the roundings of before and after are in it.

    Parameters
    ----------
    problem : Problem
    gradient : tree of arrays
        The gradient that is checked.
    rounding : ndarray of float64, shape (size,)
        How far one rounding of a parameter moves each entry of the gradient, over EPSILON.
    """

    def __init__(self, problem: Problem, gradient: Tree, rounding: NDArray[np.float64]) -> None:
        super().__init__(problem, gradient, lambda: None)
        self._rounding = rounding

    def _with_roundings(self, found: Numerical, params: Packed, some: slice | NDArray[np.intp]) -> Numerical:
        found = super()._with_roundings(found, params, some)
        return found._replace(roundings=lambda: np.asarray(found.roundings()) + self._rounding[some])
