"""gradcheck(): finds a numerical gradient, compares, and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem, is_python_function
from gradcheck_fast.checks.beside_value import BesideValue, beside_value, packer, without_said
from gradcheck_fast.checks.check import Check, on_tangent_space
from gradcheck_fast.checks.complex_gradients import check_complex_gradient
from gradcheck_fast.checks.loss_in_one_precision import loss_report, refuses_float64
from gradcheck_fast.checks.numerical_gradient import make_runner, require_respected
from gradcheck_fast.checks.one_precision import METHODS
from gradcheck_fast.checks.options import Options
from gradcheck_fast.comparison.compare import compare_costs
from gradcheck_fast.comparison.sampling import chosen, draw
from gradcheck_fast.diagnosis.unused import is_finite_here, unused_argument
from gradcheck_fast.inputs.arguments import number
from gradcheck_fast.inputs.arrays import Precision, coarsest, digest
from gradcheck_fast.inputs.complex_pairs import has_complex
from gradcheck_fast.inputs.trees import copy, entry_name
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.losses.network_loss import NetworkLoss
from gradcheck_fast.losses.problem import samples_of
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.numerical.evaluate import GIVES_LESS
from gradcheck_fast.report.report import Report

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from gradcheck_fast.checks.beside_value import Gradient
    from gradcheck_fast.checks.intermediates import Intermediates
    from gradcheck_fast.checks.options import Bounds, Chosen
    from gradcheck_fast.diagnosis.intermediates.results import IntermediateResult
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.running.progress import Progress


def gradcheck(
    loss: Loss | Problem,
    gradient: Gradient,
    params: Tree,
    *,
    method: str = "auto",
    step: float | Mapping[str, float] | None = None,
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
    trace: bool = True,
    intermediates: Intermediates | None = None,
    only: Chosen | None = None,
    fixed: Chosen | None = None,
    bounds: Bounds | None = None,
    constraints: Mapping[str, str] | None = None,
) -> Report:
    """Checks a gradient against central differences, entry by entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` or `callback` gives, any Python function, or a compiled one that
        `callback` takes. If a Python function returns a number and something beside it, such as ``(value, gradient)``,
        the number is the loss, and the report notes it.
    gradient : tree of arrays, callable, or True
        The gradient to check: a tree like `params`, or one flat vector, in which the arrays follow each other in the
        network's order or, for other functions, in that of `params`. Or a function of `params` that computes it; this
        is called right after the loss, so it may use what the loss has kept. True means that ``loss(params)`` returns
        ``(value, gradient)``, or the value and the gradients of the arrays one after another.
        The shape of an array may differ from that of its parameter by axes of length 1, as (5,) from (1, 5): the
        entries are the same. Arrays may be named as the gradients of their parameters, all in one pattern: ``dW1``,
        ``grad_W1``, ``W1_grad``, ``g_W1``, ``W1.grad`` and others for ``W1``. What else is there (``dA1``, ``dx``, the
        loss) is then passed over, as derivatives by something that is no parameter are beside the parameters' own
        names. The report notes all this.
        If the loss is a Python function, the parameters or the gradient are of less than float64, and something looks
        wrong, the gradient function is called once more with `params` in float64: the difference of the two gradients
        is taken for rounding.
        The gradient by a complex array z = x + iy may be dL/dx + i dL/dy, as PyTorch has it; its conjugate, as JAX has
        it; or half of one of these, the Wirtinger derivatives by the conjugate of z and by z. Which of the four it is,
        for all arrays together, is found out, and a note says it. The gradient of a real array is real.
    params : tree of arrays
        Where the gradient was taken. Not modified. Those of a Python function may be complex: it is then called with
        complex arrays, and each is checked as two real ones, ``W.real`` and ``W.imag``, with the derivatives by both.
    method : {"auto", "units", "incremental", "chain", "direct", "complex", "directional"}
        As for `numerical_gradient`. One more, ``directional``, is for many parameters: it compares each array along
        random directions, in about ten evaluations of the loss. An array that shows an error is halved, again and
        again, until the wrong entries, rows, columns or blocks are found. `Report.coverage` states how large an error
        would have been seen.
    step, n_threads, progress, vectorized, executor, checkpoint, trace
        As for `numerical_gradient`. With ``directional``, each parameter is moved by h times a normal random number,
        and the default of h is chosen for each array; a worker checks one array at a time; and a checkpoint belongs to
        one gradient, with the tolerances and the seed.
    rtol, atol : float, optional
        An entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``. Unless `atol` is given, the right side has the
        entry's error bar added to it. If neither is given, an entry may differ by its error bar and by the rounding
        that the dtype of the analytic array is expected to make in it. How much that is, the numerical gradient shows:
        by how much it changes when all parameters are moved by some roundings. At a kink, every slope there is right.
    error_bars : bool
        Whether to find error bars in any case (`Report.error_bars`). That takes as long as the gradient itself. By
        default they are found only if the two gradients differ by more than some roundings.
    loss_value : float, optional
        The cost at `params` that your own code computes. If `loss` gives another one, the report begins with that: the
        network that was described is then not yours, or a factor differs.
    sample : int or float, optional
        The number of entries of each array that are compared (an int), or their share (a float); they are drawn at
        random. Small arrays are compared in full, and so are vectors if there are other arrays. Only the drawn entries
        are differenced. The exceptions are ``units`` and ``chain``, which find all entries at once: ``auto`` takes them
        if that is less work than ``incremental`` for the drawn ones. ``directional`` takes no sample, for it compares
        every entry.
    seed : int
        The seed of the random directions, or of the sample. The same seed gives the same report.
    intermediates : dict of str to array, or callable, optional
        Your own derivatives of the loss by values between the parameters and the loss, such as ``{"dz1": dz1}``; or a
        function of `params` that gives such a dict, and is called right after the gradient. Each is compared with the
        derivative by that value of the loss which has its numbers; where none has, by the variable that it is named
        after: ``dz1``, ``grad_z1``, ``delta1`` belong to ``z1``. They may be transposed, reshaped, times the number of
        samples, or have the times of a loop along an axis. The loss must be a NumPy function that can be traced, or a
        network; there ``z2`` and ``a2`` are what layer 2 gives to its activation, and what it gives.
        `Report.intermediates` has the results, and the report names the first that is wrong on the way back.
    only : str, sequence of str, or dict of str to mask or index; optional
        Which entries are checked: arrays by their names, in which ``*`` and ``?`` stand for any characters
        (``"layer1.*"``), or parts of trees by theirs; in a dict, a boolean mask, an index, or True for each. By default
        all are.
    fixed : str, sequence of str, or dict of str to mask or index; optional
        Which entries are not checked, in the same form: parameters that are not trained, and padding. They stay as they
        are in every evaluation, your gradient may have anything there, and a note counts them.
    bounds : dict of str to (low, high), or (low, high); optional
        Where the loss is defined: numbers or arrays by the names of arrays (or patterns), None for an open side; or one
        pair for all. The loss is never evaluated outside. At a bound the derivative is that from inside; differences
        then use three points on that side, and their error bars say what is known.
    constraints : dict of str to str, optional
        What arrays satisfy and keep: ``"symmetric"``, ``"psd"`` (checked as symmetric), ``"antisymmetric"``,
        ``"lower"`` and ``"upper"`` (triangular), ``"simplex"`` (the sums along the last axis are constant),
        ``"orthogonal"`` (columns, or rows if there are fewer, are orthonormal), ``"rotation"``, and ``"unit norm"``
        (along the last axis, of the whole, or along the first axis). Both gradients are then projected onto the tangent
        space before they are compared, and a function of which only values are known is evaluated nowhere else but
        where the constraint holds. The projected gradients are in the report.

    Returns
    -------
    Report
        It is true in a boolean context if no entry is wrong, none is undecided, and there was something to check. NaN
        and infinity are wrong in your gradient. An entry at which the numerical gradient has them is undecided.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    OSError
        If the checkpoint cannot be read or written.
    """
    options = Options.for_check(
        method=method, step=step, rtol=rtol, atol=atol, n_threads=n_threads, progress=progress, error_bars=error_bars,
        executor=executor, checkpoint=checkpoint, sample=sample, seed=seed, trace=trace, only=only, fixed=fixed,
        bounds=bounds, constraints=constraints,
    )  # fmt: skip
    value = None if loss_value is None else number("loss_value", loss_value, signed=True)
    if has_complex(params) and is_python_function(loss):
        if intermediates is not None:
            raise ValueError(
                "intermediates: they are compared for real parameters only; leave them out, or pass the real and the "
                "imaginary parts as parameters of their own, of which the loss makes the complex ones"
            )
        return check_complex_gradient(_in_its_precision, loss, gradient, params, options, value, vectorized)
    problem = as_traced_problem(loss, params, options, vectorized)
    if intermediates is not None:
        from gradcheck_fast.checks.intermediates import (
            require_comparable,
        )  # only those who give any wait for its import

        require_comparable(problem, options)
    if intermediates is not None:
        return check_gradient(problem, gradient, params, options, value, intermediates)
    return _in_its_precision(problem, gradient, params, options, value)


def _in_its_precision(
    problem: Problem, gradient: Gradient, params: Tree, options: Options, loss_value: float | None
) -> Report:
    """Compares a gradient with differences in float64, or in less if the loss computes in that only."""
    if not isinstance(problem, FunctionLoss) or type(problem) is not FunctionLoss:
        return check_gradient(problem, gradient, params, options, loss_value)
    if problem.function is None or loss_value is not None:
        return check_gradient(problem, gradient, params, options, loss_value)
    if refuses_float64(problem, params, options):
        return loss_report(problem, gradient, params, options)
    report = check_gradient(problem, gradient, params, options)
    is_rounded = options.method in METHODS and any(note.startswith(GIVES_LESS) for note in report.notes)
    return loss_report(problem, gradient, params, options) if is_rounded else report


def check_gradient(
    problem: Problem, gradient: Gradient, params: Tree, options: Options,
    loss_value: float | None = None, intermediates: Intermediates | None = None,
) -> Report:  # fmt: skip
    """Does what `gradcheck` does, for a problem, with options that have been read.

    Parameters
    ----------
    problem : Problem
    gradient : tree of arrays, Packed, callable, or True
    params : tree of arrays
    options : Options
    loss_value : float, optional
        What the user's own code says the cost is.
    intermediates : mapping of str to array, or callable, optional
    """
    started = perf_counter()
    selection = options.selected(problem.pack(params))
    at = selection.params
    require_respected(problem, options)
    gradient = beside_value(gradient, problem)
    given = _called(gradient, problem, at, copy(params)) if callable(gradient) else gradient
    # while a network is differenced, nobody writes into the gradient; who computes intermediates may
    late = isinstance(problem, NetworkLoss) and not callable(intermediates)
    packed = packer(gradient, at, finite=False, samples=samples_of(problem), late=late)
    analytic = on_tangent_space(packed(given), at)
    between, own = _read_between(intermediates, params), problem
    if coarsest(at.precisions).is_coarse:
        analytic = replace(analytic, computed_in=coarsest((*at.precisions, analytic.computed_in)))
    if callable(gradient) and isinstance(problem, FunctionLoss) and coarsest(analytic.precisions).is_coarse:
        in_double = partial(_in_double, gradient, problem, at, packed)
        problem = RoundedGradient(problem, analytic, in_double)
    picked = None if selection.entries is None else chosen(at.shapes, selection.entries)
    if options.sample is not None:
        picked = draw(at.shapes, options.sample, options.seed, selection.entries)
    depends_on = _what_lines_depend_on(analytic, options) if options.is_directional else {}
    with make_runner(problem, at, options, picked, depends_on) as runner:
        function = gradient if callable(gradient) else None
        check = Check(problem, at, analytic, runner, options, selection.entries, function)
        if options.is_directional:
            report = check.along_directions()
        elif picked is not None:
            report = check.of_some(picked)
        else:
            report = check.of_all()
    unused = unused_argument(problem, at, report.flat_numerical) if report.wrong else ()
    notes = (*unused, *selection.notes, *_on_precision(at, analytic), *analytic.notes)
    notes += (*_at_bounds(at, report), *without_said(report.notes, gradient))
    if loss_value is not None:
        notes += compare_costs(loss_value, problem.cost(at, at.flat))
    finite = is_finite_here(problem, at) if report.blind else None
    traced = own.problem if isinstance(own, RoundedGradient) else own
    if isinstance(traced, FunctionLoss):
        report = report.replaced(_find_lines=traced.line_finder(at))
    if between is not None:
        found, said = _compared_between(own, at, between, report)
        report, notes = report.replaced(intermediates=found), (*notes, *said)
    return report.replaced(notes=notes, finite_here=finite, seconds=perf_counter() - started)


def _at_bounds(params: Packed, report: Report) -> tuple[str, ...]:
    """A note on wrong entries that lie at their bounds, which may be right for moves to the other side."""
    domain = params.domain
    if domain is None or not report.wrong:
        return ()
    theta = params.flat
    there = (report._excess > 1.0) & ((theta == domain.low) != (theta == domain.high))
    if not there.any():
        return ()
    first, count = entry_name(params.shapes, int(np.argmax(there))), int(np.count_nonzero(there))
    which = f"{first} lies at its bound" if count == 1 else f"{first} and {count - 1:,} more lie at their bounds"
    return (f"{which}: the derivative there is that from inside",)


def _read_between(intermediates: Intermediates | None, params: Tree) -> dict[str, Any] | None:
    if intermediates is None:
        return None
    from gradcheck_fast.checks.intermediates import read_intermediates  # as above

    return read_intermediates(intermediates, params)


def _compared_between(
    problem: Problem, params: Packed, given: Mapping[str, Any], report: Report
) -> tuple[tuple[IntermediateResult, ...], tuple[str, ...]]:
    from gradcheck_fast.checks.intermediates import compared  # as above

    return compared(problem, params, given, report)


def _what_lines_depend_on(analytic: Packed, options: Options) -> dict[str, str]:
    """What decides, besides the loss, at which points a directional check evaluates it."""
    return {
        "gradient": digest(analytic.flat, *analytic.precisions),
        "seed": str(options.seed),
        "rtol": str(options.rtol),
        "atol": str(options.atol),
    }


def _on_precision(params: Packed, analytic: Packed) -> tuple[str, ...]:
    """A note on a gradient that has more digits than its parameters."""
    coarse = coarsest(params.precisions)
    if not coarse.is_coarse:
        return ()
    if all(Precision.of(dtype).eps >= coarse.eps for dtype in analytic.dtypes.values()):
        return ()
    return (f"parameters are {coarse.name}: their gradient, of more digits, is taken to be as accurate as that",)


def _called(gradient: Callable[[Tree], Tree], problem: Problem, params: Packed, tree: Tree) -> Tree:
    """Calls the gradient function, right after the loss: it may need what the last call of the loss has kept."""
    if isinstance(problem, FunctionLoss) and not isinstance(gradient, BesideValue):
        problem.call(params, copy(tree))
    return gradient(tree)


def _in_double(
    gradient: Callable[[Tree], Tree], problem: Problem, params: Packed, packed: Callable[[Any], Packed]
) -> Packed | None:
    """Calls the gradient function with float64 parameters. None: it raises, for it knows its own dtype only."""
    try:
        found = packed(_called(gradient, problem, params, params.unpack(params.flat.copy())))
        return on_tangent_space(found, params)
    except Exception:
        return None
