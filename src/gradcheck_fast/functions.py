"""Functions of which nothing is known but their values, differenced in plain arithmetic or by complex steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _compare
from .complexsteps import by_complex_steps, confirmed_steps, within_bars
from .differences import (
    COARSE_JITTER,
    EPSILON,
    PLAIN_STEP,
    SMALLER_STEP,
    Kinks,
    Numerical,
    Refined,
    find_kinks,
    jitter,
    may_be_kinks,
    plain_steps,
)
from .evaluate import BatchCosts, PythonCosts
from .names import choose
from .noise import Noise, noise_around
from .point import Point
from .steps import NOISES, QUICK, THOROUGH, Ladder, Level, refine
from .trees import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .evaluate import Cost, Costs
    from .runner import Runner
    from .trees import Packed, Tree

#: Differences are doubted if the slopes to both sides differ by more than this part of them.
DOUBT = 3e-3
#: Values that are multiples of so many of their roundings were rounded on purpose.
ROUNDED = 1e3


class FunctionLoss:
    """A function of a tree of parameters, given by how it is evaluated.

    Parameters
    ----------
    costs_of : callable
        Gives the `Costs` of the function for a `Packed` set of parameters.
    """

    methods: tuple[str, ...] = ("direct", "complex")

    def __init__(self, costs_of: Callable[[Packed], Costs]) -> None:
        self._costs_of = costs_of

    def costs_at(self, params: Packed, n_threads: int) -> Costs:
        """How the function is evaluated at flat vectors like that of `params`."""
        return self._costs_of(params)

    def pack(self, params: Tree) -> Packed:
        return pack(params)

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        """The cost at a flat vector."""
        return self._costs_of(params).cost(theta)

    def fingerprint(self, params: Packed) -> str:
        """What tells this loss from others: its values at `params` and close by, to the last bit.

        The first alone would not do: at parameters of zero many losses have the same.
        """
        theta = params.flat
        signs = np.random.default_rng(0).choice([-1.0, 1.0], theta.size)
        near = theta + signs * PLAIN_STEP * np.maximum(1.0, np.abs(theta))
        return " ".join(self.cost(params, at).hex() for at in (near, theta))

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """What would take less than these seconds."""
        return (
            "gf.gradcheck(..., method='directional') takes far less, and so does a gf.Network that computes the same; "
            "executor= spreads it over more processes"
        )

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        require_one_of(self.methods, method)
        point = Point(self._costs_of(params), params.flat, runner)
        if entries is not None:
            point = point.of(entries)
        base = point.base()
        if not np.isfinite(base):
            raise ValueError(f"loss: it is {base} at these parameters; where it is not finite it has no gradient")
        if method == "complex":
            return by_complex_steps(point, step)._replace(finish=partial(_finish, point, base))
        if method == "auto" and step is None and not kinks:
            return _as_well_as_can_be(point, base)
        return _with_what_bars_need(point, base, step, kinks)


def python_loss(function: Callable[[Any], Any], vectorized: bool = False) -> FunctionLoss:
    """A Python function of a tree of arrays, or of many at once; see `evaluate`."""
    return FunctionLoss(partial(BatchCosts if vectorized else PythonCosts, function))


def require_one_of(methods: tuple[str, ...], method: str) -> None:
    """An error unless `method` is ``auto`` or one of those that a function has."""
    of_networks = ("units", "incremental")
    if choose("method", method, ("auto", *of_networks, *methods)) in of_networks:
        raise ValueError(f"method: {method!r} needs the loss of a gf.Network; for another function use 'direct'")


def _as_well_as_can_be(point: Point, base: float) -> Numerical:
    """The gradient alone: by complex steps where these can be trusted, else by central differences."""
    gradient = confirmed_steps(point, base)
    rest = np.flatnonzero(np.isnan(gradient))
    if len(rest):
        gradient[rest] = _Central(point if len(rest) == len(gradient) else point.quietly(), rest, None).repaired(base)
    return Numerical(gradient, "direct", False, None, finish=partial(_finish, point, base))


def _with_what_bars_need(point: Point, base: float, step: float | None, kinks: bool) -> Numerical:
    """The gradient by central differences, and how to find error bars."""
    central = _Central(point, point.entries, step)
    largest = np.maximum(np.abs(central.values).max(axis=0), abs(base))

    def again(times: float) -> NDArray[np.float64]:
        return _Central(point.quietly()._replace(theta=jitter(point.theta)), point.entries, step, times).gradient

    def coarse_roundings() -> NDArray[np.float64]:
        moved = _Central(point.quietly()._replace(theta=jitter(point.theta, COARSE_JITTER)), point.entries, step)
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
        kinks=_kinks(point, step, central, base, largest) if kinks else None,
        refine=central.refined if step is None else None,
        polish=partial(within_bars, point.quietly()) if step is None and point.costs.takes_complex else None,
        finish=lambda: (*_finish(point, base), *central.notes),
    )


class _Central:
    """Central differences of some entries with their first steps, to be made better where that is asked for."""

    def __init__(self, point: Point, entries: NDArray[np.intp], step: float | None, times: float = 1.0) -> None:
        plus, minus, self.width = plain_steps(
            point.theta[entries], step, lambda k: point.costs.name(int(entries[k])), times
        )
        self.values = point.moved(entries, np.stack([plus, minus]))
        with np.errstate(invalid="ignore", over="ignore"):
            self.gradient: NDArray[np.float64] = (self.values[0] - self.values[1]) / self.width
        self._entries = entries
        self._point = point.quietly()
        self._noise: Noise | None = None

    def refined(self, some: NDArray[np.intp]) -> Refined:
        """Some of them with the steps that suit them, and error bars that do not reach over kinks."""
        if len(some) and self._noise is None:
            self._noise = noise_around(self._point.theta, self._point.costs.cost)
        return self._refine(some, self._noise.level if self._noise else 0.0, THOROUGH)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed of the values, if they were looked at."""
        quantum = self._noise.quantum if self._noise else 0.0
        if not quantum > ROUNDED * EPSILON * np.abs(self.values).max(initial=0.0):
            return ()
        return (
            f"the values of the loss are rounded, to multiples of {quantum:.2g} or so: differences show nothing less. "
            "Give the loss as it was computed",
        )

    def repaired(self, base: float) -> NDArray[np.float64]:
        """All of them, with smaller steps where the function bends too much for the first."""
        plus, minus = self.values
        with np.errstate(invalid="ignore", over="ignore"):
            bend = np.abs(plus + minus - 2.0 * base) / self.width
            rounding = NOISES * EPSILON * np.fmax(np.abs(plus), np.abs(minus)) / self.width
            doubted = np.flatnonzero(~(bend <= DOUBT * np.abs(self.gradient) + 2.0 * rounding))
        repaired = self.gradient.copy()
        repaired[doubted] = self._refine(doubted, 0.0, QUICK).derivatives
        return repaired

    def _refine(self, some: NDArray[np.intp], noise: float, ladder: Ladder) -> Refined:
        entries = self._entries[some]
        theta = self._point.theta[entries]
        first = Level.of(np.stack([*self.values, self.width])[:, some], theta, noise)
        scale = np.full(len(some), _compare.root_mean_square(self.gradient[some]))
        return refine(self._point.pairs, entries, theta, 0.5 * self.width[some], first, scale, noise, ladder)


def _finish(point: Point, base: float) -> tuple[str, ...]:
    return finish(point.costs, point.theta, base) if len(point.theta) else point.costs.notes


def finish(costs: Cost, theta: NDArray[np.float64], base: float) -> tuple[str, ...]:
    """Leaves the function at the unchanged parameters; says so if its value there is another than before."""
    again = costs.cost(theta)
    if again == base or (np.isnan(again) and np.isnan(base)):
        return costs.notes
    return (
        *costs.notes,
        f"the loss is not deterministic: two calls at the same parameters gave {base!r} and {again!r}. "
        "Fix its seed, and switch off dropout and random batches",
    )


def _kinks(
    point: Point, step: float | None, central: _Central, base: float, largest: NDArray[np.float64]
) -> Kinks | None:
    """Entries with another slope to either side, which is there with a much smaller step as well."""
    theta = point.theta
    plus, minus, _ = plain_steps(theta, step, point.costs.name)
    nearer_plus, nearer_minus, width = plain_steps(theta, step, point.costs.name, 1.0 / SMALLER_STEP)
    nearer = np.full((2, len(theta)), np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        right, left = (central.values[0] - base) / (plus - theta), (base - central.values[1]) / (theta - minus)
        some = np.flatnonzero(may_be_kinks(right, left, largest / width))
        nearer[:, some] = point.quietly().moved(some, np.stack([nearer_plus, nearer_minus])[:, some])
        above, below = (nearer[0] - base) / (nearer_plus - theta), (base - nearer[1]) / (theta - nearer_minus)
    return find_kinks(central.gradient, (right, left), (above, below))
