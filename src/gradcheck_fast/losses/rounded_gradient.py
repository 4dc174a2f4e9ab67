"""How much rounding a gradient of less than float64 has: the same code shows it when it computes in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arrays import coarsest
from gradcheck_fast.inputs.trees import Packed, Tree, pack_as
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.losses.problem import knows_changes, samples_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical

#: If a gradient differs from itself in float64 by more roundings of its largest entry, rounding is not the only reason.
_MOST_ROUNDINGS = 512.0


class RoundedGradient:
    """A problem with the gradient that is checked: by how much that differs from itself in float64 is its rounding.

    Some numbers are zero but for rounding, such as the gradient of a bias before a batch normalisation, and saturated
    units cancel digits. Nothing else tells such numbers from wrong ones.

    Parameters
    ----------
    problem : Problem
    gradient : tree of arrays, or Packed
        The gradient that is checked, in its own dtypes.
    in_double : callable
        Gives the gradient that the same code finds in float64, or None if it cannot. It is called if something looks
        wrong, or if the gradient has few digits.
    """

    def __init__(self, problem: Problem, gradient: Tree | Packed, in_double: Callable[[], Tree | None]) -> None:
        self.problem = problem
        self._gradient = gradient
        self._in_double = in_double
        self.methods = problem.methods
        self.pack = problem.pack
        self.cost = problem.cost
        self.costs_at = problem.costs_at
        self.fingerprint = problem.fingerprint
        self.faster = problem.faster
        self.samples = samples_of(problem)
        self.notes = problem.notes if isinstance(problem, FunctionLoss) else ()
        self.has_exact_changes = False
        if knows_changes(problem):
            self.has_exact_changes, self.change = True, problem.change

    def central_differences(
        self, params: Packed, *, entries: NDArray[np.intp] | None = None, **options: Any
    ) -> Numerical:
        found = self.problem.central_differences(params, entries=entries, **options)
        return self._with_roundings(found, params, slice(None) if entries is None else entries)

    def _with_roundings(self, found: Numerical, params: Packed, some: slice | NDArray[np.intp]) -> Numerical:
        """Returns a numerical gradient, of some entries, that knows the rounding of the gradient that is checked."""

        @cache
        def exact() -> Packed | None:
            given = self._in_double()
            return None if given is None else pack_as(given, params.shapes, finite=False, gradient=True)

        def roundings() -> float | NDArray[np.float64]:
            in_double = exact()
            if in_double is None or not self._is_coarse(params):  # float64 does not show its own rounding
                return found.roundings()
            return self._roundings(params, in_double)[some]

        def in_plain_arithmetic() -> NDArray[np.float64] | None:
            in_double = exact()
            is_known = in_double is not None and all(dtype == np.float64 for dtype in in_double.dtypes.values())
            return None if is_known else found.coarse_roundings()

        def in_double() -> NDArray[np.float64] | None:
            found = exact() if self._is_coarse(params) else None
            is_known = found is not None and all(dtype == np.float64 for dtype in found.dtypes.values())
            return found.flat[some] if found is not None and is_known else None

        def doubted(errors: NDArray[np.float64]) -> Numerical | None:
            other = found.doubted(errors) if found.doubted else None
            return None if other is None else self._with_roundings(other, params, some)

        return found._replace(
            roundings=roundings,
            coarse_roundings=in_plain_arithmetic,
            doubted=doubted if found.doubted else None,
            in_double=in_double,
        )

    def _is_coarse(self, params: Packed) -> bool:
        own = pack_as(self._gradient, params.shapes, finite=False, gradient=True)
        return coarsest((*params.precisions, *own.precisions)).is_coarse

    def _roundings(self, params: Packed, exact: Packed) -> NDArray[np.float64]:
        """Gives how far each entry is from itself in float64, in units of one rounding of its dtype."""
        own = pack_as(self._gradient, params.shapes, finite=False, gradient=True)
        own = replace(own, computed_in=coarsest((*params.precisions, own.computed_in)))
        with np.errstate(invalid="ignore", over="ignore"):
            roundings = np.abs(own.flat - exact.flat)
            for name, part in own.arrays(roundings):
                part /= own.precision(name).eps
            return np.asarray(np.fmin(roundings, _MOST_ROUNDINGS * np.abs(exact.flat).max(initial=0.0)))
