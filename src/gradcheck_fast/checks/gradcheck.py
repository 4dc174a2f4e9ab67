"""gradcheck(): numerical gradient, comparison, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from gradcheck_fast.checks.numerical_gradient import METHODS, as_problem, differentiate, make_runner, read_step
from gradcheck_fast.comparison.compare import compare, compare_costs
from gradcheck_fast.comparison.directional import compare_along_directions
from gradcheck_fast.comparison.sampling import chosen, coverage, draw, drawn_of, read_sample, whole
from gradcheck_fast.diagnosis import diagnose, diagnose_drawn
from gradcheck_fast.diagnosis.unused import is_finite_here, unused_argument
from gradcheck_fast.inputs.arguments import choose, integer, number
from gradcheck_fast.inputs.arrays import Precision, coarsest, digest
from gradcheck_fast.inputs.trees import copy, pack_as
from gradcheck_fast.losses.function_loss import FunctionLoss, finish
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.report.report import Report, make_report

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.sampling import Sample
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.running.progress import Progress
    from gradcheck_fast.running.runner import Runner


class CommonOptions(TypedDict, total=False):
    """The options of `gradcheck` that all that is built on it hands on."""

    method: str
    step: float | None
    rtol: float | None
    atol: float | None
    error_bars: bool
    sample: int | float | None


class SharedOptions(CommonOptions, total=False):
    """Those of work that others may do."""

    n_threads: int | None
    progress: Progress
    executor: Executor | Callable[[], Executor] | None


class Options(SharedOptions, total=False):
    """Those of one loss, where nothing else is random."""

    checkpoint: str | PathLike[str] | None
    seed: int


def gradcheck(
    loss: Loss | Problem,
    gradient: Tree | Packed | Callable[[Tree], Tree],
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
    sample: int | float | None = None,
    seed: int = 0,
) -> Report:
    """Checks a gradient against central differences, entry by entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` or `callback` gives, any Python function, or a compiled one that
        `callback` takes.
    gradient : tree of arrays, or callable
        The gradient to check, as a tree like `params` or one flat vector (array after array in the network's order, for
        other functions in that of `params`); or the function of `params` that gives it: it is called right after the
        loss, so that it may use what that has kept. Shapes may differ by axes of length 1, as (5,) for (1, 5): the
        entries are the same, and the report says so. The function of a Python loss, with parameters or a gradient of
        less than float64, is called once more with `params` in float64 if something looks wrong: how far the two differ
        is due to rounding.
    params : tree of arrays
        Where the gradient was taken. Not modified.
    method : {"auto", "units", "incremental", "direct", "complex", "directional"}
        As for `numerical_gradient`; or ``directional``, for many parameters: each array is compared along random
        directions, in about ten evaluations of the loss, and halved where one shows an error until the wrong entries,
        rows, columns or blocks are found. `Report.coverage` states how large an error would have been seen.
    step, n_threads, progress, vectorized, executor, checkpoint
        As for `numerical_gradient`. Along directions h is how far each parameter is moved, times a normal number; the
        default is chosen for each array. A worker does an array at a time, and a checkpoint is of one gradient,
        tolerance and seed.
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
    sample : int or float, optional
        Compare only so many entries of each array, or this share of them, drawn at random; of small arrays, and of
        vectors beside other arrays, all. Only these are differenced, but for ``units``, which finds all at once:
        ``auto`` takes that where it does less work than ``incremental`` for the drawn ones. Not for ``directional``,
        which compares every entry anyway.
    seed : int
        Of the random directions, or of the sample. The same seed gives the same report.

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
    seed, step = integer("seed", seed), read_step(step)
    method = choose("method", method, (*METHODS, "directional"))
    problem = as_problem(loss, vectorized)
    at = problem.pack(params)
    given = _called(gradient, problem, at, copy(params)) if callable(gradient) else gradient
    samples = getattr(problem, "samples", None)
    analytic = pack_as(
        given, at.shapes, "gradient", paths=at.paths, finite=False, samples=samples, unit_axes=True
    )  # fmt: skip
    analytic = replace(analytic, computed_in=coarsest((*at.precisions, analytic.computed_in)))
    if method == "directional":
        if sample is not None:
            raise ValueError("sample: method 'directional' compares every entry; leave one of the two out")
        if error_bars:
            raise ValueError("error_bars: random directions find none for single entries; leave it out")
    if callable(gradient) and isinstance(problem, FunctionLoss) and coarsest(analytic.precisions).is_coarse:
        problem = RoundedGradient(problem, analytic, partial(_in_double, gradient, problem, at))
    picked = None if sample is None else draw(at.shapes, read_sample(sample), seed)
    asked_for = {}
    if method == "directional":  # what is evaluated depends on all of these
        asked_for = {
            "gradient": digest(analytic.flat, *analytic.precisions), "seed": str(seed), "rtol": str(rtol),
            "atol": str(atol),
        }  # fmt: skip
    with make_runner(problem, at, method, step, n_threads, progress, executor, checkpoint, picked, asked_for) as runner:
        asked = _Asked(problem, at, analytic, runner, method, step, rtol, atol, error_bars)
        if method == "directional":
            report = _along_directions(asked, seed)
        elif picked is not None:
            report = _of_sample(asked, picked)
        else:
            report = _of_all(asked)
    unused = unused_argument(problem, at, report.flat_numerical) if report.wrong else ()
    notes = (*unused, *_on_precision(at, analytic), *analytic.notes, *report.notes)
    if value is not None:
        notes += compare_costs(value, problem.cost(at, at.flat))
    finite = is_finite_here(problem, at) if report.blind else None
    return replace(report, notes=notes, finite_here=finite, seconds=perf_counter() - started)


def _on_precision(params: Packed, analytic: Packed) -> tuple[str, ...]:
    """What to say of a gradient with more digits than its parameters."""
    coarse = coarsest(params.precisions)
    if all(Precision.of(dtype).eps >= coarse.eps for dtype in analytic.dtypes.values()):
        return ()
    return (f"parameters are {coarse.name}: their gradient, of more digits, is taken to be as accurate as that",)


def _called(gradient: Callable[[Tree], Tree], problem: Problem, params: Packed, tree: Tree) -> Tree:
    """What the gradient function gives for a tree; right after the loss, of whose last call it may be made."""
    if isinstance(problem, FunctionLoss):
        problem.call(params, copy(tree))
    return gradient(tree)


def _in_double(gradient: Callable[[Tree], Tree], problem: Problem, params: Packed) -> Tree | None:
    """What the gradient function gives for float64 parameters; None if it knows its own dtype only."""
    try:
        return _called(gradient, problem, params, params.unpack(params.flat.copy()))
    except Exception:
        return None


class _Asked(NamedTuple):
    """What is to be checked, and how."""

    problem: Problem
    params: Packed
    analytic: Packed
    runner: Runner
    method: str
    step: float | None
    rtol: float | None
    atol: float | None
    error_bars: bool


def _of_all(asked: _Asked) -> Report:
    """Every entry."""
    problem, at, analytic, *_ = asked
    numerical = differentiate(problem, at, asked.method, asked.step, asked.runner, kinks=True)
    comparison = compare(analytic, numerical, asked.rtol, asked.atol, with_bars=asked.error_bars)
    report = replace(make_report(comparison, analytic, numerical, at), notes=numerical.finish())
    return replace(report, diagnoses=diagnose(problem, at, analytic, numerical, comparison))


def _of_sample(asked: _Asked, picked: Sample) -> Report:
    """Some entries of each array."""
    problem, at, analytic, *_ = asked
    own, given = picked.of(at), picked.of(analytic)
    numerical = differentiate(problem, at, asked.method, asked.step, asked.runner, kinks=True, entries=picked.entries)
    comparison = compare(given, numerical, asked.rtol, asked.atol, with_bars=asked.error_bars)
    report = make_report(whole(comparison, analytic, picked), analytic, numerical, at)
    diagnoses = diagnose_drawn(problem, analytic, drawn_of(comparison, own, given, at.shapes), report.arrays)
    return replace(report, coverage=coverage(at.shapes, picked), diagnoses=diagnoses, notes=numerical.finish())


def _are_wrong(asked: _Asked, noticed: list[str], entries: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of some entries, in order, are wrong when differenced one by one; what is `noticed` of the loss then."""
    problem, at, analytic, runner, *_ = asked
    numerical = differentiate(problem, at, "auto", None, runner.quietly(), kinks=True, entries=entries)
    comparison = compare(chosen(at.shapes, entries).of(analytic), numerical, asked.rtol, asked.atol)
    noticed += numerical.finish()
    return comparison.excess > 1.0


def _along_directions(asked: _Asked, seed: int) -> Report:
    """All entries at once, along random directions."""
    problem, at, analytic, *_ = asked
    costs, noticed = problem.costs_at(at, asked.runner.n_threads), list[str]()
    found = compare_along_directions(
        costs.cost, at, analytic, rtol=asked.rtol, atol=asked.atol, step=asked.step, seed=seed, runner=asked.runner,
        is_wrong=partial(_are_wrong, asked, noticed),
    )  # fmt: skip
    notes = tuple(dict.fromkeys((*finish(costs, at.flat, found.base), *noticed)))
    report = make_report(found.comparison, analytic, found, at)
    diagnoses = diagnose_drawn(problem, analytic, found.drawn, report.arrays)
    return replace(report, coverage=found.coverage, evaluations=found.evaluations, diagnoses=diagnoses, notes=notes)
