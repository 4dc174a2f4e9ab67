"""gradcheck(): numerical gradient, comparison, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from .compare import compare
from .diagnosis import diagnose
from .names import number
from .numerical import as_problem, differentiate
from .report import Report, make_report
from .trees import copy, pack_as

if TYPE_CHECKING:
    from .numerical import Loss
    from .progress import Progress
    from .trees import Tree


def gradcheck(
    loss: Loss,
    gradient: Tree | Callable[[Tree], Tree],
    params: Tree,
    *,
    method: str = "auto",
    step: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> Report:
    """Checks a gradient against central differences, entry by entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` gives, or any Python function.
    gradient : tree of arrays, or callable
        The gradient to check, as a tree like `params` or one flat vector (array after array in the network's order, for
        other functions in that of `params`); or the function of `params` that gives it.
    params : tree of arrays
        Where the gradient was taken. Not modified.
    method, step, n_threads, progress
        As for `numerical_gradient`.
    rtol, atol : float, optional
        An entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``. By default they fit the dtype of each
        analytic array (float64: rtol 1e-7, float32: 1e-3, float16: 1e-2; plain arithmetic: at least 1e-5); atol is a
        small part of the array's largest entry plus h², and what rounding may do to an entry is added.

    Returns
    -------
    Report
        True in a boolean context if every entry is right. NaN and infinity are wrong, on either side.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    """
    started = perf_counter()
    rtol = None if rtol is None else number("rtol", rtol)
    atol = None if atol is None else number("atol", atol)
    problem = as_problem(loss)
    at = problem.pack(params)
    given = gradient(copy(params)) if callable(gradient) else gradient
    samples = getattr(problem, "samples", None)
    analytic = pack_as(given, at.shapes, "gradient", paths=at.paths, finite=False, samples=samples)
    numerical = differentiate(problem, at, method=method, step=step, n_threads=n_threads, progress=progress)
    comparison = compare(analytic, numerical, rtol, atol)
    report = make_report(comparison, analytic, numerical, at, perf_counter() - started)
    wrong = [array.name for array in report.arrays if array.wrong]
    return replace(report, diagnoses=diagnose(problem, at, analytic, numerical, wrong)) if wrong else report
