"""Reads the user's own intermediate derivatives, and has them compared with those of the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.checks.as_problem import PLAIN
from gradcheck_fast.diagnosis.graph.backward import Backward
from gradcheck_fast.diagnosis.intermediates.deltas import Deltas
from gradcheck_fast.diagnosis.intermediates.names import array_of, layers_variables
from gradcheck_fast.diagnosis.intermediates.results import Gradient
from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.frontends.numpy_trace.variables import Variable, variables
from gradcheck_fast.inputs.trees import copy
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.losses.network_loss import NetworkLoss
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.diagnosis.intermediates.results import IntermediateResult
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.report.report import Report

#: The user's own derivatives of the loss by intermediate values, by name; or a function of the parameters that gives
#: them.
Intermediates: TypeAlias = "Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]"


def require_comparable(problem: Problem, options: Options) -> None:
    """Raises an error if the intermediates of a loss cannot be known.

    Raises
    ------
    ValueError
        If the loss is no Python function and no network, or the options keep it from being traced.
    """
    if isinstance(problem, (ProgramLoss, NetworkLoss)):
        return
    if not isinstance(problem, FunctionLoss) or problem.function is None:
        raise ValueError(
            "intermediates: they are known of networks and of Python functions that can be traced, not of this loss; "
            "write it in NumPy, or as a gf.Network"
        )
    told = ["trace=False"] * (not options.trace)
    told += [f"method={options.method!r}"] * (options.method in PLAIN)
    told += ["step"] * (options.step is not None)
    if told:
        raise ValueError(f"intermediates: they need the trace of the loss; leave out {' and '.join(told)}")


def read_intermediates(given: Intermediates, params: Tree) -> dict[str, NDArray[np.floating[Any]]]:
    """Returns the arrays by name; a function is called for them.

    Raises
    ------
    TypeError
        If it is no mapping of names to arrays of real numbers.
    """
    found = given(copy(params)) if callable(given) else given
    if not isinstance(found, Mapping):
        what = "the function gave" if callable(given) else "got"
        raise TypeError(f"intermediates: expected a dict such as {{'dz1': array}}, {what} {type(found).__name__}")
    return {name: array_of(name, array) for name, array in found.items()}


def compared(
    problem: Problem, params: Packed, given: Mapping[str, NDArray[np.floating[Any]]], report: Report
) -> tuple[tuple[IntermediateResult, ...], tuple[str, ...]]:
    """Compares intermediates with the sensitivities of the loss. Returns the results, and notes.

    Parameters
    ----------
    problem : Problem
    params : Packed
    given : mapping of str to ndarray
    report : Report
        What was found out about the gradient.
    """
    if isinstance(problem, NetworkLoss):
        engine = RulesEngine(problem.program, problem.given.data.inputs, problem.given.targets)
        names = layers_variables(problem.program)
    elif isinstance(problem, ProgramLoss):
        engine, names = problem.engine, variables(problem.program.steps)
        value, traced = problem.cost(params, params.flat), engine.at(params.flat, 1).cost()
        if not np.isclose(value, traced, rtol=1e-6, atol=0.0):
            return (), (
                "the intermediates were not compared, for the loss takes another way at these parameters than its "
                "trace; trace it here",
            )
    else:
        return (), ("the intermediates were not compared, for the loss could not be traced",)
    parameters = zip(engine.program.parameters, report.arrays, strict=True)
    names |= {number: (Variable(array.name, Source()),) for number, array in parameters}
    own = (array.ravel() for _, array in params.arrays(report.flat_analytic))
    numbers = (array.ravel() for _, array in params.arrays(report.flat_numerical))
    gradients = [Gradient(*row) for row in zip((array.status for array in report.arrays), own, numbers, strict=True)]
    return Deltas(Backward(engine, params.flat), names, gradients).compare(given), ()
