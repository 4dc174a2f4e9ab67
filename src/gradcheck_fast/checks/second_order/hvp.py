"""check_hvp(): every entry of the products of a Hessian with random vectors."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem
from gradcheck_fast.checks.beside_value import packer
from gradcheck_fast.checks.jacobian import JacobianKeywords
from gradcheck_fast.checks.options import Options
from gradcheck_fast.checks.second_look import named_arrays, report_on
from gradcheck_fast.checks.second_order.gradients import SecondDerivatives, second_derivatives
from gradcheck_fast.inputs.arguments import integer
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import copy
from gradcheck_fast.losses.tree_function import require_callable
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from gradcheck_fast.inputs.trees import Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.report.report import Report


def check_hvp(
    loss: Loss | Problem,
    hvp: Callable[..., Tree],
    params: Tree,
    *,
    gradient: Callable[[Tree], Any] | None = None,
    directions: int = 1,
    seed: int = 0,
    **options: Unpack[JacobianKeywords],
) -> Report:
    """Checks Hessian-vector products, the derivatives of a gradient along random vectors v. Every entry is compared.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``, as for `gradcheck`.
    hvp : callable
        ``hvp(params, v)``, or ``hvp(v)`` if it takes one argument: that of a Hessian at `params`. `v` is a tree like
        `params`, and what it gives is one, too, or one flat vector.
    params : tree of arrays
        Where the products are taken. Not modified.
    gradient : callable, optional
        As for `check_hessian`.
    directions : int
        How many vectors are tried, one after another. The first for which an entry is wrong is the last.
    seed : int
        The seed of the random vectors.
    **options
        As for `check_hessian`. The gradient is differenced along v, which takes two of it; of a loss that cannot be
        traced, second differences are taken, about sixteen calls for each parameter.

    Returns
    -------
    Report
        It is that of the first vector for which an entry is not right; if there is none, that of the last.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or `hvp` gives what does not fit; the message names it. Nothing has been changed
        then.

    Examples
    --------
    >>> import numpy as np
    >>> import gradcheck_fast as gf
    >>> loss = lambda x: np.sum(x**4) / 12 + x[0] * x[1]
    >>> hvp = lambda x, v: x**2 * v + np.array([v[1], v[0], 0.0])
    >>> gf.check_hvp(loss, hvp, np.array([1.0, 2.0, -1.0])).ok
    True
    """
    started = perf_counter()
    settings = Options.from_keywords("check_hvp", options, JacobianKeywords, seed=seed)
    require_callable("hvp", hvp)
    problem = as_traced_problem(loss, params, settings)
    at = problem.pack(params)
    takes_params, rng = takes_params_too(hvp), generator(settings.seed)
    with Runner(settings.n_threads, Meter(settings.progress)) as runner:
        found = second_derivatives(problem, gradient, params, settings, runner)
        if found.refusal is not None:
            return found.refusal.replaced(seconds=perf_counter() - started)
        count = integer("directions", directions, positive=True)
        for number in range(count):
            direction = rng.standard_normal(at.flat.size) * np.maximum(1.0, np.abs(at.flat))
            v = at.unpack(direction)
            given = hvp(copy(params), copy(v)) if takes_params else hvp(copy(v))
            read = packer(None, at, finite=False)(given)
            numerical = _numerical(found, direction, settings)
            report = report_on(read, numerical, settings, at, named_arrays(read, "product"), like=at, what="product")
            runner.tell((number + 1) / count if report.ok else 1.0)
            if not report.ok:
                break
    return report.replaced(notes=(*report.notes, *found.notes), seconds=perf_counter() - started)


def _numerical(found: SecondDerivatives, direction: NDArray[np.float64], options: Options) -> Numerical:
    """Finds the product of the Hessian with a direction."""
    columns = found.columns(options)
    if columns is not None:
        return columns.along(direction)._replace(method=found.method)
    assert found.differences is not None
    size = len(direction)
    return found.differences.along(np.eye(size), np.broadcast_to(direction, (size, size)))


def takes_params_too(hvp: Callable[..., Any]) -> bool:
    """Whether a product takes the parameters and the vector: it does, unless it has one argument only."""
    try:
        own = list(signature(hvp).parameters.values())
    except (TypeError, ValueError):  # a compiled function may not say
        return True
    if any(one.kind is Parameter.VAR_POSITIONAL for one in own):
        return True
    needed = [one for one in own if one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    return len(needed) >= 2
