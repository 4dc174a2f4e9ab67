"""Checks of the gradients that PyTorch's ``backward()`` gives, for whole modules and for functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gradcheck_fast.adapters.common import BY_LINES, choose_loss, loss_by_lines, way_of
from gradcheck_fast.adapters.torch.aspects.every import LOOKS, look_at
from gradcheck_fast.adapters.torch.copies import FLOAT8, arrays_of
from gradcheck_fast.adapters.torch.function import FunctionCall
from gradcheck_fast.adapters.torch.function_report import function_report, reference_of
from gradcheck_fast.adapters.torch.module import ModuleCase
from gradcheck_fast.adapters.torch.one_direction import one_direction
from gradcheck_fast.adapters.torch.refusal import refusals_explained
from gradcheck_fast.adapters.torch.runs import notes_on, one_thread_for, rng_kept, with_gradients
from gradcheck_fast.adapters.torch.second_order import second_order as double_backward
from gradcheck_fast.checks.complex_gradients import of_known_convention
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.options import AllKeywords, Options, WorkKeywords
from gradcheck_fast.comparison.aspects import read_skip
from gradcheck_fast.inputs.arguments import true_or_false
from gradcheck_fast.inputs.complex_pairs import PYTORCH
from gradcheck_fast.losses.transposed import Transposed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.report.report import Report

#: The names of the aspects that `check_function` looks at.
ASPECTS = tuple(LOOKS)
_DTYPES = (
    *FLOAT8, torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip


def gradcheck(
    module: nn.Module,
    loss_fn: Callable[..., torch.Tensor],
    inputs: torch.Tensor | tuple[Any, ...],
    targets: Any = None,
    **options: Unpack[AllKeywords],
) -> Report:
    """Checks the gradient that ``loss_fn(module(inputs), targets).backward()`` gives to the parameters of a module.

    Chains (an `nn.Sequential`, or a `forward` that calls one module after another) of Linear, activations, and RNN, GRU
    and LSTM, whose outputs or last outputs are read, under one of PyTorch's own losses, are described as a `Network`.

    Of any other module, a run in float64 is traced: each operator of ATen that reads a value which depends on a
    parameter is written down as steps that have exact differences, with the line and the module that it runs in.
    Gradients that the module asks for itself count as what it computes, and a `torch.autograd.Function` is followed by
    its forward. What each step gives is compared with what PyTorch gives, and the whole with the loss at parameters
    beside. What the module detaches, or computes with gradients switched off, is held fixed, as autograd does, and a
    note names the lines; so a straight-through estimator is checked as the function that autograd differentiates. A
    number that ``item()`` makes of a tensor that is not detached is no constant: the loss depends on it, and the
    gradient fails if it lacks that. An operator that is not known (docs/torch-operators.md) is differenced by itself,
    and a note names it.

    Where that is not possible (a value goes through NumPy, memory is replaced), the loss is differenced as a Python
    function, with two calls per parameter. A note of the report says which of the three was done, and why.

    The module, the loss and the data are copied, and the copies are run. Each run begins in the state in which they
    were given, with their running statistics and whatever else `forward` changes. PyTorch's random numbers are drawn
    once, in the run that gives the gradient, with the generator in its present state. All other runs use the same
    numbers, so Dropout can be checked. Under `torch.autocast` the gradient is expected to be as accurate as the
    coarsest numbers in that run.

    Parameters
    ----------
    module : torch.nn.Module
        It is of bfloat16, float16, float32, float64, complex64 or complex128, and in the mode in which it is to be
        checked. It is not changed.
    loss_fn : callable
        ``loss_fn(module(inputs))``, or with `targets` ``loss_fn(module(inputs), targets)``, gives a tensor of one
        number. If the module gives a tuple, as nn.LSTM does, PyTorch's own losses are called with the first part of it.
    inputs : tensor or tuple
        What the module is called with. A tuple has several arguments.
    targets : optional
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed, trace, only, fixed, bounds, constraints. Names are those of ``named_parameters()``.

    Returns
    -------
    Report
        It covers the parameters that require a gradient, with the names that ``module.named_parameters()`` gives them.
        A complex one is checked as two real ones, ``W.real`` and ``W.imag``: PyTorch's gradient is dL/dx + i dL/dy.

    Raises
    ------
    TypeError
        If an argument does not fit, or cannot be copied; or if the module does not run in float64, as one with a kernel
        of one precision.
    ValueError
        If no parameter requires a gradient, or the loss depends on none of them, or it depends on a parameter of the
        module itself besides those of the copy that is run. If the loss is another one in each call, or in float64, or
        its random numbers cannot be frozen.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {module!r}")
    if any(isinstance(child, torch.jit.ScriptModule) for child in module.modules()):
        raise TypeError("module: code of torch.jit cannot be copied; give the module that it was made from")
    if not callable(loss_fn):
        raise TypeError(f"loss_fn: expected a function or loss module, got {loss_fn!r}")
    settings = Options.from_keywords("gradcheck", options, AllKeywords)
    case = ModuleCase(module, loss_fn, inputs if isinstance(inputs, tuple) else (inputs,), targets)
    params = case.parameters
    if not params:
        raise ValueError("module: no parameter requires a gradient")
    _require_known_dtypes(params, _DTYPES)
    is_double = all(tensor.dtype in (torch.float64, torch.complex128) for tensor in params.values())
    with with_gradients(), rng_kept():
        at = arrays_of(params)
        found = case.found(at)
        with one_thread_for(found.numbers):
            double = case.runner_in_double(found)
            explained = nullcontext() if is_double else refusals_explained(double, at)
            with explained:
                traced = partial(case.traced, at, double, settings) if case.may_trace(settings) else None
                loss, way = choose_loss(
                    partial(double.described, loss_fn), double.loss, found.gradient, double.gradient_in_double, at,
                    settings.method, traced,
                )  # fmt: skip
                report = check_gradient(loss, found.gradient, at, settings)
                if report.wrong and isinstance(loss, Transposed) and traced and settings.method in ("auto", "chain"):
                    by_lines = loss_by_lines(traced, found.gradient, partial(double.gradient_in_double, at))
                    if by_lines is not None:
                        loss, way = by_lines, BY_LINES
                        report = check_gradient(loss, found.gradient, at, settings)
                if not report.ok:
                    case.require_same_loss(at, found, double)
                    report = replace(report, notes=(*report.notes, *case.notes_on_failure(report.method)))
    report = replace(report, notes=(*report.notes, *found.notes, *_hooks_not_run(params), way_of(report, loss, way)))
    names = tuple(name for name, tensor in params.items() if tensor.is_complex())
    return of_known_convention(report, names, PYTORCH) if names else report


def check_function(
    function: type[torch.autograd.Function] | Callable[..., Any],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    skip: str | Iterable[str] = (),
    second_order: bool = False,
    reference: Callable[..., Any] | None = None,
    **options: Unpack[WorkKeywords],
) -> Report:
    """Checks the backward of a `torch.autograd.Function`, or of any function of tensors, for random cotangents.

    The forward is run in float64 and traced, operator by operator, as `gradcheck` traces a module; for a
    `torch.autograd.Function`, that is its `forward`. Every entry of the gradient is then compared with what the steps
    give. A function that cannot be traced, such as a kernel that is called through ctypes, Numba or C++, is differenced
    as a Python function, and a note says why. If the function draws random numbers by PyTorch, they are drawn once, and
    are the same in all runs. Nothing that is given is changed: tensors, their gradients and hooks, generators of random
    numbers. Tensors stay on their device.

    Unless the gradient is wrong, some aspects follow, each of which is compared with it: see `Report.aspects`. They are
    looked at in the dtypes that are given, and their names are `gf.torch.ASPECTS`:

    - ``unchanged tensors``: backward writes into nothing that is not its own.
    - ``backward twice``: called again with ``retain_graph=True``, it gives the same.
    - ``zero cotangent``, ``no cotangent``: zeros give zero, and an output without a cotangent counts as one with zeros.
    - ``expanded cotangent``, ``strided cotangent``: cotangents may lie in memory in any way.
    - ``batched backward``: `torch.vmap` over cotangents gives what they give one by one.
    - ``forward mode``: Jacobian-vector products fit to the gradient.
    - ``view output``, ``in-place output``: autograd knows which outputs lie in the memory of inputs.
    - ``non-differentiable output``, ``integer input``: these have no gradient, and are not written into.
    - ``input without gradient``: the other gradients are the same if one input requires none.
    - ``same tensor twice``: of a tensor that is given for two inputs the gradients add up.

    Parameters
    ----------
    function : subclass of torch.autograd.Function, or callable
        It gives a tensor, or a tuple, list or dict of tensors, nested at will. Anything else in it is passed over. A
        module is copied, and each call begins in the state in which it was given.
    inputs : tensor, tuple or list
        The arguments. A tuple has several; a list is one if the function takes one, and else has several. Each argument
        may be a tuple, list or dict of tensors, nested at will. The gradients of the tensors that require one are
        checked; all else stays as it is. A sparse tensor keeps its layout, and the gradients of the numbers that it
        stores are checked.
    directions, seed, **options
        As for `gradcheck_fast.check_vjp`. With ``method="directional"`` each input is compared along random directions,
        and the report states how large an error would have been seen.
    skip : str, or iterable of str
        The aspects that are not looked at; ``gf.torch.ASPECTS`` are all.
    second_order : bool
        Whether double backward is checked as well: the gradients of <w, gradient> with respect to the inputs and to the
        cotangents, for a random w, as ``create_graph=True`` gives them. It is an aspect named ``second order``, which
        is wrong, too, if a backward has no double backward (`once_differentiable`, a gradient without a graph).
    reference : callable, optional
        A function of float64 tensors that defines what is right: what `function` gives, and its gradients, are compared
        with those of it. Without one, a function that refuses float64, as a kernel of float32 or bfloat16 does, is
        differenced in its own precision; see `gradcheck_fast.check_vjp`.

    Returns
    -------
    Report
        It covers the gradients of ``inputs[0]`` and so on; of a complex one, as of ``inputs[0].real`` and
        ``inputs[0].imag``. If nothing but an aspect is wrong, it fails, and its first line names the aspect.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, no input requires a gradient, no output has one, or random numbers cannot be
        frozen.
    """
    if not callable(function):
        raise TypeError(f"function: expected a torch.autograd.Function or a function of tensors, got {function!r}")
    settings = Options.from_keywords("check_function", options, WorkKeywords, seed=seed)
    skipped, twice = read_skip(skip, ASPECTS), true_or_false("second_order", second_order)
    started = perf_counter()
    with with_gradients():
        call = FunctionCall(function, inputs)
        _require_known_dtypes(call.checked, _DTYPES)
        with rng_kept():
            found = one_direction(call, settings) if directions == 1 and reference is None else None
            if found is None:
                call.look()
            right = None if reference is None else reference_of(reference, inputs)
            with one_thread_for(call.numbers) if found is None else nullcontext():
                if found is None:
                    found = function_report(call, settings, directions, right)
                aspects = () if found.wrong else look_at(call, skipped, settings)
                if twice and not found.wrong:
                    aspects += (double_backward(call, settings, seed),)
    ok = found.ok and not any(aspect.status == "wrong" for aspect in aspects)
    notes = (*found.notes, *notes_on(call.draws, call.around, call.computed_in))
    return found.replaced(ok=ok, notes=notes, aspects=(*found.aspects, *aspects), seconds=perf_counter() - started)


def _hooks_not_run(params: Mapping[str, nn.Parameter]) -> tuple[str, ...]:
    """A note on hooks that PyTorch runs after it has accumulated a gradient: they may be steps of an optimizer."""
    names = ", ".join(name for name, parameter in params.items() if parameter._post_accumulate_grad_hooks)
    return (f"the post-accumulate hooks of {names} are not run: the gradient is that before them",) if names else ()


def _require_known_dtypes(tensors: Mapping[str, torch.Tensor], known: tuple[torch.dtype, ...]) -> None:
    *names, last = (str(dtype).removeprefix("torch.") for dtype in known)
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            raise ValueError(f"{name}: it has no shape yet; call the module once, so that its lazy layers know theirs")
        if tensor.dtype not in known:
            raise TypeError(f"{name}: expected {', '.join(names)} or {last}, got {tensor.dtype}")
