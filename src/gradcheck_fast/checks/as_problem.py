"""Makes a problem of whatever users hand over as a loss: described, traced, compiled or plain; and trace()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_fast.inputs.arguments import true_or_false
from gradcheck_fast.inputs.complex_pairs import has_complex
from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.losses.compiled_loss import CallbackLoss
from gradcheck_fast.losses.function_loss import FunctionLoss, python_loss
from gradcheck_fast.losses.pointers import compiled_function, is_compiled
from gradcheck_fast.losses.problem import is_problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.frontends.numpy_trace.traced_loss import TracedLoss
    from gradcheck_fast.inputs.trees import Tree
    from gradcheck_fast.losses.problem import Loss, Problem

#: The methods that difference a function as it is. With these, or with a step of the user's, nothing is traced.
PLAIN = ("direct", "complex")


def as_problem(loss: Loss | Problem, vectorized: bool = False) -> Problem:
    """Makes a problem of a loss, unless it is one already. A Python function is taken as it is, without a trace."""
    vectorized = true_or_false("vectorized", vectorized)
    if vectorized and (is_problem(loss) or is_compiled(loss)):
        raise ValueError("vectorized: only Python functions take many sets of parameters at once")
    if is_problem(loss):
        return loss
    if is_compiled(loss):
        return CallbackLoss(compiled_function(loss, what="loss"), threadsafe=False)
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    return python_loss(loss, vectorized)


def is_python_function(loss: object) -> TypeGuard[Callable[[Any], Any]]:
    """Whether a loss is a Python function: neither described, nor traced, nor compiled."""
    return callable(loss) and not is_problem(loss) and not is_compiled(loss)


def require_no_complex_steps(options: Options) -> None:
    """Raises a ValueError if the method takes complex steps, which complex parameters do not have."""
    if options.method == "complex":
        raise ValueError("method: 'complex' takes complex steps from real numbers, and the parameters are complex")


def as_traced_problem(loss: Loss | Problem, params: Tree, options: Options, vectorized: bool = False) -> Problem:
    """Makes a problem of a loss; a Python function is traced at `params`, if it can be and the options allow it."""
    problem = as_problem(loss, vectorized)
    return problem if problem is loss or vectorized else traced_by(options, problem, params)


def traced_by(options: Options, problem: Problem, params: Tree) -> Problem:
    """Returns the loss of a Python function with its trace, unless the options forbid that or it is another loss.

    Raises
    ------
    ValueError
        If the function cannot be traced, and the method needs its trace.
    """
    if type(problem) is not FunctionLoss or problem.function is None:
        return problem
    if not may_trace(options):
        return problem
    # only Python functions wait for its import
    from gradcheck_fast.frontends.numpy_trace.traced_loss import traced_if_possible

    found = traced_if_possible(problem, problem.function, options.selected(problem.pack(params)).params)
    if found is problem and options.method in ("chain", "incremental"):
        raise ValueError(f"method: {options.method!r} needs a trace of the function. {problem.notes[-1]}")
    return found


def may_trace(options: Options) -> bool:
    """Whether a function is to be traced: the options give neither a step nor a plain method, and allow it."""
    return options.trace and options.method not in PLAIN and options.step is None


def trace(loss: Callable[[Any], Any], params: Tree) -> TracedLoss:
    """Runs a NumPy function once and writes down what it computes, step by step.

    What it returns can be given to `gradcheck`, `numerical_gradient` and the others in place of the function. They
    trace by themselves; this shows what they find.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``, a Python function. Of ``(value, anything)``, the value is taken.
    params : tree of arrays
        Where it is traced. Branches of Python are fixed to the way that they take there.

    Returns
    -------
    TracedLoss

    Raises
    ------
    TypeError
        If the parameters are complex; the message says how to pass their parts.
    ValueError
        If the function cannot be traced, or does something else than its trace; the message names the line.
    Exception
        What the function itself raises.
    """
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    if has_complex(params):
        raise TypeError(
            "params: a trace has real parameters; pass the two parts of complex arrays, as in gf.trace(lambda p: "
            "loss(p['re'] + 1j * p['im']), {'re': z.real, 'im': z.imag}). gf.gradcheck traces losses of complex "
            "parameters by itself"
        )
    # only those who trace wait for its import
    from gradcheck_fast.frontends.numpy_trace.traced_loss import traced

    return traced(loss, pack(params))
