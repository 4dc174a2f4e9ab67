"""Checks of derivatives of functions that compute in one precision only, or that have a reference in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.beside_value import packer
from gradcheck_fast.comparison.one_precision import SEEN_IN, compare_in_one_precision, wide
from gradcheck_fast.comparison.sampling import chosen as those
from gradcheck_fast.comparison.sampling import coverage, draw, whole
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.trees import cast, pack_as, parts
from gradcheck_fast.losses.one_precision import TWO_BITS, Beside
from gradcheck_fast.numerical.gradient import Numerical
from gradcheck_fast.numerical.one_precision import LARGEST, Given, OnePrecision, differentiate, first_steps
from gradcheck_fast.numerical.one_precision_fit import Samples
from gradcheck_fast.report.report import Report, make_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.comparison.aspects import Aspect
    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.tree_function import TreeFunction, Trees
    from gradcheck_fast.numerical.one_precision_line import Sample, Slopes

    #: ``derivative(first, params)`` is the user's: of a cotangent or tangent, at parameters. Both are trees by name.
    Derivative = Callable[[Trees, Trees], Trees]

#: How often a derivative is found once more to measure its rounding: with its cotangent in two parts, and with its
#: arguments moved by one rounding.
PARTS, MOVES = 24, 24
#: What arguments that are rounded to the nearest do to a derivative, over what it changes by if each of them is moved,
#: by the distance to the next number, up, down or not at all, and then back to the other side: √(1/12) / √(8/3).
PER_MOVE = 0.18
#: How many standard deviations of rounding are allowed.
DEVIATIONS = 5.0
#: A standard deviation from so few is not less than this part of what is typical of the array.
POOLED = 0.5
#: How many roundings of the entry itself are allowed beside: they may be the same wherever they are measured.
OWN = 2.0
#: How many roundings of an entry, or of what is typical of its array, are taken for one standard deviation, at most.
MOST_ROUNDINGS = 64.0
#: A slope of as many roundings of the largest of its array may be lost in roundings on the way.
LOST = 8.0
#: How many roundings an entry may have that cannot be found once more.
ROUNDINGS = 12.0
#: The number of steps along a tangent, and how much smaller than a parameter's array a parameter may be to be moved in
#: proportion to itself.
STEPS_ALONG, LEAST = 16, 1e-3
#: The methods that a function of one precision can be differenced by.
METHODS = ("auto", "direct")


class InOnePrecision:
    """A function that computes in one precision only, whose derivatives are checked.

    Parameters
    ----------
    function : TreeFunction
    options : Options
    called : str
        What the report calls the function.
    grids : mapping of str to Precision
        The precision of inputs, by name, where that is not told by the dtypes of their arrays.
    computed_in : Precision
        The coarsest precision in which the function computes, as far as that is known otherwise.

    Raises
    ------
    ValueError
        If the options ask for a method that needs float64, or for an executor.
    """

    def __init__(
        self, function: TreeFunction, options: Options, called: str, grids: Mapping[str, Precision],
        computed_in: Precision,
    ) -> None:  # fmt: skip
        self._require_method(function, options, called)
        self._function, self._options, self._called = function, options, called
        self._beside = Beside(function, grids, computed_in)
        self._precision = max(
            (function.computes_in, computed_in, *self._beside.precisions), key=lambda precision: precision.eps
        )

    @staticmethod
    def _require_method(function: TreeFunction, options: Options, called: str) -> None:
        if options.constraints is not None or isinstance(options.step, Mapping):
            what = "step" if options.constraints is None else "constraints"
            raise ValueError(f"{what}: {called} computes in one precision only, where that cannot be given by names")
        if options.executor is not None:
            raise ValueError(
                f"executor: {called} computes in {function.computes_in.name} only ({function.refusal}); that is "
                "checked in this process alone, so leave the executor out"
            )
        if options.method not in METHODS:
            raise ValueError(
                f"method: {called} computes in {function.computes_in.name} only ({function.refusal}), so it is "
                f"differenced as it is, by 'direct'; got {options.method!r}"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the function beside the notes of reports."""
        return ()

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """What has been looked at beside the derivatives."""
        return ()

    def product_report(self, gradient: Derivative, cotangent: NDArray[np.float64]) -> Report:
        """Checks the gradient of a product with a cotangent, of two significant bits, by every entry of the inputs."""
        function, beside, at = self._function, self._beside, self._function.at
        here = self._options.selected(at).params
        beside.domain, packed = here.domain, packer(None, here, finite=False)

        def gradient_at(v: NDArray[np.float64], theta: NDArray[np.float64]) -> Packed:
            first = cast(function.own.unpack(v), function.own_outputs)
            found = gradient(first, cast(at.unpack(theta), function.params))
            return packed(found)

        own = replace(gradient_at(cotangent, beside.theta), computed_in=self._precision)
        rounding = self._rounding(gradient_at, own, cotangent)

        sample = partial(beside.of_product, cotangent)
        lines, hidden = beside.lines(_quietly(gradient_at, cotangent, own)), beside.rounding_of_product(cotangent)
        return self._of_entries(own, rounding, sample, at, lines=lines, hidden=DEVIATIONS * hidden)

    def gradient_report(self, own: Packed, gradient_at: Callable[[NDArray[np.float64]], Packed] | None) -> Report:
        """Checks the gradient of a function of one number.

        Parameters
        ----------
        own : Packed
            The gradient that is checked.
        gradient_at : callable, optional
            Finds it at other parameters, which the precision holds.
        """
        beside, one, lines = self._beside, np.ones(1), None
        beside.domain = self._options.selected(self._function.at).params.domain
        if gradient_at is None:
            own = replace(own, computed_in=self._precision)
            rounding = ROUNDINGS * eps_of(own) * np.maximum(np.abs(own.flat), _typical(own))
        else:
            find = gradient_at
            found_at = lambda _, theta: find(theta)
            own = replace(find(beside.theta), computed_in=self._precision)
            rounding = self._rounding(found_at, own, np.empty(0))
            lines = beside.lines(_quietly(found_at, one, own))
        sample = partial(beside.of_product, one)
        hidden = DEVIATIONS * beside.rounding_of_product(one)
        return self._of_entries(own, rounding, sample, self._function.at, lines=lines, hidden=hidden)

    def tangent_report(self, product: Derivative, tangent: NDArray[np.float64]) -> Report:
        """Checks the product of a Jacobian with a tangent, of two significant bits, for every entry of the outputs."""
        function, beside = self._function, self._beside
        outputs = function.own

        def product_at(t: NDArray[np.float64], theta: NDArray[np.float64]) -> Packed:
            first = cast(function.at.unpack(t), function.params)
            found = product(first, cast(function.at.unpack(theta), function.params))
            return pack_as(found, outputs.shapes, "jvp", finite=False)

        own = replace(product_at(tangent, beside.theta), computed_in=self._precision)
        rounding = self._rounding(product_at, own, tangent)
        known: dict[tuple[bytes, float], Samples] = {}

        def sample(entries: NDArray[np.intp], h: NDArray[np.float64], centre: NDArray[np.float64]) -> Samples:
            # a call gives all outputs, so all have the same steps
            steps, place = np.sort(np.median(h, axis=0)), float(np.median(centre))
            key = steps.tobytes(), place
            if key not in known:
                known[key] = beside.along(tangent, steps, place)
            return known[key].some(entries)

        derivative_at = _quietly(product_at, tangent, own)

        def slopes(
            entries: NDArray[np.intp], offsets: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            places = np.median(offsets, axis=0)
            found = [derivative_at(beside.rounded(beside.theta + place * tangent))[entries] for place in places]
            return np.tile(places, (len(entries), 1)), np.stack(found, axis=1)

        return self._of_entries(own, rounding, sample, outputs, lines=slopes, along=True)

    def cotangent(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draws a cotangent that every precision holds."""
        return TWO_BITS.rounded(rng.standard_normal(self._function.own.flat.size))

    def tangent(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draws a tangent that every precision holds, in proportion to the parameters."""
        theta, size = self._beside.theta, np.empty(len(self._beside.theta))
        for _, part, _ in parts(self._function.at.shapes):
            typical, own = root_mean_square(theta[part]) or 1.0, np.abs(theta[part])
            size[part] = np.where(own > LEAST * typical, own, typical)
        return TWO_BITS.rounded(size * rng.standard_normal(len(theta)))

    def _of_entries(
        self, own: Packed, rounding: NDArray[np.float64],
        sample: Sample, at: Packed, *, lines: Slopes | None, along: bool = False, hidden: float = 0.0,
    ) -> Report:  # fmt: skip
        """Makes the report of the entries of `own`, which `sample` differences."""

        def derivatives(chosen: NDArray[np.intp]) -> tuple[OnePrecision, Numerical | None]:
            size = own.flat.size
            found = OnePrecision(*(np.full(size, fill) for fill in (np.nan, inf, 0.0, 0.0, 0.0, 0.0)))
            for name, part, _ in parts(at.shapes):
                some = chosen[(part.start <= chosen) & (chosen < part.stop)]
                if not len(some):
                    continue
                finite = own.flat[part][np.isfinite(own.flat[part])]
                lost = LOST * self._precision.eps * float(np.abs(finite).max(initial=0.0))
                steady = np.minimum(_same_everywhere(own)[some], rounding[some])
                given = Given(own.flat[some], rounding[some], steady, wide(own.precision(name)), lost, hidden)
                steps = self._steps(some, part, along=along)
                own_sample = partial(_of_some, sample, some)
                slopes = None if lines is None else partial(_of_some, lines, some)
                for array, new in zip(found, differentiate(own_sample, steps, given, slopes), strict=True):
                    array[some] = new
            return found, None

        return self._compared(own, derivatives, at)

    def _compared(
        self, own: Packed, derivatives: Callable[[NDArray[np.intp]], tuple[OnePrecision, Numerical | None]], at: Packed,
    ) -> Report:  # fmt: skip
        """Compares a derivative of the user's with others, which `derivatives` finds for some entries."""
        started, options, size = perf_counter(), self._options, own.flat.size
        selection = options.selected(at)
        picked = None if selection.entries is None else those(at.shapes, selection.entries)
        if options.sample is not None:
            picked = draw(at.shapes, options.sample, options.seed, selection.entries)
        chosen = np.arange(size) if picked is None else picked.entries
        found, numerical = derivatives(chosen)
        if picked is None:
            comparison = compare_in_one_precision(own, found, options.tolerances, self._precision)
            more: dict[str, Any] = {}
        else:
            given_part = replace(picked.of(own), computed_in=self._precision)
            of_part = OnePrecision(*(array[chosen] for array in found))
            compared = compare_in_one_precision(given_part, of_part, options.tolerances, self._precision)
            free = None
            if selection.entries is not None:
                free = np.zeros(size, np.bool_)
                free[selection.entries] = True
            comparison, more = whole(compared, own, picked, free), {"coverage": coverage(at.shapes, picked)}
        notes: tuple[str, ...] = ()
        if numerical is None:
            numerical = Numerical(found.derivatives, "direct", False, options.one_step)
        else:
            notes = numerical.finish()
        report = make_report(comparison, own, numerical, at, **more)
        notes = (*self._seen(report), *selection.notes, *own.notes, *notes)
        return report.replaced(notes=notes, seconds=perf_counter() - started)

    def _steps(self, some: NDArray[np.intp], part: slice, *, along: bool) -> NDArray[np.float64]:
        step, roundoff = self._options.one_step, self._precision.unit_roundoff
        if along:
            most = LARGEST if step is None else step
            least = 0.5 * np.cbrt(roundoff) if step is None else step / 16.0
            return np.tile(np.geomspace(least, most, STEPS_ALONG), (len(some), 1))
        theta = self._beside.theta
        if step is not None:
            return np.tile(np.geomspace(step / 16.0, step, 8), (len(some), 1))
        return first_steps(theta[some], root_mean_square(theta[part]), roundoff)

    def _rounding(
        self, derivative_at: Callable[[NDArray[np.float64], NDArray[np.float64]], Packed], own: Packed,
        first: NDArray[np.float64],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Measures how far rounding moves a derivative that the user's code has found.

        It is linear in the cotangent (or tangent): if that is divided in two, the two results add up to the whole but
        for rounding. And it is found at arguments beside, each of which is moved by no more than the distance to the
        next number, to both sides: what is left of the second difference is rounding, and the first difference shows
        what a rounding of that size does.
        """
        rng, theta, spacing = np.random.default_rng(0), self._beside.theta, self._beside.spacing()
        squares, moved, count = np.zeros(own.flat.size), np.zeros(own.flat.size), 0
        with np.errstate(invalid="ignore", over="ignore"):
            for _ in range(PARTS if len(first) > 1 else 0):
                where = rng.random(len(first)) < 0.5
                one = derivative_at(np.where(where, first, 0.0), theta).flat
                other = derivative_at(np.where(where, 0.0, first), theta).flat
                squares, count = squares + (one + other - own.flat) ** 2 / 3.0, count + 1
            for _ in range(MOVES):
                move = rng.integers(-1, 2, len(theta)) * spacing
                move[~self._beside.can_move(move)] = 0.0
                above, below = (derivative_at(first, theta + sign * move).flat for sign in (1.0, -1.0))
                squares, count = squares + (above + below - 2.0 * own.flat) ** 2 / 6.0, count + 1
                moved += (PER_MOVE * (above - below)) ** 2 / MOVES
            deviation, eps = np.sqrt(squares / count + moved), eps_of(own)
            size = np.maximum(np.abs(own.flat), _typical(own))
            for _, part, _ in parts(own.shapes):
                measured = deviation[part]
                typical = root_mean_square(measured[np.isfinite(measured)])
                deviation[part] = np.where(np.isfinite(measured), np.maximum(measured, POOLED * typical), inf)
            return np.asarray(DEVIATIONS * np.minimum(deviation, MOST_ROUNDINGS * eps * size) + _same_everywhere(own))

    def _seen(self, report: Report) -> tuple[str, ...]:
        """Says in which precision the function computes, and what could be seen."""
        said = self._said()
        sizes = {a.name: a.power for a in report.arrays if a.status != "nothing to check" and a.power is not None}
        known = {name: size for name, size in sizes.items() if np.isfinite(size)}
        if not known:
            return (said,)
        of_each = ", ".join(
            f"{100.0 * size:.2g} %" + (f" in {name}" if len(known) > 1 else "") for name, size in known.items()
        )
        return (
            f"{said}: errors above {of_each} of an entry's scale (its size, or the root mean square of its array if "
            f"that is larger) would have been seen in {100.0 * SEEN_IN:.0f} % of the entries",
        )

    def _said(self) -> str:
        return f"{self._called} computes in {self._precision.name} only ({self._function.refusal})"


def _same_everywhere(own: Packed) -> NDArray[np.float64]:
    """Gives the part of the rounding of each entry that may be the same wherever it is found."""
    least = np.zeros(own.flat.size)
    for name, part, _ in parts(own.shapes):
        least[part] = own.precision(name).smallest_subnormal
    return np.asarray(OWN * eps_of(own) * np.abs(own.flat) + least)


def _of_some(function: Callable[..., Any], some: NDArray[np.intp], which: NDArray[np.intp], *more: Any) -> Any:
    """Calls a function of entries with some of them, which are numbered among themselves."""
    return function(some[which], *more)


def _quietly(
    derivative_at: Callable[[NDArray[np.float64], NDArray[np.float64]], Packed], first: NDArray[np.float64], own: Packed
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Gives the derivative at other parameters as a vector; NaN where it raises."""

    def found(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        try:
            with np.errstate(all="ignore"):
                return derivative_at(first, theta).flat
        except MemoryError:
            raise
        except Exception:
            return np.full(own.flat.size, np.nan)

    return found


def eps_of(packed: Packed) -> NDArray[np.float64]:
    """The eps of the precision of each entry."""
    found = np.empty(packed.flat.size)
    for name, part, _ in parts(packed.shapes):
        found[part] = packed.precision(name).eps
    return found


def _typical(packed: Packed) -> NDArray[np.float64]:
    """The root mean square of the finite entries of each entry's array."""
    found = np.empty(packed.flat.size)
    for _, part, _ in parts(packed.shapes):
        own = packed.flat[part]
        found[part] = root_mean_square(own[np.isfinite(own)])
    return found
