"""numerical_gradient(): one door, whatever the loss is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from gradcheck_fast.inputs.arguments import number, true_or_false
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.losses.compiled_loss import CallbackLoss
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.pointers import compiled_function, is_compiled
from gradcheck_fast.numerical.errorbars import error_bars as find_error_bars
from gradcheck_fast.numerical.errorbars import reaching_over_kinks
from gradcheck_fast.numerical.gradient import LARGEST_STEP, SMALLEST_STEP, Refined
from gradcheck_fast.running.checkpoint import Checkpoint
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.sampling import Sample
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.running.progress import Progress

#: What finds a gradient, of one loss or another.
METHODS = ("auto", "units", "incremental", "direct", "complex")


def numerical_gradient(
    loss: Loss,
    params: Tree,
    *,
    method: str = "auto",
    step: float | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
    error_bars: bool = False,
    vectorized: bool = False,
    executor: Executor | Callable[[], Executor] | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Tree | tuple[Tree, Tree]:
    """The gradient of `loss` at `params` by central differences, (E(p + h) - E(p - h)) / 2h for every entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` or `callback` gives, any Python function, or a compiled one that
        `callback` takes.
    params : tree of arrays
        An array, a number, or a dict, list or tuple of such; for a network also one flat vector. Not modified.
    method : {"auto", "units", "incremental", "direct", "complex"}
        For a network's loss: ``direct``, two plain forward passes per parameter; ``incremental``, each parameter
        perturbed on its own in difference arithmetic; ``units``, pre-activations perturbed instead of weights.
        ``auto`` is whichever of the last two does less work. For other functions: ``direct``, two calls per parameter;
        ``complex``, one call with a complex step, which has no error but rounding where the function is analytic and
        takes complex arrays. ``auto`` is ``direct``, but takes complex steps where a difference of real values
        agrees with them.
    step : float, optional
        h. Default: 2**-40 in difference arithmetic, ∛ε max(1, \\|p\\|) in plain arithmetic.
    n_threads : int, optional
        Default: the CPUs that this process may use; with an executor 1, in each worker, also of PyTorch and, where
        threadpoolctl is installed, of BLAS. The result does not depend on it.
    progress : bool or callable, optional
        True: a line on stderr. A function is called with the fraction done. In any case a `LongRunWarning` is given
        where more than a minute is to be expected.
    error_bars : bool
        Whether to find, by more runs, how far each entry may be from the derivative.
    vectorized : bool
        Whether `loss`, a Python function, takes many sets of parameters at once: a tree of arrays with one more axis,
        the first, over these sets. It then returns an array of as many costs.
    executor : concurrent.futures.Executor, or callable that makes one; optional
        Who does the work: processes, threads, MPI, a cluster. The result does not depend on it. What a worker that died
        was doing is done again; where that breaks the executor, a callable is asked for another.
    checkpoint : str or PathLike, optional
        A file in which to keep what was found so far, every few seconds. After an interruption of any kind the same
        call goes on from there, to the same result; a checkpoint of another problem is refused. In the end it stays.

    Returns
    -------
    tree like `params`
        Of float64 arrays.
    tree like `params`
        With `error_bars`: a bound on the error of each entry, truncation and rounding; infinite where nothing is known.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    OSError
        If the checkpoint cannot be read or written.
    """
    step, problem = read_step(step), as_problem(loss, vectorized)
    packed = problem.pack(params)
    with make_runner(problem, packed, method, step, n_threads, progress, executor, checkpoint) as runner:
        numerical = differentiate(problem, packed, method, step, runner, kinks=error_bars)
        if not error_bars:
            found, bars = numerical.gradient, None
        else:
            found, bars = find_error_bars(numerical, packed.shapes)
            if numerical.polish:
                found, bars = numerical.polish(Refined(found, bars))
            bars = reaching_over_kinks(bars, numerical.kinks)
    for note in numerical.finish():
        warnings.warn(note, stacklevel=2)
    return packed.unpack(found) if bars is None else (packed.unpack(found), packed.unpack(bars))


def differentiate(
    problem: Problem, params: Packed, method: str, step: float | None, runner: Runner, *, kinks: bool = False,
    entries: NDArray[np.intp] | None = None,
) -> Numerical:  # fmt: skip
    """The gradient as a flat vector, and what else is known of it; see `numerical_gradient`."""
    if method == "directional":
        raise ValueError("method: 'directional' checks a gradient without finding one; it is for gf.gradcheck only")
    return problem.central_differences(params, method=method, step=step, runner=runner, kinks=kinks, entries=entries)


def read_step(step: object) -> float | None:
    """`step` as a float, if it is not None; an error if it is of no use."""
    if step is None:
        return None
    h = number("step", step, positive=True)
    if not SMALLEST_STEP <= h <= LARGEST_STEP:
        raise ValueError(f"step: expected a number from {SMALLEST_STEP} to {LARGEST_STEP}, got {h}")
    return h


def make_runner(
    problem: Problem, params: Packed, method: str, step: float | None, n_threads: int | None, progress: Progress,
    executor: Executor | Callable[[], Executor] | None, checkpoint: str | PathLike[str] | None,
    sample: Sample | None = None, asked_for: Mapping[str, str] | None = None,
) -> Runner:  # fmt: skip
    """Who does the work for a problem, or for a sample of its entries; see `numerical_gradient`.

    `asked_for` is what else it depends on, by name.
    """
    along = "executor= does several arrays at once" if method == "directional" else ""
    entries = sample.entries if sample else None
    meter = Meter(progress, lambda seconds: along or problem.faster(method, seconds, entries))
    kept = None
    if checkpoint is not None:
        kept = Checkpoint(
            checkpoint,
            {
                "loss": problem.fingerprint(params),
                "form of the parameters": str(params.shapes),
                "value of the parameters": digest(params.flat),
                "method": str(method),
                "step": str(step),
                "sample": sample.asked if sample else "all",
                **(asked_for or {}),
            },
        )
    return Runner(n_threads, meter, executor, kept)


def as_problem(loss: Loss | Problem, vectorized: bool = False) -> Problem:
    """`loss` itself where it knows how to be differenced, else wrapped."""
    vectorized = true_or_false("vectorized", vectorized)
    knows_how = hasattr(loss, "central_differences") and hasattr(loss, "pack")
    if not knows_how and not is_compiled(loss):
        if not callable(loss):
            raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
        return python_loss(loss, vectorized)
    if vectorized:
        raise ValueError("vectorized: only Python functions take many sets of parameters at once")
    return cast("Problem", loss) if knows_how else CallbackLoss(compiled_function(loss, what="loss"), threadsafe=False)
