"""Functions of parameters that may be moved in a domain only."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, cast

import numpy as np

from gradcheck_fast.numerical.evaluate import cost_beside

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.domain import Domain
    from gradcheck_fast.numerical.evaluate import ComplexCosts, Costs


class InDomain:
    """A function of parameters that have a domain: it is never called outside, where its value counts as NaN.

    Moves that leave a constraint are put back on it before the function is called.

    Parameters
    ----------
    costs : Costs
    domain : Domain
    """

    def __init__(self, costs: Costs, domain: Domain) -> None:
        self._costs, self.domain = costs, domain
        self.takes_complex = costs.takes_complex and domain.constrained is None
        self.uses_threads = costs.uses_threads

    @property
    def notes(self) -> tuple[str, ...]:
        return self._costs.notes

    def name(self, entry: int) -> str:
        return self._costs.name(entry)

    def cost(self, theta: NDArray[np.float64]) -> float:
        moved = self.domain.on_constraints(theta)
        return self._costs.cost(moved) if self.domain.holds(moved) else nan

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        if self.domain.constrained is not None:
            return np.array([self._one(theta, *pair) for pair in zip(entries, values, strict=True)], np.float64)
        found, inside = np.full(len(entries), nan), self.domain.holds_entries(entries, values)
        if inside.any() and self.domain.holds(theta):
            found[inside] = self._costs.costs(theta, entries[inside], values[inside], n_threads)
        return found

    def complex_steps(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return cast("ComplexCosts", self._costs).complex_steps(theta, entries, h)

    def _one(self, theta: NDArray[np.float64], entry: int, value: float) -> float:
        moved = theta.copy()
        moved[entry] = value
        return cost_beside(self.cost, moved)


def inside(domain: Domain | None, moved: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns parameters beside `theta` that lie in its domain: `moved` itself, if it does."""
    return moved if domain is None else domain.into(moved, theta)
