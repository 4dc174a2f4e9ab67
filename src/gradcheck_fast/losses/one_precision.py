"""Functions that compute in one precision only, evaluated beside their arguments, at points that the precision holds.

Outputs are subtracted one by one before they are multiplied with a cotangent and added up, in float64: an output that
does not change adds nothing, not even rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.arrays import Precision, coarsest
from gradcheck_fast.inputs.trees import cast, parts
from gradcheck_fast.numerical.one_precision_fit import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.domain import Domain
    from gradcheck_fast.losses.tree_function import TreeFunction

#: The standard deviation of a rounding to the nearest, over the largest error that it makes.
UNIFORM = 3.0**-0.5
#: How far an entry is moved, in sizes of itself and of what is typical of its array, to see which outputs depend on it.
FAR = 64.0
#: Cotangents and tangents have two significant bits, so that every precision holds them, and parts of them.
TWO_BITS = Precision("two bits", 0.5, 2.0**-100, 2.0**-100)


class Beside:
    """A function of trees in its own precision, as differences of its outputs.

    Parameters
    ----------
    function : TreeFunction
    grids : mapping of str to Precision
        The precision of inputs, by their names, where arrays hold numbers of another dtype than what they stand for.
    computed_in : Precision
        The coarsest precision in which the function computes, as far as that is known otherwise.

    Attributes
    ----------
    theta : ndarray of float64, shape (size,)
        The parameters, rounded to numbers that the precision holds.
    precisions : list of Precision
        The precision of each array of inputs, in order.
    domain : Domain or None
        Where inputs may be moved; anywhere, if it is None.
    """

    def __init__(self, function: TreeFunction, grids: Mapping[str, Precision], computed_in: Precision) -> None:
        self._function = function
        at, own = function.at, function.own
        coarse_outputs = coarsest((computed_in, *own.precisions))
        self.precisions = [
            grids.get(name, precision if precision.is_coarse else coarse_outputs)
            for name, precision in zip(at.shapes, at.precisions, strict=True)
        ]
        self._grids = [(part, p) for (_, part, _), p in zip(parts(at.shapes), self.precisions, strict=True)]
        self._roundoff = np.empty(own.flat.size)
        self._least = np.empty(own.flat.size)
        for name, part, _ in parts(own.shapes):
            precision = coarsest((own.precision(name), computed_in))
            self._roundoff[part] = precision.unit_roundoff
            self._least[part] = precision.smallest_subnormal
        self.theta = self.rounded(at.flat)
        self.here = self.at(self.theta)
        self.domain: Domain | None = None
        self._seen: NDArray[np.intp] | None = None  # the outputs that the last cotangent sees
        self._reached: dict[int, NDArray[np.uint8]] = {}

    def rounding_of_product(self, v: NDArray[np.float64]) -> float:
        """Gives the standard deviation that rounding gives the product of a cotangent with all outputs."""
        seen = np.flatnonzero(v)  # others may be infinite
        size = np.maximum(self._roundoff * np.abs(self.here), 0.5 * self._least)[seen]
        return float(UNIFORM * np.linalg.norm(size * v[seen]))

    def rounded(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rounds parameters to numbers that their precisions hold."""
        found = np.empty(len(theta))
        for part, precision in self._grids:
            found[part] = precision.rounded(theta[part])
        return found

    def spacing(self) -> NDArray[np.float64]:
        """Gives the distance of each parameter to the next number of its precision; 0 for 0."""
        found = np.empty(len(self.theta))
        for part, precision in self._grids:
            found[part] = np.where(self.theta[part] == 0.0, 0.0, precision.spacing(self.theta[part]))
        return found

    def can_move(self, move: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tells which parameters may be moved so far to both sides."""
        if self.domain is None:
            return np.ones(len(move), np.bool_)
        low, high = self.domain.low, self.domain.high
        return np.asarray((self.theta - np.abs(move) >= low) & (self.theta + np.abs(move) <= high))

    def at(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gives all outputs at parameters that the precision holds; NaN if the function raises."""
        function = self._function
        try:
            with np.errstate(all="ignore"):
                return function.flat(cast(function.at.unpack(theta), function.params))
        except MemoryError:
            raise
        except Exception:
            return np.full(function.own.flat.size, np.nan)

    def of_product(
        self, v: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64], centre: NDArray[np.float64]
    ) -> Samples:
        """Differences the product of a cotangent with the outputs by some entries.

        Parameters
        ----------
        v : ndarray of float64, shape (outputs,)
            The cotangent.
        entries : ndarray of int, shape (entries,)
        h : ndarray of float64, shape (entries, steps)
            The steps that are wanted. They are rounded so that the precision holds the points.
        centre : ndarray of float64, shape (entries,)
            How far from the parameters the middle of the points is. The precision must hold it.
        """
        found = Samples(*np.full((len(Samples._fields), *h.shape), np.nan))
        seen = np.flatnonzero(v)
        if self._seen is None or not np.array_equal(self._seen, seen):
            self._seen, self._reached = seen, {}
        grid_of = np.concatenate([np.full(part.stop - part.start, k) for k, (part, _) in enumerate(self._grids)])
        for k, entry in enumerate(entries.tolist()):
            middle = float(self.theta[entry] + centre[k])
            points = _points(middle, h[k], self._grids[grid_of[entry]][1])
            if self.domain is not None:
                low, high = self.domain.low[entry], self.domain.high[entry]
                points[:, (points[0] > high) | (points[1] < low)] = np.nan
            here = self.here[seen]
            if centre[k] and np.isfinite(points).any():
                here = self._beside(entry, middle)[seen]
            values = np.full((2, h.shape[1], len(seen)), np.nan)
            for j, pair in enumerate(points.T.tolist()):
                for side, point in enumerate(pair):
                    if np.isfinite(point):
                        values[side, j] = self._beside(entry, point)[seen]
            self._fill(found, k, points, here, values, v[seen], entry)
        return found

    def _beside(self, entry: int, point: float) -> NDArray[np.float64]:
        """Gives all outputs with another number in place of one parameter."""
        moved = self.theta.copy()
        moved[entry] = point
        return self.at(moved)

    def _reach(self, entry: int) -> NDArray[np.bool_]:
        """Which of the outputs that are seen change if an entry is moved far.

        Those that do not change do not depend on it, or so little that it would never show. Others may depend on it and
        yet stay the same for small steps, as they are rounded.
        """
        assert self._seen is not None
        if entry not in self._reached:
            part, precision = next((part, grid) for part, grid in self._grids if part.start <= entry < part.stop)
            far = FAR * max(root_mean_square(self.theta[part]), abs(float(self.theta[entry]))) or FAR
            moves = np.zeros(len(self._seen), np.bool_)
            for sign in (1.0, -1.0):
                to = self.theta[entry] + sign * far
                if self.domain is not None:
                    to = np.clip(to, self.domain.low[entry], self.domain.high[entry])
                values = self._beside(entry, float(precision.rounded(np.array(to))))
                if not np.isnan(values).all():
                    moves |= values[self._seen] != self.here[self._seen]
            self._reached[entry] = np.packbits(moves)
        return np.unpackbits(self._reached[entry], count=len(self._seen)).view(np.bool_)

    def lines(
        self, derivative_at: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Callable[[NDArray[np.intp], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Makes what gives the derivatives by entries along lines that move these entries; see `Slopes`.

        `derivative_at` gives all derivatives at parameters that the precision holds. What lies outside the domain is
        NaN.
        """

        def slopes(
            entries: NDArray[np.intp], offsets: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            found, true = np.empty(offsets.shape), np.empty(offsets.shape)
            for k, entry in enumerate(entries.tolist()):
                for j, offset in enumerate(offsets[k].tolist()):
                    moved = self.theta.copy()
                    moved[entry] += offset
                    moved = self.rounded(moved)
                    inside = self.domain is None or self.domain.holds(moved)
                    true[k, j] = moved[entry] - self.theta[entry]
                    found[k, j] = derivative_at(moved)[entry] if inside else np.nan
            return true, found

        return slopes

    def _fill(
        self, found: Samples, k: int, points: NDArray[np.float64], here: NDArray[np.float64],
        values: NDArray[np.float64], v: NDArray[np.float64], entry: int,
    ) -> None:  # fmt: skip
        """Puts the differences of one entry into its row."""
        assert self._seen is not None
        seen = self._seen
        with np.errstate(invalid="ignore", over="ignore"):
            plus, minus = values
            found.h[k] = 0.5 * (points[0] - points[1])
            found.odd[k] = (plus - minus) @ v
            found.even[k] = ((plus - here) + (minus - here)) @ v
            changed = self._reach(entry) | ((plus != here) | (minus != here)).any(axis=0)
            size = np.maximum(self._roundoff[seen] * np.hypot(plus, minus) / np.sqrt(2.0), 0.5 * self._least[seen])
            squares = size * size * (changed * v * v)
            found.floor[k] = UNIFORM * np.sqrt(squares.sum(axis=1))
            whole = np.nan_to_num(squares, posinf=0.0).sum(axis=0)
            found.independent[k] = whole.sum() / (whole @ _shares(plus, minus)) if whole.any() else len(plus)
            lost = ~(np.isfinite(found.odd[k]) & np.isfinite(found.even[k]))
        for array in found:
            array[k, lost] = np.nan

    def along(self, direction: NDArray[np.float64], h: NDArray[np.float64], centre: float) -> Samples:
        """Differences all outputs along a direction of the parameters, with some steps.

        The points are rounded to what the precisions hold. That is noise, too, which shows in the differences.

        Parameters
        ----------
        direction : ndarray of float64, shape (size,)
        h : ndarray of float64, shape (steps,)
        centre : float
            Where on the line the middle of the points is.

        Returns
        -------
        Samples
            The entries are the outputs.
        """

        def at(place: float) -> NDArray[np.float64]:
            return self.at(self.rounded(self.theta + place * direction))

        plus, minus = (np.stack([at(centre + sign * step) for step in h.tolist()]) for sign in (1.0, -1.0))
        here = at(centre) if centre else self.here
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.maximum(self._roundoff * np.hypot(plus, minus) / np.sqrt(2.0), 0.5 * self._least)
            odd, even = plus - minus, (plus - here) + (minus - here)
        arrays = odd, even, UNIFORM * size, np.broadcast_to(1.0 / _shares(plus, minus), odd.shape)
        known = np.isfinite(odd) & np.isfinite(even)
        steps = np.broadcast_to(h[:, None], known.shape)
        return Samples(*(np.where(known, array, np.nan).T for array in (steps, *arrays)))


def _shares(plus: NDArray[np.float64], minus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives the part of the variance of one rounding that is left in the mean over all steps, for each output.

    Over whole stairs roundings cancel. So over S of them, the last of which may not be whole, the S-th part of one
    rounding is left; or, if that is more, what is left of as many independent ones as there are steps.

    Parameters
    ----------
    plus, minus : ndarray of float64, shape (steps, outputs)
        The outputs at the points to each side, in order; NaN where they are not known.

    Returns
    -------
    ndarray of float64, shape (outputs,)
    """
    with np.errstate(invalid="ignore"):
        steps = np.maximum(np.isfinite(plus + minus).sum(axis=0), 1)
        stairs = [1.0 + np.count_nonzero(np.nan_to_num(np.diff(side, axis=0)), axis=0) for side in (plus, minus)]
    return np.asarray(0.5 * sum(np.maximum(count**-2.0, 1.0 / steps) for count in stairs))


def _points(theta: float, h: NDArray[np.float64], precision: Precision) -> NDArray[np.float64]:
    """Gives points of a precision at about theta + h and theta - h, as two rows; NaN for a step that is lost.

    The point that is farther from 0 is rounded first. The other one is then just as far from theta, unless theta is
    much smaller than h.
    """
    sign = -1.0 if theta < 0.0 else 1.0
    far = precision.rounded(theta + sign * h)
    near = precision.rounded(2.0 * theta - far)
    points = np.stack([far, near] if sign > 0.0 else [near, far])
    points[:, ~((points[0] > theta) & (theta > points[1]))] = np.nan
    return points
