"""check_hessian(): every entry of a matrix of second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem
from gradcheck_fast.checks.jacobian import JacobianKeywords, jacobian_report
from gradcheck_fast.checks.options import Options
from gradcheck_fast.checks.second_order.gradients import SecondDerivatives, second_derivatives
from gradcheck_fast.checks.sparse_jacobian import check_stored
from gradcheck_fast.inputs.jacobian_blocks import Blocks, Stored, is_sparse
from gradcheck_fast.inputs.trees import copy, entry_name
from gradcheck_fast.losses.jacobian import by_columns
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.numerical.joined import Piece, joined
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.losses.second_differences import SecondDifferences
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.report.report import Report

#: A Hessian is not symmetric if two of its entries differ by more than this part of the largest of their block, and of
#: rounding in its dtype.
SYMMETRIC = 1e-9


def check_hessian(
    loss: Loss | Problem,
    hessian: Any,
    params: Tree,
    *,
    gradient: Callable[[Tree], Any] | None = None,
    **options: Unpack[JacobianKeywords],
) -> Report:
    """Checks every entry of a Hessian, the second derivatives of a loss.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``, as for `gradcheck`.
    hessian : array, sparse matrix, tree of arrays, or callable
        A matrix over the flat parameters, array after array; a sparse one must be zero where nothing is stored. Or a
        tree like `params` of trees like `params`, such as a dict of dicts by name: ``hessian["W"]["b"]`` has the shape
        ``W.shape + b.shape``, or that of a matrix. Or a function of `params` that gives any of these.
    params : tree of arrays
        Where the Hessian was taken. Not modified.
    gradient : callable, optional
        ``gradient(params)``, of a loss that cannot be traced. It is checked first, and then differenced.
    **options
        As for `gradcheck`: step, rtol, atol, error_bars, trace, progress. If the loss can be traced, or is a network's,
        its exact gradient is differenced, two times for each parameter. Other losses take second differences, about
        eight calls for each pair of parameters; error bars are then wide, as the rounding of the loss is divided by h².

    Returns
    -------
    Report
        The arrays are called ``W by b`` and so on, and have the shape of the first followed by that of the second. If
        `gradient` is wrong, the report is that of the gradient, and says so.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.

    Examples
    --------
    >>> import numpy as np
    >>> import gradcheck_fast as gf
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> def hessian(x):
    ...     cross = -400 * x[0]
    ...     return np.array([[2 + 1200 * x[0] ** 2 - 400 * x[1], cross], [cross, 200.0]])
    >>> gf.check_hessian(rosenbrock, hessian, np.array([-1.2, 1.0])).ok
    True
    """
    started = perf_counter()
    settings = Options.from_keywords("check_hessian", options, JacobianKeywords)
    problem = as_traced_problem(loss, params, settings)
    at = problem.pack(params)
    blocks = Blocks(at.shapes, at.shapes, *[_paths(at)] * 2)
    given = hessian(copy(params)) if callable(hessian) and not is_sparse(hessian) else hessian
    read = blocks.read(given, "hessian")
    with Runner(settings.n_threads, Meter(settings.progress)) as runner:
        found = second_derivatives(problem, gradient, params, settings, runner)
        if found.refusal is not None:
            return found.refusal.replaced(seconds=perf_counter() - started)
        columns = found.columns(settings)
        if isinstance(read, Stored) and columns is not None:
            report = check_stored(read, columns, blocks, settings)
            report = report.replaced(method=found.method, _what="Hessian")
        else:
            if isinstance(read, Stored):
                read = blocks.dense(read)
            report = jacobian_report(read, _numerical(found, blocks, settings, runner), blocks, settings, at, "Hessian")
            if report.wrong:
                report = report.replaced(notes=(*_on_symmetry(read, blocks, at), *report.notes))
            if report.wrong and not report.diagnoses and isinstance(problem, ProgramLoss):
                report = report.replaced(diagnoses=_gauss_newton(problem, at, read, blocks, report))
    return report.replaced(notes=(*report.notes, *found.notes), seconds=perf_counter() - started)


def _paths(params: Packed) -> tuple[str, ...]:
    """Returns where the arrays lie in their tree; "" if they are one array."""
    if params.paths in (("params",), ()) and len(params.shapes) == 1:
        return ("",)
    return params.paths or tuple(params.shapes)


def _numerical(found: SecondDerivatives, blocks: Blocks, options: Options, runner: Runner) -> Numerical:
    columns = found.columns(options)
    if columns is not None:
        return by_columns(columns, blocks, runner)._replace(method=found.method)
    assert found.differences is not None
    return _by_pairs(found.differences, blocks, runner)


def _by_pairs(differences: SecondDifferences, blocks: Blocks, runner: Runner) -> Numerical:
    """Finds a Hessian by second differences of the loss, one for each pair of parameters."""
    size = blocks.extent[0]
    units = np.eye(size)
    rows, columns = np.triu_indices(size)
    numerical = differences.along(units[rows], units[columns], runner.tell)
    pairs = np.arange(len(rows))
    below = rows != columns
    pieces = [
        Piece(numerical, pairs, blocks.places(rows, columns)),
        Piece(numerical, pairs[below], blocks.places(columns[below], rows[below])),
    ]
    return joined(pieces, size * size)


def _gauss_newton(
    loss: ProgramLoss, params: Packed, read: Packed, blocks: Blocks, report: Report
) -> tuple[Diagnosis, ...]:
    """Says whether a Hessian is the Gauss-Newton part of the right one."""
    from gradcheck_fast.diagnosis.gauss_newton import gauss_newton  # only wrong ones wait for its import

    rows, columns = (numbers.ravel() for numbers in np.indices(blocks.extent))
    places = blocks.places(rows, columns).reshape(blocks.extent)
    wrong = tuple(array.name for array in report.arrays if array.wrong)
    return tuple(gauss_newton(loss, params.flat, read.flat[places], report.flat_numerical[places], wrong))


def _on_symmetry(read: Packed, blocks: Blocks, params: Packed) -> tuple[str, ...]:
    """Says where a Hessian is not symmetric, if it is not."""
    size = blocks.extent[0]
    rows, columns = np.triu_indices(size, 1)
    one, other = (read.flat[blocks.places(*pair)] for pair in ((rows, columns), (columns, rows)))
    scale = float(np.abs(read.flat[np.isfinite(read.flat)]).max(initial=0.0))
    eps = max(precision.eps for precision in (*read.precisions, *params.precisions))
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)
    uneven = np.flatnonzero(apart > max(SYMMETRIC, 64.0 * eps) * scale)
    if not len(uneven):
        return ()
    worst = uneven[np.argmax(apart[uneven])]
    first, second = (entry_name(params.shapes, int(number)) for number in (rows[worst], columns[worst]))
    pairs = "pair of its entries differs" if len(uneven) == 1 else "pairs of its entries differ"
    return (
        f"the Hessian is not symmetric: {len(uneven):,} {pairs}; by {first} and {second} it has {one[worst]:.10g}, and "
        f"by {second} and {first} {other[worst]:.10g}",
    )
