"""The numerical gradient of a loss as a function, of which differences are second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.losses.tree_function import TreeFunction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.running.runner import Runner

#: A function of flat vectors.
OfVectors: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"


class ExactGradient(NamedTuple):
    """The gradient of a loss, without error but rounding.

    Attributes
    ----------
    function : callable
        Gives it for flat parameters.
    roundings : ndarray of float64, shape (size,)
        How far each entry moves if all that it is found from is rounded once, over EPSILON.
    """

    function: OfVectors
    roundings: NDArray[np.float64]


def exact_gradient(problem: Problem, params: Packed, runner: Runner) -> tuple[ExactGradient | None, tuple[str, ...]]:
    """Returns the gradient of a loss as a function of the flat parameters, if it is exact but for rounding.

    Its differences have then as many digits as those of a function that is written down. The gradient of a traced
    function is chained; at `params` the chain is certified, as it is for `gradcheck`.

    Parameters
    ----------
    problem : Problem
    params : Packed
    runner : Runner

    Returns
    -------
    gradient : ExactGradient or None
        None if the loss can only be differenced as it is.
    notes : tuple of str
        What was noticed of the loss.
    """
    found = problem.central_differences(params, method="auto", step=None, runner=runner.quietly(), kinks=True)
    notes = found.finish()
    if not found.exact or not np.isfinite(found.gradient).all():
        return None, notes
    roundings = np.abs(found.gradient) + np.broadcast_to(found.roundings(), found.gradient.shape)
    if isinstance(problem, ProgramLoss):
        engine = problem.engine

        def chained(theta: NDArray[np.float64]) -> NDArray[np.float64]:
            with engine.at(theta, 1) as point:
                return point.gradient()

        return ExactGradient(chained, roundings), notes

    def differenced(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = replace(params, join=partial(np.asarray, theta))
        return problem.central_differences(moved, method="auto", step=None, runner=runner.quietly()).gradient

    return ExactGradient(differenced, roundings), notes


def as_function(gradient: OfVectors, params: Packed) -> TreeFunction:
    """Returns a gradient, as a function of flat vectors, in the form in which functions of trees are differenced."""
    return TreeFunction(gradient, params.flat, called="gradient")
