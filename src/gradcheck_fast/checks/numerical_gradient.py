"""numerical_gradient(): the numerical gradient of a loss of any kind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem, is_python_function, require_no_complex_steps
from gradcheck_fast.checks.options import Options
from gradcheck_fast.comparison.sampling import chosen
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.inputs.complex_pairs import PYTORCH, ComplexLoss, ComplexPairs, has_complex
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.numerical.errorbars import error_bars as find_error_bars
from gradcheck_fast.numerical.errorbars import reaching_over_kinks
from gradcheck_fast.numerical.gradient import Refined
from gradcheck_fast.running.checkpoint import Checkpoint
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Bounds, Chosen
    from gradcheck_fast.comparison.sampling import Sample
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.running.progress import Progress


def numerical_gradient(
    loss: Loss,
    params: Tree,
    *,
    method: str = "auto",
    step: float | Mapping[str, float] | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
    error_bars: bool = False,
    vectorized: bool = False,
    executor: Executor | Callable[[], Executor] | None = None,
    checkpoint: str | PathLike[str] | None = None,
    trace: bool = True,
    only: Chosen | None = None,
    fixed: Chosen | None = None,
    bounds: Bounds | None = None,
) -> Tree | tuple[Tree, Tree]:
    """Finds the gradient of `loss` at `params` by central differences, (E(p + h) - E(p - h)) / 2h for every entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` or `callback` gives, any Python function, or a compiled one that
        `callback` takes. If a Python function returns a number and something beside it, such as ``(value, gradient)``,
        the number is the loss, and a warning says so.
    params : tree of arrays
        An array, a number, or a dict, list or tuple of such; for a network also one flat vector. Not modified. Arrays
        of a Python function may be complex. The method is then not ``complex``.
    method : {"auto", "units", "incremental", "chain", "direct", "complex"}
        For a network's loss: ``direct``, two plain forward passes per parameter; ``incremental``, each parameter
        perturbed on its own in difference arithmetic; ``units``, pre-activations perturbed instead of weights, one of
        each sample at once, if no layer mixes samples, as batch normalisation does in training; ``chain``, central
        differences of single steps, chained from the last to the first, in the time of about three forward passes, and
        certified by differences of the whole cost along random directions. ``auto`` is ``units`` or ``incremental``,
        whichever does less work, if that takes less than about 50 ms, and else ``chain``; for networks with any layers
        but dense and recurrent ones it is always ``chain``. For other functions: ``chain`` and ``incremental``, if they
        can be traced; ``direct``, two calls per parameter; ``complex``, one call per parameter with a complex step: if
        the function is analytic, and takes complex arrays, this has no error but rounding. ``auto`` is ``chain`` for
        functions that can be traced, unless a step is given; for others it is ``direct``, but takes complex steps where
        a difference of real values agrees with them.
    step : float, or dict of str to float; optional
        h. The default is 2**-40 in difference arithmetic (2**-130 of a traced function, whose entries are moved to one
        side), 2**-60 in a chain, and ∛ε max(1, \\|p\\|) in plain arithmetic. A dict has steps for some arrays by their
        names or patterns, such as ``{"log_*": 1e-4}``, of a function that is differenced as it is.
    n_threads : int, optional
        How many threads are used; by default one for each CPU that this process may use. With an executor, it is the
        number of threads in each worker, by default 1; it then holds also for the threads of PyTorch and, where
        threadpoolctl is installed, of BLAS. The result does not depend on it.
    progress : bool or callable, optional
        If it is True, a bar shows how much is done. A function is called with the fraction that is done. In
        any case a `LongRunWarning` is given if the work will take more than a minute.
    error_bars : bool
        Whether to find, by more runs, by how much each entry may differ from the derivative.
    vectorized : bool
        Whether `loss`, a Python function, takes many sets of parameters at once. Its argument is then a tree of arrays
        with one more axis, the first, over the sets, and it returns an array with the cost of each set.
    executor : concurrent.futures.Executor, or callable that makes one; optional
        It does the work: with processes, threads, MPI, or a cluster. The result does not depend on it. If a worker
        dies, its work is done again. If that breaks the executor, the callable, if one was given, makes another.
    checkpoint : str or PathLike, optional
        A file into which all results so far are written every few seconds. After an interruption of any kind the same
        call goes on from there, and comes to the same result. A checkpoint of another problem is refused. The file is
        not removed in the end.
    trace : bool
        Whether a Python function of NumPy is traced: run once with arrays that record what is done to them. What it
        computes is then known step by step, and its gradient is chained from exact differences, as that of a network
        (see `trace`). A function that cannot be traced is differenced as it is, and a warning says why.
    only, fixed, bounds
        As for `gradcheck`. The derivatives by entries that are not chosen are NaN.

    Returns
    -------
    tree like `params`
        Of float64 arrays; for a complex array z = x + iy of complex128, with dL/dx + i dL/dy, as PyTorch has it (the
        conjugate of what JAX has, and twice the Wirtinger derivative by the conjugate of z).
    tree like `params`
        Only with `error_bars`: a bound on the error of each entry, from truncation and rounding. It is infinite where
        nothing is known of the error. That of a complex entry has the bounds of its two parts.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    OSError
        If the checkpoint cannot be read or written.
    RuntimeError
        If a chained gradient is not confirmed by differences of the whole cost, which is a fault of this library.
    """
    options = Options(
        method=method, step=step, n_threads=n_threads, progress=progress, error_bars=error_bars, executor=executor,
        checkpoint=checkpoint, trace=trace, only=only, fixed=fixed, bounds=bounds,
    )  # fmt: skip
    options.require_gradient()
    if has_complex(params) and is_python_function(loss):
        return _complex_gradient(loss, params, options, vectorized)
    problem = as_traced_problem(loss, params, options, vectorized)
    require_respected(problem, options)
    packed, entries, _ = options.selected(problem.pack(params))
    some = None if entries is None else chosen(packed.shapes, entries)
    with make_runner(problem, packed, options, some) as runner:
        numerical = problem.central_differences(
            packed, method=options.method, step=options.one_step, runner=runner, kinks=options.error_bars,
            entries=entries,
        )  # fmt: skip
        if numerical.certificate and not numerical.certificate.holds:
            raise RuntimeError(numerical.certificate.complaint)
        if not options.error_bars:
            found, bars = numerical.gradient, None
        else:
            found, bars = find_error_bars(numerical, packed.shapes if some is None else some.of(packed).shapes)
            if numerical.polish:
                found, bars = numerical.polish(Refined(found, bars))
            bars = reaching_over_kinks(bars, numerical.kinks)
    for note in numerical.finish():
        warnings.warn(note, stacklevel=2)
    if entries is not None:
        found, bars = _spread(found, entries, packed), None if bars is None else _spread(bars, entries, packed)
    return packed.unpack(found) if bars is None else (packed.unpack(found), packed.unpack(bars))


def _complex_gradient(
    loss: Callable[[Any], Any], params: Tree, options: Options, vectorized: bool
) -> Tree | tuple[Tree, Tree]:
    """Does what `numerical_gradient` does for parameters with complex arrays."""
    require_no_complex_steps(options)
    pairs = ComplexPairs(params)
    found = numerical_gradient(
        ComplexLoss(loss, pairs), pairs.split(params), method=options.method, step=options.step,
        n_threads=options.n_threads, progress=options.progress, error_bars=options.error_bars, vectorized=vectorized,
        executor=options.executor, checkpoint=options.checkpoint, trace=options.trace, only=options.only,
        fixed=options.fixed, bounds=options.bounds,
    )  # fmt: skip
    if not options.error_bars:
        return pairs.gradient(found, PYTORCH)
    return tuple(pairs.gradient(part, PYTORCH) for part in found)


def _spread(some: NDArray[np.float64], entries: NDArray[np.intp], params: Packed) -> NDArray[np.float64]:
    """Returns a flat vector with some entries, and NaN for the others."""
    every = np.full(params.flat.size, np.nan)
    every[entries] = some
    return every


def require_respected(problem: Problem, options: Options) -> None:
    """Raises a ValueError if a loss cannot keep to the options that say where and by how much parameters are moved."""
    if isinstance(problem, RoundedGradient):
        problem = problem.problem
    if isinstance(options.step, Mapping) and not isinstance(problem, FunctionLoss):
        raise ValueError("step: this loss is differenced with one step for all parameters; give one number")
    is_own = "units" in problem.methods  # it evaluates nothing of the user's
    if options.bounds is not None and not is_own and not isinstance(problem, FunctionLoss):
        raise ValueError("bounds: this loss differences itself, and knows of no bounds; leave them out")


def make_runner(
    problem: Problem, params: Packed, options: Options, sample: Sample | None = None,
    depends_on: Mapping[str, str] | None = None,
) -> Runner:  # fmt: skip
    """Makes the runner that does the work for a problem.

    Parameters
    ----------
    problem : Problem
    params : Packed
    options : Options
    sample : Sample, optional
        The entries that are differenced. None: all.
    depends_on : mapping, optional
        What the results depend on besides the loss, its parameters, the method, the step and the sample, as texts by
        name: a checkpoint is refused where these are others.
    """
    along = "executor= does several arrays at once" if options.is_directional else ""
    entries = sample.entries if sample else None
    meter = Meter(options.progress, lambda seconds: along or problem.faster(options.method, seconds, entries))
    kept = None
    if options.checkpoint is not None:
        kept = Checkpoint(
            options.checkpoint,
            {
                "loss": problem.fingerprint(params),
                "form of the parameters": str(params.shapes),
                "value of the parameters": digest(params.flat),
                "method": str(options.method),
                "step": str(options.step),
                "sample": sample.asked if sample else "all",
                **_where(params),
                **(depends_on or {}),
            },
        )
    return Runner(options.n_threads, meter, options.executor, kept)


def _where(params: Packed) -> dict[str, str]:
    """Says where the parameters may be moved, if that is not anywhere."""
    domain = params.domain
    if domain is None:
        return {}
    arrays = () if domain.constrained is None else domain.constrained.arrays
    steps = np.empty(0) if domain.steps is None else domain.steps
    return {"domain": digest(domain.low, domain.high, steps, str(arrays))}
