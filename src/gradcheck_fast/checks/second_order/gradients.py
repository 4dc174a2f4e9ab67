"""Of what second derivatives are found: the exact gradient of a loss, a gradient of the user's, or the loss itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.checks.beside_value import packer
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.second_look import one_step
from gradcheck_fast.losses.gradient_function import as_function, exact_gradient
from gradcheck_fast.losses.jacobian import Columns
from gradcheck_fast.losses.second_differences import SecondDifferences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.inputs.trees import Tree
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.losses.tree_function import TreeFunction
    from gradcheck_fast.report.report import Report
    from gradcheck_fast.running.runner import Runner


class SecondDerivatives(NamedTuple):
    """What second derivatives are found from; one of the first three is not None.

    Attributes
    ----------
    function : TreeFunction or None
        The gradient as a function of the flat parameters, which is differenced.
    differences : SecondDifferences or None
        The loss itself, which is differenced twice.
    refusal : Report or None
        That of the user's gradient, if this is wrong.
    roundings : ndarray of float64 or None
        Of a `function` that has no error but rounding; see `ExactGradient`.
    method : str
        How the gradient is found.
    notes : tuple of str
        What was noticed.
    """

    function: TreeFunction | None
    differences: SecondDifferences | None
    refusal: Report | None
    roundings: NDArray[np.float64] | None = None
    method: str = "direct"
    notes: tuple[str, ...] = ()

    def columns(self, options: Options) -> Columns | None:
        """Returns what gives the derivatives of the gradient along directions; None if only the loss is known."""
        if self.function is None:
            return None
        return Columns(self.function, None, one_step(options), self.roundings)


def second_derivatives(
    problem: Problem, gradient: Callable[[Tree], Any] | None, params: Tree, options: Options, runner: Runner
) -> SecondDerivatives:
    """Finds out of what second derivatives of a loss are found best.

    Parameters
    ----------
    problem : Problem
        The loss.
    gradient : callable or None
        The user's gradient. It is checked; it is used if the loss has no exact one.
    params : tree of arrays
    options : Options
    runner : Runner
    """
    at = problem.pack(params)
    said: tuple[str, ...] = ()
    if gradient is not None:
        if not callable(gradient):
            raise TypeError(f"gradient: expected a function of the parameters, got {gradient!r}")
        report = check_gradient(problem, gradient, params, replace(options, progress=None))
        if report.wrong:
            note = "this is of the gradient, which is wrong: second derivatives were not compared"
            return SecondDerivatives(None, None, report.replaced(notes=(note, *report.notes)))
        if not report.ok:
            said = (f"of the gradient: {report.reason}",)
    found, notes = exact_gradient(problem, at, runner)
    notes = (*said, *notes)
    if found is not None:
        method = "chain" if "chain" in problem.methods else "auto"
        return SecondDerivatives(as_function(found.function, at), None, None, found.roundings, method, notes)
    if gradient is not None:
        packed = packer(gradient, at, finite=False)
        own = lambda theta: packed(gradient(at.unpack(theta))).flat
        return SecondDerivatives(as_function(own, at), None, None, notes=notes)
    costs = problem.costs_at(at, 1)

    def values(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([costs.cost(theta)])

    note = (
        "second differences of the loss are taken, which have few digits: with gradient=, its gradient is differenced"
    )
    differences = SecondDifferences(values, at.flat, one_step(options))
    return SecondDerivatives(None, differences, None, notes=(note, *notes))
