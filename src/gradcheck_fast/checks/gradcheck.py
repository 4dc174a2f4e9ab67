"""gradcheck(): finds a numerical gradient, compares, and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem
from gradcheck_fast.checks.beside_value import BesideValue, beside_value, packer, without_said
from gradcheck_fast.checks.numerical_gradient import make_runner
from gradcheck_fast.checks.options import Options
from gradcheck_fast.comparison.compare import compare, compare_costs
from gradcheck_fast.comparison.directional import compare_along_directions
from gradcheck_fast.comparison.sampling import chosen, coverage, draw, drawn_of, whole
from gradcheck_fast.diagnosis.unused import is_finite_here, unused_argument
from gradcheck_fast.inputs.arguments import number
from gradcheck_fast.inputs.arrays import Precision, coarsest, digest
from gradcheck_fast.inputs.trees import copy
from gradcheck_fast.losses.function_loss import FunctionLoss, finish
from gradcheck_fast.losses.network_loss import NetworkLoss
from gradcheck_fast.losses.problem import knows_changes, samples_of
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.report.report import Report, make_report

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from numpy.typing import NDArray

    from gradcheck_fast.checks.beside_value import Gradient
    from gradcheck_fast.checks.intermediates import Intermediates
    from gradcheck_fast.comparison.results import Comparison, Drawn
    from gradcheck_fast.comparison.sampling import Sample
    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.diagnosis.intermediates.results import IntermediateResult
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.running.progress import Progress
    from gradcheck_fast.running.runner import Runner


def gradcheck(
    loss: Loss | Problem,
    gradient: Gradient,
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
    trace: bool = True,
    intermediates: Intermediates | None = None,
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
    params : tree of arrays
        Where the gradient was taken. Not modified.
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
        executor=executor, checkpoint=checkpoint, sample=sample, seed=seed, trace=trace,
    )  # fmt: skip
    value = None if loss_value is None else number("loss_value", loss_value, signed=True)
    problem = as_traced_problem(loss, params, options, vectorized)
    if intermediates is not None:
        from gradcheck_fast.checks.intermediates import (
            require_comparable,
        )  # only those who give any wait for its import

        require_comparable(problem, options)
    return check_gradient(problem, gradient, params, options, value, intermediates)


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
    at = problem.pack(params)
    gradient = beside_value(gradient, problem)
    given = _called(gradient, problem, at, copy(params)) if callable(gradient) else gradient
    # while a network is differenced, nobody writes into the gradient; who computes intermediates may
    late = isinstance(problem, NetworkLoss) and not callable(intermediates)
    packed = packer(gradient, at, finite=False, samples=samples_of(problem), late=late)
    analytic = packed(given)
    between, own = _read_between(intermediates, params), problem
    if coarsest(at.precisions).is_coarse:
        analytic = replace(analytic, computed_in=coarsest((*at.precisions, analytic.computed_in)))
    if callable(gradient) and isinstance(problem, FunctionLoss) and coarsest(analytic.precisions).is_coarse:
        problem = RoundedGradient(problem, analytic, partial(_in_double, gradient, problem, at, packed))
    picked = None if options.sample is None else draw(at.shapes, options.sample, options.seed)
    depends_on = _what_lines_depend_on(analytic, options) if options.is_directional else {}
    with make_runner(problem, at, options, picked, depends_on) as runner:
        check = _Check(problem, at, analytic, runner, options, gradient if callable(gradient) else None)
        if options.is_directional:
            report = check.along_directions()
        elif picked is not None:
            report = check.of_sample(picked)
        else:
            report = check.of_all()
    unused = unused_argument(problem, at, report.flat_numerical) if report.wrong else ()
    notes = (*unused, *_on_precision(at, analytic), *analytic.notes, *without_said(report.notes, gradient))
    if loss_value is not None:
        notes += compare_costs(loss_value, problem.cost(at, at.flat))
    finite = is_finite_here(problem, at) if report.blind else None
    if isinstance(own, FunctionLoss):
        report = report.replaced(_find_lines=own.line_finder(at))
    if between is not None:
        found, said = _compared_between(own, at, between, report)
        report, notes = report.replaced(intermediates=found), (*notes, *said)
    return report.replaced(notes=notes, finite_here=finite, seconds=perf_counter() - started)


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
        return packed(_called(gradient, problem, params, params.unpack(params.flat.copy())))
    except Exception:
        return None


class _Check(NamedTuple):
    """A gradient that is compared with a loss, who does the work, and how it is to be done."""

    problem: Problem
    params: Packed
    analytic: Packed
    runner: Runner
    options: Options
    gradient: Callable[[Tree], Tree] | None = None

    def of_all(self) -> Report:
        """Compares every entry."""
        numerical, comparison = self._compared(self.analytic, self._differences())
        notes = numerical.finish()
        diagnoses: tuple[Diagnosis, ...] = ()
        if any(array.wrong for array in comparison.arrays):
            from gradcheck_fast.diagnosis.diagnose import diagnose  # only wrong gradients wait for its import

            diagnoses, said = diagnose(self.problem, self.params, self.analytic, numerical, comparison, self.gradient)
            notes = (*notes, *said)
        if any(array.at_kink for array in comparison.arrays):
            notes = (*notes, *self._conventions(numerical, comparison))
        return make_report(comparison, self.analytic, numerical, self.params, notes=notes, diagnoses=diagnoses)

    def _conventions(self, numerical: Numerical, comparison: Comparison) -> tuple[str, ...]:
        """Says whose slopes the gradient has at kinks."""
        if numerical.kinks is None:
            return ()
        from gradcheck_fast.diagnosis.kinks.slopes_taken import convention_notes  # as above

        right = numerical.kinks.where & (comparison.excess <= 1.0)
        eps = self.analytic.computed_in.eps
        return convention_notes(self.problem, self.params.flat, self.analytic.flat, right, eps)

    def of_sample(self, picked: Sample) -> Report:
        """Compares some entries of each array."""
        at, analytic = self.params, self.analytic
        own, given = picked.of(at), picked.of(analytic)
        numerical, comparison = self._compared(given, self._differences(picked.entries))
        drawn, every = drawn_of(comparison, own, given, at.shapes), whole(comparison, analytic, picked)
        diagnoses = self._explain(drawn, every)
        return make_report(
            every, analytic, numerical, at, coverage=coverage(at.shapes, picked), diagnoses=diagnoses,
            notes=numerical.finish(),
        )  # fmt: skip

    def along_directions(self) -> Report:
        """Compares all entries of each array at once, along random directions."""
        problem, threads, noticed = self.problem, self.runner.n_threads, list[str]()
        costs = problem.costs_at(self.params, threads)
        change = partial(problem.change, n_threads=threads) if knows_changes(problem) else None
        found = compare_along_directions(
            costs.cost, self.params, self.analytic, self.options.tolerances, step=self.options.step,
            seed=self.options.seed, runner=self.runner, change=change, is_wrong=partial(self._are_wrong, noticed),
        )  # fmt: skip
        own = problem.notes if isinstance(problem, (FunctionLoss, RoundedGradient)) else ()
        notes = tuple(dict.fromkeys((*finish(costs, self.params.flat, found.base), *noticed, *own)))
        diagnoses = self._explain(found.drawn, found.comparison)
        return make_report(
            found.comparison, self.analytic, found, self.params, coverage=found.coverage,
            evaluations=found.evaluations, diagnoses=diagnoses, notes=notes,
        )  # fmt: skip

    def _explain(self, drawn: Mapping[str, Drawn], comparison: Comparison) -> tuple[Diagnosis, ...]:
        """What would explain entries that were drawn from wrong parts of arrays."""
        if not drawn:
            return ()
        from gradcheck_fast.diagnosis.diagnose import diagnose_drawn  # as above

        return diagnose_drawn(self.problem, self.analytic, drawn, comparison.arrays)

    def _compared(self, analytic: Packed, numerical: Numerical) -> tuple[Numerical, Comparison]:
        """Compares a gradient with a numerical one, or with another if that one does not stand up to a second look."""
        tolerances, bars = self.options.tolerances, self.options.error_bars
        comparison = compare(analytic, numerical, tolerances, with_bars=bars, n_threads=self.runner.n_threads)
        if numerical.doubted is None or not any(array.wrong for array in comparison.arrays):
            return numerical, comparison
        seems_wrong = (comparison.excess > 1.0) & np.isfinite(analytic.flat)
        other = numerical.doubted(np.where(seems_wrong, analytic.flat - numerical.gradient, 0.0))
        return (numerical, comparison) if other is None else self._compared(analytic, other)

    def _differences(self, entries: NDArray[np.intp] | None = None) -> Numerical:
        """The numerical gradient by the method that was asked for: all of it, or some entries."""
        method, step = self.options.method, self.options.step
        return self.problem.central_differences(
            self.params, method=method, step=step, runner=self.runner, kinks=True, entries=entries
        )

    def _are_wrong(self, noticed: list[str], entries: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Differences some entries, in order, one by one, and says which are wrong.

        What was noticed of the loss is added to `noticed`.
        """
        numerical = self.problem.central_differences(
            self.params, method="auto", step=None, runner=self.runner.quietly(), kinks=True, entries=entries
        )
        given = chosen(self.params.shapes, entries).of(self.analytic)
        numerical, comparison = self._compared(given, numerical)
        noticed += numerical.finish()
        return comparison.excess > 1.0
