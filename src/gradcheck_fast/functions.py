"""Functions of which nothing is known but their values, differenced in plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .differences import EPSILON, Kinks, Numerical, jitter, plain_steps
from .names import choose
from .runner import Job
from .trees import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .runner import Runner
    from .trees import Packed, Tree

#: A kink of a function is where the slopes to both sides differ by more than this part of them, and than so many
#: roundings of the cost; and still do with a step so many times smaller.
KINK, KINK_ROUNDINGS, SMALLER_STEP = 1e-3, 64.0, 16.0


class Costs(Protocol):
    """How a function is evaluated. It can be pickled, if the function can."""

    def cost(self, theta: NDArray[np.float64]) -> float:
        """The cost at a flat vector."""

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        """The costs where of `theta` only one entry is another: ``theta[entries[k]] = values[k]``, for each k."""


class PythonCosts:
    """A Python function of a tree of arrays.

    Each call gets fresh arrays, so that a function that writes into its arguments disturbs nothing.
    """

    def __init__(self, function: Callable[[Any], Any], unpack: Callable[[NDArray[np.float64]], Tree]) -> None:
        self._function = function
        self._unpack = unpack

    def cost(self, theta: NDArray[np.float64]) -> float:
        return self._value(theta.copy())

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        found = np.empty(len(entries))
        for k, (entry, value) in enumerate(zip(entries.tolist(), values.tolist(), strict=True)):
            moved = theta.copy()
            moved[entry] = value
            found[k] = self._value(moved)
        return found

    def _value(self, theta: NDArray[np.float64]) -> float:
        value = self._function(self._unpack(theta))
        try:
            array = np.asarray(value)
            if array.size != 1 or array.dtype.kind not in "iuf":
                raise TypeError
            return float(array.reshape(()))
        except Exception:
            raise TypeError(f"loss: expected it to return one real number, got {value!r}") from None


class FunctionLoss:
    """A function of a tree of parameters, given by how it is evaluated."""

    methods = ("direct",)

    def __init__(self, costs_of: Callable[[Packed], Costs]) -> None:
        self._costs_of = costs_of

    @classmethod
    def of_python(cls, function: Callable[[Any], Any]) -> FunctionLoss:
        """Of any Python function of a tree of arrays."""
        return cls(lambda params: PythonCosts(function, params.unpack))

    def costs_at(self, params: Packed) -> Costs:
        """How the function is evaluated at flat vectors like that of `params`."""
        return self._costs_of(params)

    def pack(self, params: Tree) -> Packed:
        return pack(params)

    def cost(self, params: Packed, theta: NDArray[np.float64]) -> float:
        """The cost at a flat vector."""
        return self._costs_of(params).cost(theta)

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False
    ) -> Numerical:
        choose("method", method, ("auto", "units", "incremental", "direct"))
        if method in ("units", "incremental"):
            raise ValueError(f"method: {method!r} needs the loss of a gf.Network; for another function use 'direct'")
        theta, width = params.flat, plain_steps(params.flat, step)[2]
        costs = self._costs_of(params)
        values = _pairs(costs, theta, step, 1.0, runner)
        cost = _settle(costs, theta)
        with np.errstate(invalid="ignore", over="ignore"):
            gradient = (values[0] - values[1]) / width
        largest = np.maximum(np.abs(values).max(axis=0), abs(cost))
        met = _kinks(costs, theta, step, gradient, values, cost, largest) if kinks else None

        def again(times: float) -> NDArray[np.float64]:
            plus, minus = _pairs(costs, jitter(theta), step, times, runner.quietly())
            _settle(costs, theta)
            with np.errstate(invalid="ignore", over="ignore"):
                found: NDArray[np.float64] = (plus - minus) / plain_steps(jitter(theta), step, times)[2]
            return found

        return Numerical(gradient, "direct", False, step, again, lambda: largest / width, kinks=met)


def _settle(costs: Costs, theta: NDArray[np.float64]) -> float:
    """The cost at the unchanged parameters, at which a function that remembers its last ones is left."""
    return costs.cost(theta) if len(theta) else 0.0


def _pairs(
    costs: Costs, theta: NDArray[np.float64], step: float | None, times: float, runner: Runner
) -> NDArray[np.float64]:
    """The costs at p + h and at p - h, for every entry: shape (2, size)."""
    plus, minus, _ = plain_steps(theta, step, times)
    values = np.empty((2, len(theta)))

    def put(begin: int, end: int, found: NDArray[np.float64]) -> None:
        values[:, begin:end] = found

    share = partial(_share_of_pairs, costs, theta, np.stack([plus, minus]), runner.n_threads)
    runner.run(Job(len(theta), (values,), lambda begin, end: put(begin, end, share(begin, end)), share, put))
    return values


def _share_of_pairs(
    costs: Costs, theta: NDArray[np.float64], points: NDArray[np.float64], n_threads: int, begin: int, end: int
) -> NDArray[np.float64]:
    entries = np.repeat(np.arange(begin, end), 2)
    return costs.costs(theta, entries, points[:, begin:end].T.ravel(), n_threads).reshape(-1, 2).T


def _kinks(
    costs: Costs, theta: NDArray[np.float64], step: float | None, gradient: NDArray[np.float64],
    values: NDArray[np.float64], cost: float, largest: NDArray[np.float64],
) -> Kinks | None:  # fmt: skip
    """Entries with another slope to either side, which is there with a much smaller step as well."""
    plus, minus, _ = plain_steps(theta, step)
    with np.errstate(invalid="ignore", over="ignore"):
        right, left = (values[0] - cost) / (plus - theta), (cost - values[1]) / (theta - minus)
        jump, size = np.abs(right - left), np.maximum(np.abs(right), np.abs(left))
    low, high = np.zeros_like(theta), np.zeros_like(theta)
    crossed = 0
    plus, minus, width = plain_steps(theta, step, 1.0 / SMALLER_STEP)
    visible = KINK * size + KINK_ROUNDINGS * EPSILON * largest / width
    for k in np.flatnonzero(np.isfinite(jump) & (jump > visible)).tolist():
        up, down = costs.costs(theta, np.array([k, k]), np.array([plus[k], minus[k]]), 1)
        above, below = (up - cost) / (plus[k] - theta[k]), (cost - down) / (theta[k] - minus[k])
        if 0.5 * jump[k] < abs(above - below) < 2.0 * jump[k]:  # of a curve, less; of a step, more
            curvature = max(abs(above - right[k]), abs(below - left[k])) / (0.5 * SMALLER_STEP)
            low[k] = min(above, below) - curvature - gradient[k]
            high[k] = max(above, below) + curvature - gradient[k]
            crossed += 1
    _settle(costs, theta)
    return Kinks(crossed, low, high) if crossed else None
