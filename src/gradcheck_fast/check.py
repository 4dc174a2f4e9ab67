"""gradcheck(): numerical gradient, comparison, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, TypedDict

from .compare import compare, compare_costs
from .diagnosis import diagnose
from .names import number
from .numerical import as_problem, differentiate, make_runner
from .report import Report, make_report
from .trees import copy, pack_as

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from .numerical import Loss, Problem
    from .progress import Progress
    from .trees import Tree


class Options(TypedDict, total=False):
    """The options of `gradcheck` that what is built on it hands on."""

    method: str
    step: float | None
    rtol: float | None
    atol: float | None
    n_threads: int | None
    progress: Progress
    error_bars: bool
    vectorized: bool


def gradcheck(
    loss: Loss | Problem,
    gradient: Tree | Callable[[Tree], Tree],
    params: Tree,
    *,
    method: str = "auto",
    step: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
    error_bars: bool = False,
    loss_value: float | None = None,
    vectorized: bool = False,
    executor: Executor | Callable[[], Executor] | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Report:
    """Checks a gradient against central differences, entry by entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` or `callback` gives, any Python function, or a compiled one that
        `callback` takes.
    gradient : tree of arrays, or callable
        The gradient to check, as a tree like `params` or one flat vector (array after array in the network's order, for
        other functions in that of `params`); or the function of `params` that gives it.
    params : tree of arrays
        Where the gradient was taken. Not modified.
    method, step, n_threads, progress, vectorized, executor, checkpoint
        As for `numerical_gradient`.
    rtol, atol : float, optional
        An entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``, to which the entry's error bar is added unless
        `atol` is given. By default an entry is right if it is within its error bar plus the rounding that a sum of its
        condition has in the dtype of the analytic array: how much our own gradient changes when all parameters are
        moved by some roundings says how much rounding is due. At a kink every slope there is right.
    error_bars : bool
        Whether to find error bars in any case (`Report.error_bars`), which takes as long as the gradient itself. By
        default they are found only where the two gradients do not agree to some roundings anyway.
    loss_value : float, optional
        What your own code says the cost is at `params`. If it is not what `loss` says, the report says so first: then
        the network described is another than yours, or a factor differs.

    Returns
    -------
    Report
        True in a boolean context if no entry is wrong, none undecided, and something was there to be checked. NaN and
        infinity are wrong in your gradient; where the numerical one has them, nothing is decided.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    OSError
        If the checkpoint cannot be read or written.
    """
    started = perf_counter()
    rtol = None if rtol is None else number("rtol", rtol)
    atol = None if atol is None else number("atol", atol)
    value = None if loss_value is None else number("loss_value", loss_value, signed=True)
    problem = as_problem(loss, vectorized)
    at = problem.pack(params)
    given = gradient(copy(params)) if callable(gradient) else gradient
    samples = getattr(problem, "samples", None)
    analytic = pack_as(given, at.shapes, "gradient", paths=at.paths, finite=False, samples=samples)
    with make_runner(problem, at, method, step, n_threads, progress, executor, checkpoint) as runner:
        numerical = differentiate(problem, at, method, step, runner, kinks=True)
        comparison = compare(analytic, numerical, rtol, atol, with_bars=error_bars)
    notes = numerical.finish() + (() if value is None else compare_costs(value, problem.cost(at, at.flat)))
    report = make_report(comparison, analytic, numerical, at, perf_counter() - started, notes)
    wrong = [array.name for array in report.arrays if array.wrong]
    return replace(report, diagnoses=diagnose(problem, at, analytic, numerical, wrong)) if wrong else report
