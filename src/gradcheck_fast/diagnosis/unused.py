"""Recognises losses that do not use their argument, by their values at a few points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem

#: All parameters are moved at once by normal random numbers times their own size (1 where they are 0) times each of
#: these. A loss that is only flat at the parameters, such as that of a network whose units are all off, changes at one
#: of these points.
_MOVES = (1.0, 3.0, 10.0)


def unused_argument(problem: Problem, params: Packed, numerical: NDArray[np.float64]) -> tuple[str, ...]:
    """Returns a note if the loss has the same value, to the last bit, wherever the parameters are moved.

    The loss is evaluated only if the numerical gradient, a flat vector, is exactly zero or NaN in every entry. The loss
    of a network is never evaluated, because it uses all of its parameters.
    """
    if "units" in problem.methods or not ((numerical == 0.0) | np.isnan(numerical)).all():
        return ()
    rng = np.random.default_rng(0)
    values = {value_at(problem, params, _moved(params.flat, times, rng)) for times in _MOVES}
    values.add(value_at(problem, params, params.flat))  # this comes last, so that the loss is left at the parameters
    if None in values or len(values) > 1:
        return ()
    return (
        f"the loss was {values.pop()!r} whatever was done to the parameters, even to all of them at once: it does not "
        "seem to use its argument. Your arrays are not changed in place here, so loss(p) must compute with p: write p "
        "into your model first, as by model.params.update(p)",
    )


def _moved(theta: NDArray[np.float64], times: float, rng: np.random.Generator) -> NDArray[np.float64]:
    point: NDArray[np.float64] = rng.standard_normal(theta.size)
    point *= np.where(theta == 0.0, times, times * theta)
    point += theta
    return point


def is_finite_here(problem: Problem, params: Packed) -> bool | None:
    """Whether the loss is finite at the parameters; None if it raises an error there, or returns no single number."""
    value = value_at(problem, params, params.flat)
    return None if value is None else bool(np.isfinite(value))


def value_at(problem: Problem, params: Packed, theta: NDArray[np.float64]) -> float | None:
    """Returns the loss at a flat vector; None if it raises an error, as it may at points where nobody expected it."""
    try:
        with np.errstate(all="ignore"):
            return problem.cost(params, theta)
    except Exception:
        return None
