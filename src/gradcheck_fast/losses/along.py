"""The outputs of a function, differenced along one direction of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.inputs.trees import Packed, Tree, pack, parts
from gradcheck_fast.losses.function_loss import require_one_of
from gradcheck_fast.numerical.evaluate import OwnCost
from gradcheck_fast.numerical.gradient import (
    JITTER,
    PLAIN_STEP,
    SMALLER_STEP,
    Kinks,
    Numerical,
    Refined,
    find_kinks,
    jitter,
    may_be_kinks,
    where_it_exists,
)
from gradcheck_fast.numerical.noise import noise_around
from gradcheck_fast.numerical.step_ladder import THOROUGH, Level, Start, refine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.losses.tree_function import TreeFunction


#: The step of exact differences: they lose nothing however small it is, and parameters may be small, too.
EXACT_STEP = 2.0**-130
#: The slopes to both sides of an output are two if they differ by more than this part of them: curvature makes less.
OTHER_SLOPE = 1e-9


class ExactChanges(Protocol):
    """What knows how the outputs of a function change."""

    def changes(self, theta: NDArray[np.float64], direction: NDArray[np.float64], h: float) -> NDArray[np.float64]:
        """Gives by how much all outputs change, in one vector, when the parameters move by h times a direction."""


class Along:
    """A function of trees as a problem whose "gradient" is the derivative of each output along one direction.

    `check_jvp` gives it to `gradcheck`. The "parameters" are then the outputs: they have the form of that derivative.

    Parameters
    ----------
    function : TreeFunction
    direction : ndarray, shape (size,)
        How far each of the function's parameters is moved for a step of 1.
    exact : ExactChanges, optional
        What knows the exact changes of all outputs, as a trace of the function does.
    """

    methods = ("direct",)

    def __init__(
        self, function: TreeFunction, direction: NDArray[np.float64], exact: ExactChanges | None = None
    ) -> None:
        self._function, self._direction, self._exact = function, direction, exact

    def pack(self, params: Tree) -> Packed:
        return pack(params)

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        raise ValueError("f: it is checked along one direction as it is; there is no cost of which to take others")

    def costs_at(self, params: Packed, n_threads: int) -> OwnCost:
        return OwnCost(partial(self.cost, params))

    def fingerprint(self, params: Packed) -> str:
        return digest(self._function.at.flat, params.flat, self._direction)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        return "it takes a few calls of f, however many inputs there are"

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, kinks: bool = False,
        entries: NDArray[np.intp] | None = None, **_: Any,
    ) -> Numerical:  # fmt: skip
        require_one_of(self.methods, method)
        if method == "auto" and step is None and self._exact is not None:
            found = self._exactly(self._exact, params, kinks)
            return found if entries is None else found.of(entries)
        h, here, theta = PLAIN_STEP if step is None else step, params.flat, self._function.at.flat
        with np.errstate(invalid="ignore", over="ignore"):
            plus, minus = self._values(theta, h)
            first, second, width = self._pairs(np.stack([plus, minus]), np.full(len(here), h))
            gradient = (first - second) / width
            largest = np.fmax(np.fmax(np.abs(plus), np.abs(minus)), np.abs(here))
            met = None
            if kinks:
                slopes = (plus - here) / h, (here - minus) / h
                near = h / SMALLER_STEP
                plus, minus = self._values(theta, near)
                looked = np.where(may_be_kinks(*slopes, largest / (2.0 * near)), 1.0, np.nan)
                met = find_kinks(gradient, slopes, (looked * (plus - here) / near, looked * (here - minus) / near))

        def again(times: float) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore", over="ignore"):
                plus, minus = self._values(jitter(theta), times * h)
                found: NDArray[np.float64] = (plus - minus) / (2.0 * times * h)
            return found

        found = Numerical(
            gradient, "direct", False, step, again, lambda: largest / (2.0 * h), kinks=met,
            refine=None if step is not None else self._refined,
        )  # fmt: skip
        if entries is None:
            return found
        refine = None if step is not None else lambda some, enough: self._refined(entries[some], enough)
        return found.of(entries)._replace(refine=refine)

    def _exactly(self, exact: ExactChanges, params: Packed, kinks: bool) -> Numerical:
        """Finds derivatives by exact differences, to both sides; before any is called wrong, plain ones are asked."""
        theta = self._function.at.flat

        def slopes(at: NDArray[np.float64], h: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return exact.changes(at, self._direction, h) / h, exact.changes(at, self._direction, -h) / -h

        right, left = slopes(theta, EXACT_STEP)
        gradient, met = 0.5 * (right + left), None
        is_kink = np.abs(right - left) > OTHER_SLOPE * np.maximum(np.abs(right), np.abs(left))
        if kinks and is_kink.any():
            half = np.where(is_kink, 0.5 * np.abs(right - left), 0.0)
            met = Kinks(int(is_kink.sum()), -half, half)

        def again(times: float) -> NDArray[np.float64]:
            above, below = slopes(jitter(theta), times * EXACT_STEP)
            return 0.5 * (above + below)

        def roundings() -> NDArray[np.float64]:
            size = np.abs(gradient)
            for _, part, _ in parts(self._function.outputs.shapes):
                size[part] = np.maximum(size[part], root_mean_square(size[part]))
            return np.asarray(size + np.abs(again(1.0) - gradient) / JITTER)

        def doubted(errors: NDArray[np.float64]) -> Numerical | None:
            plain = self.central_differences(params, method="direct", step=None, kinks=kinks)
            apart, seen = np.abs(plain.gradient - gradient), errors != 0.0
            return None if (apart[seen] <= 0.5 * np.abs(errors[seen])).all() else plain

        return Numerical(
            gradient, "direct", True, EXACT_STEP, again, roundings=roundings, kinks=met, doubted=doubted
        )  # fmt: skip

    def _refined(self, some: NDArray[np.intp], enough: NDArray[np.float64]) -> Refined:
        """Finds the derivatives of some outputs, each with the step that suits it.

        The function is seen as one of a single parameter, the way along the direction, which is 0.
        """
        theta, here = self._function.at.flat, self._function.outputs.flat

        def pairs(outputs: NDArray[np.intp], h: NDArray[np.float64]) -> NDArray[np.float64]:
            found = np.empty((2, len(outputs)))
            for step in np.unique(h):
                own = h == step
                for row, values in zip(found, self._values(theta, step), strict=True):
                    row[own] = values[some[outputs[own]]]
            return self._pairs(found, h, here[some[outputs]])

        noise = self._noise()[some] if len(some) else np.empty(0)
        entries, zeros, h = np.arange(len(some)), np.zeros(len(some)), np.full(len(some), PLAIN_STEP)
        with np.errstate(invalid="ignore", over="ignore"):
            first = Level.of(pairs(entries, h), zeros, noise)
            start = Start(zeros, h, first, self._scale(first.differences, some), noise)
            return refine(pairs, entries, start, THOROUGH, enough)

    def _scale(self, differences: NDArray[np.float64], some: NDArray[np.intp]) -> NDArray[np.float64]:
        """Estimates for each of some outputs the size of the array that it is in, from those of its entries given."""
        scale = np.empty(len(some))
        for _, part, _ in parts(self._function.outputs.shapes):
            own = (part.start <= some) & (some < part.stop)
            scale[own] = root_mean_square(differences[own])
        return scale

    def _noise(self) -> NDArray[np.float64]:
        """Measures the noise of each array of outputs, and gives each output that of its array."""
        sizes = [part.stop - part.start for _, part, _ in parts(self._function.outputs.shapes)]
        return self.noise_of(np.repeat(np.arange(len(sizes)), sizes))

    def noise_of(self, groups: NDArray[np.intp]) -> NDArray[np.float64]:
        """Measures the noise of groups of outputs, and gives each output that of its group.

        Parameters
        ----------
        groups : ndarray of int, shape (outputs,)
            The number of the group that each output is in.
        """
        function, signs = self._function, np.random.default_rng(0).choice((-1.0, 1.0), self._function.outputs.flat.size)

        @cache
        def values(t: float) -> NDArray[np.float64]:
            return signs * self._at(function.at.flat + t * self._direction)

        noise = np.empty(len(signs))
        for group in np.unique(groups):
            part = np.flatnonzero(groups == group)
            # the noise of the sum is not divided among its terms: if they are rounded to multiples of a number, the
            # sum has no more noise than each of them
            noise[part] = noise_around(np.zeros(1), partial(_sum_of, values, part)).level
        return noise

    def _pairs(
        self, values: NDArray[np.float64], h: NDArray[np.float64], here: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Gives `values` at +h and at -h, and the distance, for outputs that are `here` at 0; see `where_it_exists`."""
        here = self._function.outputs.flat if here is None else here
        return where_it_exists(values, np.stack([h, -h]), 2.0 * h, np.zeros(len(h)), here)

    def _values(self, theta: NDArray[np.float64], h: float) -> Iterator[NDArray[np.float64]]:
        """Gives the outputs at +h, and then those at -h."""
        for point in (theta + h * self._direction, theta - h * self._direction):
            yield self._at(point)

    def _at(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gives the outputs; NaN if the function raises, which is taken to mean that it is not defined there."""
        try:
            return self._function.flat(self._function.at.unpack(theta.copy()))
        except Exception:
            return np.full(self._function.outputs.flat.size, np.nan)


def _sum_of(values: Callable[[float], NDArray[np.float64]], part: NDArray[np.intp], t: NDArray[np.float64]) -> float:
    """Adds up a part of the values at t, a vector of one number."""
    return float(values(float(t[0]))[part].sum())
