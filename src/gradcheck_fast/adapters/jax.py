"""Checks of the gradients of JAX functions of pytrees, which ``jax.grad`` or a function of the user finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradcheck_fast.adapters.jax_aspects import LOOKS, look_at
from gradcheck_fast.adapters.jax_function import FunctionCase
from gradcheck_fast.adapters.jax_loss import ArrayLoss
from gradcheck_fast.checks.as_problem import require_no_complex_steps
from gradcheck_fast.checks.complex_gradients import of_known_convention
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.jacobian_products import vjp_report
from gradcheck_fast.checks.loss_in_one_precision import loss_report
from gradcheck_fast.checks.options import AllKeywords, Options, WorkKeywords
from gradcheck_fast.comparison.aspects import read_skip
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss
from gradcheck_fast.inputs.complex_pairs import JAX
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.report.report import Report


def gradcheck(
    loss: Callable[[Any], Any],
    params: Any,
    gradient: Any = None,
    **options: Unpack[AllKeywords],
) -> Report:
    """Checks the gradient of a JAX function of a pytree, entry by entry.

    The jaxpr of the loss is written down step by step, with the lines that its equations come from, as
    `gradcheck_fast.gradcheck` does with NumPy functions: ``jit``, ``scan``, ``cond``, ``while_loop``, ``checkpoint``
    and what `jax.custom_vjp` and `jax.custom_jvp` compute included. A primitive that is not known is differenced by
    itself, and a note names it. If all that is not possible, as where the loss branches in Python on a value, a note
    says why, and the function is differenced as it is. What `jax.lax.stop_gradient` returns is held fixed, as
    ``jax.grad`` does, and a note says so. ``docs/jax-primitives.md`` lists the primitives that are known.

    The loss is evaluated in float64, under ``jax.enable_x64``, and the gradient in the dtypes of `params`. In float64,
    `jax.random` draws other numbers. If that makes another loss of it, only the parameters and what is computed from
    them are of float64, and random numbers stay of float32. A note of the report says so.

    Parameters
    ----------
    loss : callable
        ``loss(params)`` gives one real number. It must compute in the dtypes that it is given.
    params : pytree
        A pytree of arrays: dicts, lists, tuples, named tuples, registered dataclasses. A leaf that is not of
        floating-point or complex numbers, such as an activation function, stays as it is, and is not checked.
    gradient : pytree or callable, optional
        A pytree like `params`, or a function of `params` that gives one. The default is ``jax.grad(loss)``: the check
        is then one of the rules of `jax.custom_vjp` and `jax.custom_jvp`. The gradient by a complex number x + iy is
        that of JAX, dL/dx - i dL/dy: the conjugate of what PyTorch has.
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed, trace, only, fixed, bounds, constraints. With ``trace=False``, ``method="direct"`` or
        "complex", or a `step`, the function is differenced as it is.

    Returns
    -------
    Report
        It names arrays by their paths, as `jax.tree_util.keystr` writes them: ``['dense'].weights[0]``. A complex array
        is checked as two real ones, ``['W'].real`` and ``['W'].imag``, with the derivatives by both parts;
        `Report.analytic` and `Report.numerical` have it as one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Or if the gradient looks wrong, and the loss is another one
        in float64.
    """
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    settings = Options.from_keywords("gradcheck", options, AllKeywords)
    by_arrays = ArrayLoss(loss, params)
    leaves = by_arrays.leaves
    if leaves.complex_names:
        require_no_complex_steps(settings)
    if gradient is None:
        find = by_arrays.gradient
    elif callable(gradient) and not leaves.is_like(gradient):
        find = lambda arrays: leaves.derivatives(gradient(leaves.tree(arrays)))
    else:
        find = lambda arrays: leaves.derivatives(gradient)
    if not leaves.complex_names and by_arrays.is_of_one_precision(settings):
        return loss_report(python_loss(by_arrays.own_value), find, by_arrays.params, settings, by_arrays.grids)
    found = by_arrays.packed(find(by_arrays.params))
    notes = by_arrays.choose_doubles()
    chosen, held = by_arrays.choose_problem(settings)
    problem = RoundedGradient(chosen, found, lambda: by_arrays.gradient_in_double(find))
    report = check_gradient(problem, found, by_arrays.params, settings)
    if not report.ok:
        by_arrays.require_same_loss()
    report = replace(report, notes=(*report.notes, *notes, *held))
    if isinstance(chosen, GraphLoss) and chosen.is_explained:
        report = replace(report, diagnoses=())
    return of_known_convention(report, leaves.complex_names, JAX) if leaves.complex_names else report


def check_function(
    function: Callable[..., Any],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    skip: str | Iterable[str] = (),
    reference: Callable[..., Any] | None = None,
    **options: Unpack[WorkKeywords],
) -> Report:
    """Checks the derivatives of a JAX function of arrays, such as those of its custom rules, for random cotangents.

    For a cotangent v, the gradient of ``<v, f(*inputs)>`` that `jax.vjp` finds is compared with the numerical one. That
    is found by the jaxpr of the function itself, without its rules, as by `gradcheck`; its notes say where that was not
    possible. If the gradient is right, these aspects are looked at, and are in `Report.aspects`:

    - ``outputs``: with derivatives, by `jax.vjp` and `jax.jvp`, the function gives what it gives without;
    - ``forward mode``: the product of the Jacobian with tangents, by `jax.jvp`, if the function has one;
    - ``batched backward``: the gradients of several cotangents at once, by `jax.vmap`;
    - ``batched inputs``: outputs and gradients for several sets of inputs at once, by `jax.vmap`;
    - ``jit``: outputs and gradients of the compiled function.

    What raises an error there is "not checked"; the aspect has the error.

    Parameters
    ----------
    function : callable
        It gives a pytree of arrays. What is not of floating-point or complex numbers there is passed over.
    inputs : tuple, or pytree
        The arguments; if it is no tuple, it is the only one. Each is a pytree. What is of floating-point or complex
        numbers is checked, and all else stays as it is.
    directions : int
        How many cotangents are tried, one after another. The first that fails is the last.
    seed : int
        The seed of the random cotangents and tangents, and of a sample.
    skip : str, or iterable of str
        The aspects that are not to be looked at.
    reference : callable, optional
        A JAX function of the same arguments that computes in float64 what `function` should give; see
        `gradcheck_fast.check_vjp`. Its derivatives, and what it gives, are what is right.
    **options
        As for `gradcheck_fast.check_vjp`.

    Returns
    -------
    Report
        It names arrays by their places in the arguments: ``inputs[0]``, ``inputs[1]['W']``. A complex array is checked
        as two real ones, ``inputs[0].real`` and ``inputs[0].imag``, with the derivatives by both parts. `seen_from`
        names outputs likewise.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there is no floating-point or complex number in the inputs or the outputs.
    """
    if not callable(function):
        raise TypeError(f"function: expected a function of arrays, got {function!r}")
    settings = Options.from_keywords("check_function", options, WorkKeywords, seed=seed)
    skipped, started = read_skip(skip, LOOKS), perf_counter()
    if reference is not None and not callable(reference):
        raise TypeError(f"reference: expected a function of arrays, got {reference!r}")
    case = FunctionCase(function, inputs)
    report = vjp_report(
        case.forward, case.backward, tuple(case.arrays), settings, directions, names=list(case.leaves.params),
        called=("function", "backward"), losses_of=partial(case.losses, settings),
        reference=FunctionCase(reference, inputs).forward if reference else None,
    )  # fmt: skip
    if case.leaves.complex_names:
        report = of_known_convention(report, case.leaves.complex_names, JAX)
    aspects = () if report.wrong else look_at(case, skipped, seed)
    ok = report.ok and not any(aspect.status == "wrong" for aspect in aspects)
    return report.replaced(
        ok=ok, notes=(*report.notes, *case.notes), aspects=(*report.aspects, *aspects),
        seconds=perf_counter() - started,
    )  # fmt: skip
