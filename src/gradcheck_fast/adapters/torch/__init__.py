"""Checks of the gradients that PyTorch's ``backward()`` gives, for whole modules and for functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gradcheck_fast.adapters.common import InTurn, choose_loss, way_of
from gradcheck_fast.adapters.torch.copies import array_of
from gradcheck_fast.adapters.torch.function import FunctionCall
from gradcheck_fast.adapters.torch.module import ModuleCase
from gradcheck_fast.adapters.torch.runs import notes_on, one_thread_for, rng_kept, with_gradients
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.jacobian_products import vjp_report
from gradcheck_fast.checks.options import AllKeywords, Options, WorkKeywords

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.report.report import Report

_DTYPES = (torch.float16, torch.float32, torch.float64)


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
        It is of bfloat16, float16, float32 or float64, and in the mode in which it is to be checked. It is not changed.
    loss_fn : callable
        ``loss_fn(module(inputs))``, or with `targets` ``loss_fn(module(inputs), targets)``, gives a tensor of one
        number. If the module gives a tuple, as nn.LSTM does, PyTorch's own losses are called with the first part of it.
    inputs : tensor or tuple
        What the module is called with. A tuple has several arguments.
    targets : optional
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed, trace.

    Returns
    -------
    Report
        It covers the parameters that require a gradient, with the names that ``module.named_parameters()`` gives them.

    Raises
    ------
    TypeError
        If an argument does not fit, or cannot be copied.
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
    _require_known_dtypes(params, (torch.bfloat16, *_DTYPES))
    with with_gradients(), rng_kept():
        at = {name: array_of(tensor) for name, tensor in params.items()}
        found = case.found(at)
        with one_thread_for(found.numbers):
            double = case.runner_in_double(found)
            loss, way = choose_loss(
                partial(double.described, loss_fn), double.loss, found.gradient, double.gradient_in_double, at,
                settings.method, partial(case.traced, at, double) if case.may_trace(settings) else None,
            )  # fmt: skip
            report = check_gradient(loss, found.gradient, at, settings)
            if not report.ok:
                case.require_same_loss(at, found, double)
                report = replace(report, notes=(*report.notes, *case.notes_on_failure(report.method)))
    return replace(report, notes=(*report.notes, *found.notes, *_hooks_not_run(params), way_of(report, loss, way)))


def check_function(
    function: type[torch.autograd.Function] | Callable[..., Any],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    **options: Unpack[WorkKeywords],
) -> Report:
    """Checks the backward of a `torch.autograd.Function`, or of any function of tensors, for random cotangents.

    If the function draws random numbers by PyTorch, they are drawn once, and are the same in all runs.

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
        As for `gradcheck_fast.check_vjp`. The forward is called with float64 tensors, and must compute in float64.

    Returns
    -------
    Report
        It covers the gradients of ``inputs[0]`` and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, no input requires a gradient, no output has one, or random numbers cannot be
        frozen.
    """
    if not callable(function):
        raise TypeError(f"function: expected a torch.autograd.Function or a function of tensors, got {function!r}")
    settings = replace(Options.from_keywords("check_function", options, WorkKeywords, seed=seed), trace=False)
    with with_gradients():
        call = FunctionCall(function, inputs)
        _require_known_dtypes(call.checked, _DTYPES)
        with rng_kept():
            call.look()
            found = vjp_report(InTurn(call.forward), call.backward, call.arrays, settings, directions, call.computed_in)
    return replace(found, notes=(*found.notes, *notes_on(call.draws, call.computed_in)))


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
