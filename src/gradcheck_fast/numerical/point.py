"""A function at one point. What it is asked there becomes jobs for the runner."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gradcheck_fast.numerical.evaluate import PartCosts, cost_beside, say_where
from gradcheck_fast.numerical.gradient import where_it_exists
from gradcheck_fast.numerical.in_domain import inside
from gradcheck_fast.running.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.domain import Domain
    from gradcheck_fast.numerical.evaluate import ComplexCosts, Costs
    from gradcheck_fast.running.runner import Runner


class Point(NamedTuple):
    """A function, and the parameters at which its gradient is wanted.

    Attributes
    ----------
    costs : Costs
        The function.
    theta : ndarray of float64, shape (size,)
        The parameters.
    runner : Runner
        Does the work.
    value : float
        The function's value at the parameters.
    domain : Domain, optional
        Where the parameters may be moved; the costs are NaN outside. None: anywhere.
    """

    costs: Costs
    theta: NDArray[np.float64]
    runner: Runner
    value: float
    domain: Domain | None = None

    @classmethod
    def at(
        cls, costs: Costs, theta: NDArray[np.float64], runner: Runner, domain: Domain | None = None
    ) -> Point:  # fmt: skip
        """Evaluates a function at `theta`; without parameters its value counts as 0."""
        return cls(costs, theta, runner, costs.cost(theta) if len(theta) else 0.0, domain)

    @property
    def entries(self) -> NDArray[np.intp]:
        """The numbers of all entries."""
        return np.arange(len(self.theta))

    def of(self, entries: NDArray[np.intp]) -> Point:
        """Restricts the function to some of its parameters."""
        domain = None if self.domain is None else self.domain.of(entries)
        return self._replace(
            costs=PartCosts(self.costs, self.theta, entries), theta=self.theta[entries], domain=domain
        )  # fmt: skip

    def quietly(self) -> Point:
        """Returns this point with a runner that reports no progress of its own."""
        return self._replace(runner=self.runner.quietly())

    def moved_to(self, theta: NDArray[np.float64]) -> Point:
        """Returns the function at other parameters, close by: at those in the domain, if they are outside."""
        theta = self.inside(theta)
        return self._replace(theta=theta, value=self.cost_beside(theta))

    def inside(self, moved: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns parameters beside those of the point that lie in the domain: `moved` itself, if it does."""
        return inside(self.domain, moved, self.theta)

    def along(self, direction: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
        """Returns a direction along which the parameters stay in the domain; see `Domain.along`."""
        return direction if self.domain is None else self.domain.along(self.theta, direction, reach)

    def cost_beside(self, theta: NDArray[np.float64]) -> float:
        """Returns the cost at other parameters; NaN if the function raises, as it is not defined there."""
        return cost_beside(self.costs.cost, theta)

    def error_at(self, entry: int, value: float) -> Exception | None:
        """Returns the exception that the function raises if one entry is `value`, with a note on that; or None."""
        moved = self.theta.copy()
        moved[entry] = value
        try:
            self.costs.cost(moved)
        except Exception as error:
            say_where(error, f"{self.costs.name(entry)} was {value!r} instead of {float(self.theta[entry])!r}")
            return error
        return None

    def moved(self, entries: NDArray[np.intp], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Finds the costs if each of some entries, by itself, is moved to other places.

        Parameters
        ----------
        entries : ndarray of int, shape (size,)
            The numbers of the entries.
        points : ndarray of float64, shape (k, size)
            For each entry, the k numbers that take its place, one after the other.

        Returns
        -------
        ndarray of float64, shape (k, size)
            The costs; NaN where the function raises. Those of points outside of the domain are extrapolated from
            inside: with the parameter p, the cost at p - s is 3 E(p) - 3 E(p + s) + E(p + 2s), to third order in s.
            So a central difference becomes one to one side, (4 E(p + s) - 3 E(p) - E(p + 2s)) / 2s, whose error is of
            the order of s², too.
        """
        if self.domain is None:
            return self._evaluated(entries, points)
        outside = self._outside(self.domain, entries, points)
        if not outside.any():
            return self._evaluated(entries, points)
        theta, (_, at) = self.theta[entries], np.nonzero(outside)
        mirrored = np.where(outside, 2.0 * theta - points, points)
        found = self._evaluated(entries, mirrored)
        twice = self._evaluated(entries[at], (2.0 * mirrored - theta)[outside][np.newaxis])[0]
        found[outside] = 3.0 * (self.value - found[outside]) + twice
        return found

    def extrapolates(self, entries: NDArray[np.intp], h: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns a mask of the entries that cannot be moved by h to both sides."""
        if self.domain is None:
            return np.zeros(len(entries), np.bool_)
        theta = self.theta[entries]
        return np.asarray(self._outside(self.domain, entries, np.stack([theta + h, theta - h])).any(axis=0))

    @staticmethod
    def _outside(domain: Domain, entries: NDArray[np.intp], points: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((points < domain.low[entries]) | (points > domain.high[entries]))

    def _evaluated(self, entries: NDArray[np.intp], points: NDArray[np.float64]) -> NDArray[np.float64]:
        share = partial(_moved, self.costs, self.theta, entries, points, self.runner.n_threads)
        return self._run(("moved", entries, points), points.shape, share, entries)

    def pairs(self, entries: NDArray[np.intp], h: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns three rows: the costs at p + h and p - h, and the distance of the points; see `where_it_exists`."""
        theta = self.theta[entries]
        points = np.stack([theta + h, theta - h])
        return where_it_exists(self.moved(entries, points), points, points[0] - points[1], theta, self.value)

    def complex_steps(self, entries: NDArray[np.intp], h: NDArray[np.float64]) -> NDArray[np.float64]:
        """Finds the derivatives of some entries by complex steps, which are right where the function is analytic."""
        share = partial(_complex_steps, cast("ComplexCosts", self.costs), self.theta, entries, h)
        return self._run(("complex steps", entries, h), (len(entries),), share, entries)

    def steps_and_costs(
        self, entries: NDArray[np.intp], h: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Returns two rows: complex steps, NaN where the function raises, and the costs with each entry at `values`."""
        costs = cast("ComplexCosts", self.costs)
        share = partial(_steps_and_costs, costs, self.theta, entries, h, values)
        return self._run(("steps and costs", entries, h, values), (2, len(entries)), share, entries)

    def _run(
        self, what: tuple[Any, ...], shape: tuple[int, ...], share: Callable[[int, int], NDArray[np.float64]],
        entries: NDArray[np.intp],
    ) -> NDArray[np.float64]:  # fmt: skip
        found = np.empty(shape)

        def put(begin: int, end: int, values: NDArray[np.float64]) -> None:
            found[..., begin:end] = values

        here = lambda begin, end: put(begin, end, share(begin, end))

        def doing(begin: int, end: int) -> str:
            first, last = (self.costs.name(int(k)) for k in entries[[begin, end - 1]])
            return f"differencing {first}" if first == last else f"differencing {first} to {last}"

        smallest = self.runner.n_threads if self.costs.uses_threads else 1
        self.runner.run(Job((*what, self.theta), shape[-1], (found,), here, share, put, smallest, doing=doing))
        return found


def _moved(
    costs: Costs, theta: NDArray[np.float64], entries: NDArray[np.intp], points: NDArray[np.float64], n_threads: int,
    begin: int, end: int,
) -> NDArray[np.float64]:  # fmt: skip
    times, values = len(points), points[:, begin:end].T.ravel()
    return costs.costs(theta, np.repeat(entries[begin:end], times), values, n_threads).reshape(-1, times).T


def _complex_steps(
    costs: ComplexCosts, theta: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64], begin: int,
    end: int,
) -> NDArray[np.float64]:  # fmt: skip
    return costs.complex_steps(theta, entries[begin:end], h[begin:end])


def _steps_and_costs(
    costs: ComplexCosts, theta: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64],
    values: NDArray[np.float64], begin: int, end: int,
) -> NDArray[np.float64]:  # fmt: skip
    some = entries[begin:end]
    try:
        steps = costs.complex_steps(theta, some, h[begin:end])
    except Exception:  # a function that was not written for complex arrays may raise anything
        if len(some) > 1:  # how the entries are split must not decide which are NaN
            each = [_steps_and_costs(costs, theta, entries, h, values, k, k + 1) for k in range(begin, end)]
            return np.concatenate(each, axis=1)
        return np.full((2, 1), np.nan)
    return np.stack([steps, costs.costs(theta, some, values[begin:end], 1)])
