"""numerical_gradient(): one door, whatever the loss is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .differences import (
    LARGEST_STEP,
    SMALLER_STEP,
    SMALLEST_STEP,
    Kinks,
    Numerical,
    find_kinks,
    jitter,
    may_be_kinks,
    plain_steps,
)
from .errorbars import error_bars as find_error_bars
from .errorbars import reaching_over_kinks
from .names import choose, number
from .progress import Progress, pieces, reporter
from .threads import resolve
from .trees import Packed, Tree, pack

#: Any function of the parameters; it may be called with a tree of private arrays, as often as is needed.
Loss: TypeAlias = Callable[[Any], Any]


class Problem(Protocol):
    """What is needed of a loss: a network's compiled loss has it, and `CallableLoss` gives it to any function."""

    def pack(self, params: Tree) -> Packed: ...

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, n_threads: int, report: Callable[[float], object],
        kinks: bool = False,
    ) -> Numerical: ...  # fmt: skip


def numerical_gradient(
    loss: Loss,
    params: Tree,
    *,
    method: str = "auto",
    step: float | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
    error_bars: bool = False,
) -> Tree | tuple[Tree, Tree]:
    """The gradient of `loss` at `params` by central differences, (E(p + h) - E(p - h)) / 2h for every entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` gives, or any Python function.
    params : tree of arrays
        An array, a number, or a dict, list or tuple of such; for a network also one flat vector. Not modified.
    method : {"auto", "units", "incremental", "direct"}
        For a network's loss: ``direct``, two plain forward passes per parameter; ``incremental``, each parameter
        perturbed on its own in difference arithmetic; ``units``, pre-activations perturbed instead of weights.
        ``auto`` is whichever of the last two does less work. For other functions only ``direct`` exists.
    step : float, optional
        h. Default: 2**-40 in difference arithmetic, ∛ε max(1, \\|p\\|) in plain arithmetic.
    n_threads : int, optional
        Default: the CPUs that this process may use. The result does not depend on it.
    progress : bool or callable, optional
        True: a line on stderr. A function is called with the fraction done.
    error_bars : bool
        Whether to find, by a second run, how far each entry may be from the derivative.

    Returns
    -------
    tree like `params`
        Of float64 arrays.
    tree like `params`
        With `error_bars`: a bound on the error of each entry, truncation and rounding; infinite where nothing is known.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    """
    problem = as_problem(loss)
    packed = problem.pack(params)
    numerical = differentiate(
        problem, packed, method=method, step=step, n_threads=n_threads, progress=progress, kinks=error_bars
    )
    if not error_bars:
        return packed.unpack(numerical.gradient)
    gradient, bars = find_error_bars(numerical, packed.shapes)
    return packed.unpack(gradient), packed.unpack(reaching_over_kinks(bars, numerical.kinks))


def differentiate(
    problem: Problem, params: Packed, *, method: str, step: float | None, n_threads: int | None, progress: Progress,
    kinks: bool = False,
) -> Numerical:  # fmt: skip
    """Checks the options of `numerical_gradient`, and finds it as a flat vector."""
    if step is not None:
        step = number("step", step, positive=True)
        if not SMALLEST_STEP <= step <= LARGEST_STEP:
            raise ValueError(f"step: expected a number from {SMALLEST_STEP} to {LARGEST_STEP}, got {step}")
    threads, report = resolve(n_threads), reporter(progress)
    return problem.central_differences(params, method=method, step=step, n_threads=threads, report=report, kinks=kinks)


def as_problem(loss: Loss | Problem) -> Problem:
    """`loss` itself where it knows how to be differenced, else wrapped."""
    if hasattr(loss, "central_differences") and hasattr(loss, "pack"):
        return loss
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    return CallableLoss(loss)


def require_direct(method: str) -> None:
    """An error unless `method` is one that works for Python functions."""
    choose("method", method, ("auto", "units", "incremental", "direct"))
    if method in ("units", "incremental"):
        raise ValueError(f"method: {method!r} needs the loss of a gf.Network; for a Python function use 'direct'")


class CallableLoss:
    """Any Python function of a tree of arrays, differenced in plain arithmetic.

    Each call gets fresh arrays, so that a function that writes into its arguments disturbs nothing.
    """

    def __init__(self, function: Loss) -> None:
        self._function = function

    def pack(self, params: Tree) -> Packed:
        return pack(params)

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, n_threads: int, report: Callable[[float], object],
        kinks: bool = False,
    ) -> Numerical:  # fmt: skip
        require_direct(method)
        theta, width = params.flat, plain_steps(params.flat, step)[2]
        values = self._values(params, theta, step, 1.0, report)
        cost = self._settle(params)
        with np.errstate(invalid="ignore", over="ignore"):
            gradient = (values[0] - values[1]) / width
        largest = np.maximum(np.abs(values).max(axis=0), abs(cost))
        met = self._kinks(params, step, gradient, values, cost, largest) if kinks else None

        def again(times: float) -> NDArray[np.float64]:
            plus, minus = self._values(params, jitter(theta), step, times, lambda _: None)
            self._settle(params)
            with np.errstate(invalid="ignore", over="ignore"):
                found: NDArray[np.float64] = (plus - minus) / plain_steps(jitter(theta), step, times)[2]
            return found

        return Numerical(gradient, "direct", False, step, again, lambda: largest / width, kinks=met)

    def _settle(self, params: Packed) -> float:
        """The cost at the unchanged parameters, at which a function that remembers its last ones is left."""
        return self._value(params, params.flat.copy()) if len(params.flat) else 0.0

    def _values(
        self, params: Packed, theta: NDArray[np.float64], step: float | None, times: float,
        report: Callable[[float], object],
    ) -> NDArray[np.float64]:  # fmt: skip
        """The costs at p + h and at p - h, for every entry: shape (2, size)."""
        plus, minus, _ = plain_steps(theta, step, times)
        values = np.empty((2, len(theta)))
        for begin, end in pieces(len(theta), 1, report):
            for k in range(begin, end):
                values[:, k] = self._at(params, theta, k, plus[k]), self._at(params, theta, k, minus[k])
        return values

    def _kinks(
        self, params: Packed, step: float | None, gradient: NDArray[np.float64], values: NDArray[np.float64],
        cost: float, largest: NDArray[np.float64],
    ) -> Kinks | None:  # fmt: skip
        """Entries with another slope to either side, which is there with a much smaller step as well."""
        theta = params.flat
        plus, minus, _ = plain_steps(theta, step)
        with np.errstate(invalid="ignore", over="ignore"):
            right, left = (values[0] - cost) / (plus - theta), (cost - values[1]) / (theta - minus)
        plus, minus, width = plain_steps(theta, step, 1.0 / SMALLER_STEP)
        above, below = np.full((2, len(theta)), np.nan)
        for k in np.flatnonzero(may_be_kinks(right, left, largest / width)).tolist():
            above[k] = (self._at(params, theta, k, plus[k]) - cost) / (plus[k] - theta[k])
            below[k] = (cost - self._at(params, theta, k, minus[k])) / (theta[k] - minus[k])
        self._settle(params)
        return find_kinks(gradient, (right, left), (above, below))

    def _at(self, params: Packed, theta: NDArray[np.float64], k: int, value: float) -> float:
        moved: NDArray[np.float64] = theta.copy()
        moved[k] = value
        return self._value(params, moved)

    def _value(self, params: Packed, theta: NDArray[np.float64]) -> float:
        value = self._function(params.unpack(theta))
        try:
            array = np.asarray(value)
            if array.size != 1 or array.dtype.kind not in "iuf":
                raise TypeError
            return float(array.reshape(()))
        except Exception:
            raise TypeError(f"loss: expected it to return one real number, got {value!r}") from None
