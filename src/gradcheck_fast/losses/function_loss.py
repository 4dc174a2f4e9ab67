"""Losses of which only values are known; they are differenced in plain arithmetic or by complex steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isclose
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arguments import choose
from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.losses.problem import OF_PROGRAMS
from gradcheck_fast.numerical.central import EXTRAPOLATED, Central
from gradcheck_fast.numerical.complex_steps import by_complex_steps, confirmed_steps, within_bars
from gradcheck_fast.numerical.evaluate import BatchCosts, PythonCosts, cost_beside
from gradcheck_fast.numerical.gradient import (
    COARSE_JITTER,
    PLAIN_STEP,
    SMALLER_STEP,
    Kinks,
    Numerical,
    find_kinks,
    jitter,
    may_be_kinks,
    plain_steps,
)
from gradcheck_fast.numerical.in_domain import InDomain, inside
from gradcheck_fast.numerical.point import Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.numerical.evaluate import Costs, Evaluation
    from gradcheck_fast.running.runner import Runner


#: If two values at the same parameters differ by less than this part of them, only their last bits differ.
LAST_BITS = 1e-12
#: The part of their size by which parameters are moved, to see whether a function depends on them at all.
MOVED = 0.3


class FunctionLoss:
    """A function of a tree of parameters, of which only values are known.

    Parameters
    ----------
    costs_of : callable
        ``costs_of(params)`` gives the `Costs` of the function: how it is evaluated at flat vectors like that of
        `params`.
    function : callable, optional
        The function itself, of one tree, if it is a Python function.
    """

    methods: tuple[str, ...] = ("direct", "complex")
    #: What the report says about the function, besides what is noticed in its calls.
    notes: tuple[str, ...] = ()

    def __init__(self, costs_of: Callable[[Packed], Costs], function: Callable[[Any], Any] | None = None) -> None:
        self._users_costs_of = costs_of
        self.function = function

    def _costs_of(self, params: Packed) -> Costs:
        """Gives what evaluates the function where the parameters may be moved."""
        costs = self._users_costs_of(params)
        return costs if params.domain is None else InDomain(costs, params.domain)

    def costs_at(self, params: Packed, n_threads: int) -> Costs:
        """Gives what evaluates the function at flat vectors like that of `params`."""
        return self._costs_of(params)

    def pack(self, params: Tree) -> Packed:
        return pack(params)

    def line_finder(self, params: Packed) -> Callable[[Any], tuple[Any, ...]] | None:
        """Returns a function that finds the lines of the loss, for `Report.lines`; None: they are not known.

        It is given a function of the program, which says what is known of the sensitivities of its steps.
        """
        return None

    def call(self, params: Packed, tree: Tree) -> None:
        """Calls the function at `tree`, which `params` was made of: its gradient may use what the call has left."""
        if self.function is None:
            self.cost(params, params.flat)
        else:
            self.function(tree)

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        """Gives the cost at a flat vector."""
        return self._costs_of(params).cost(theta)

    def fingerprint(self, params: Packed) -> str:
        """Gives a text of the values at `params` and close by, to the last bit.

        The value at `params` alone would not do: where all parameters are zero, many losses have the same value.
        """
        theta = params.flat
        signs = np.random.default_rng(0).choice([-1.0, 1.0], theta.size)
        near = inside(params.domain, theta + signs * PLAIN_STEP * np.maximum(1.0, np.abs(theta)), theta)
        return " ".join(cost_beside(partial(self.cost, params), at).hex() for at in (near, theta))

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """Says what would take less than these seconds."""
        return (
            "gf.gradcheck(..., method='directional') takes far less, and so does a gf.Network that computes the same; "
            "executor= spreads it over more processes"
        )

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        require_one_of(self.methods, method)
        point = Point.at(self._costs_of(params), params.flat, runner, params.domain)
        require_finite(point.value)
        if entries is not None:
            point = point.of(entries)
        if method == "complex":
            found = by_complex_steps(point, step)._replace(finish=partial(_finish, point))
        elif step is None and not kinks and (point.domain is None or point.domain.steps is None):
            found = _as_well_as_can_be(point, method)
        else:
            found = _with_what_bars_need(point, step, kinks)
        notes, finish_point = self.notes, found.finish
        return found._replace(finish=lambda: (*finish_point(), *notes)) if notes else found


def python_loss(function: Callable[[Any], Any], vectorized: bool = False) -> FunctionLoss:
    """Makes a loss of a Python function of a tree of arrays, or of many such trees at once; see `evaluate`."""
    if vectorized:
        return FunctionLoss(partial(BatchCosts, function))
    return FunctionLoss(partial(PythonCosts, function), function)


def require_finite(value: float) -> None:
    """Raises a ValueError if a loss is not finite at the parameters."""
    if not np.isfinite(value):
        raise ValueError(f"loss: it is {value} at these parameters; where it is not finite it has no gradient")


def require_one_of(methods: tuple[str, ...], method: str) -> None:
    """Raises an error unless `method` is ``auto`` or one of `methods`, those of a function."""
    known = dict.fromkeys(("auto", *OF_PROGRAMS, *methods))
    if choose("method", method, tuple(known)) in set(OF_PROGRAMS) - set(methods):
        raise ValueError(f"method: {method!r} needs the loss of a gf.Network; for another function use 'direct'")


def _as_well_as_can_be(point: Point, method: str) -> Numerical:
    """Finds the gradient without error bars: by complex steps where they can be trusted, else by differences.

    Where the user asks for ``direct``, no complex steps are taken.
    """
    gradient = np.full(len(point.theta), np.nan) if method == "direct" else confirmed_steps(point)
    if not gradient.any() and not _is_constant(point):  # values that are rounded do not move, real or complex
        gradient[:] = np.nan
    rest, central = np.flatnonzero(np.isnan(gradient)), None
    if len(rest):
        central = Central(point if len(rest) == len(gradient) else point.quietly(), rest, None)
        gradient[rest] = central.gradient if method == "direct" else central.repaired()
        if central.has_noise(gradient):
            gradient[rest] = central.refined(np.arange(len(rest))).derivatives
    return Numerical(gradient, "direct", False, None, finish=partial(_finish, point, central))


def _is_constant(point: Point) -> bool:
    """Tells whether the function keeps its value when all parameters are moved by a good part of their size."""
    theta = point.theta
    moved = theta + MOVED * np.random.default_rng(0).standard_normal(len(theta)) * np.maximum(1.0, np.abs(theta))
    return point.cost_beside(point.inside(moved)) == point.value


def _with_what_bars_need(point: Point, step: float | None, kinks: bool) -> Numerical:
    """Finds the gradient by central differences, and brings along the functions that find error bars."""
    central = Central(point, point.entries, step)
    largest = np.fmax(np.fmax(*np.abs(central.values)), abs(point.value))
    largest = np.where(point.extrapolates(point.entries, 0.5 * central.width), EXTRAPOLATED * largest, largest)
    chosen = step is None and (point.domain is None or point.domain.steps is None)

    def again(times: float) -> NDArray[np.float64]:
        return Central(point.quietly().moved_to(jitter(point.theta)), point.entries, step, times).gradient

    def coarse_roundings() -> NDArray[np.float64]:
        moved = Central(point.quietly().moved_to(jitter(point.theta, COARSE_JITTER)), point.entries, step)
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.abs(moved.gradient - central.gradient) / COARSE_JITTER
        return np.where(np.isfinite(change), change, 0.0)

    return Numerical(
        central.gradient,
        "direct",
        False,
        step,
        again,
        lambda: largest / central.width,
        coarse_roundings=coarse_roundings,
        kinks=_kinks(point, step, central, largest) if kinks else None,
        refine=central.refined if chosen else None,
        flat=central.flat,
        closer=central.closer,
        polish=partial(within_bars, point.quietly()) if chosen and point.costs.takes_complex else None,
        finish=partial(_finish, point, central),
    )


def _finish(point: Point, central: Central | None = None) -> tuple[str, ...]:
    """Does what `finish` does for the function of a point, and adds the notes on its differences."""
    noticed = central.notes() if central else ()
    return (*(finish(point.costs, point.theta, point.value) if len(point.theta) else point.costs.notes), *noticed)


def finish(costs: Evaluation, theta: NDArray[np.float64], base: float) -> tuple[str, ...]:
    """Calls the function once more at the unchanged parameters, and gives the notes on it.

    It is left there for those that remember the last call. If the value is not `base`, that of before, a note says so.
    """
    again = costs.cost(theta)
    if again == base or (np.isnan(again) and np.isnan(base)):
        return costs.notes
    if isclose(again, base, rel_tol=LAST_BITS):
        said = f"two calls of the loss at the same parameters gave {base!r} and {again!r}"
        return (*costs.notes, f"{said}: its last bits are not deterministic, which is taken for noise")
    return (
        *costs.notes,
        f"the loss is not deterministic: two calls at the same parameters gave {base!r} and {again!r}. "
        "Fix its seed, and switch off dropout and random batches",
    )


def _kinks(point: Point, step: float | None, central: Central, largest: NDArray[np.float64]) -> Kinks | None:
    """Finds entries whose slopes to both sides differ, and still do so with a much smaller step."""
    theta, base = point.theta, point.value
    plus, minus, _ = plain_steps(theta, step, point.costs.name, domain=point.domain)
    nearer_plus, nearer_minus, width = plain_steps(theta, step, point.costs.name, 1.0 / SMALLER_STEP, point.domain)
    nearer = np.full((2, len(theta)), np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        right, left = (central.values[0] - base) / (plus - theta), (base - central.values[1]) / (theta - minus)
        some = np.flatnonzero(may_be_kinks(right, left, largest / width))
        nearer[:, some] = point.quietly().moved(some, np.stack([nearer_plus, nearer_minus])[:, some])
        above, below = (nearer[0] - base) / (nearer_plus - theta), (base - nearer[1]) / (theta - nearer_minus)
    return find_kinks(central.gradient, (right, left), (above, below))
