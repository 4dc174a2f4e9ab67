"""Checks of what PyTorch's ``backward()`` gives: of whole modules, and of functions with a backward of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from . import check
from .adapters import choose_loss
from .arrays import require_float64
from .products import check_vjp
from .torch_network import as_loss_module, describe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from .check import Options, SharedOptions
    from .report import Report

#: The process that imported this; others are its forked children.
_PROCESS = os.getpid()
_DTYPES = (torch.float16, torch.float32, torch.float64)


def gradcheck(
    module: nn.Module,
    loss_fn: Callable[..., torch.Tensor],
    inputs: torch.Tensor | tuple[Any, ...],
    targets: Any = None,
    **options: Unpack[Options],
) -> Report:
    """Checks the gradient that ``loss_fn(module(inputs), targets).backward()`` gives to the parameters of a module.

    Where the compiled engine knows all that the module and the loss are made of, it is used: a chain (an
    `nn.Sequential`, or a `forward` that calls one after another) of Linear, activations, and RNN, GRU and LSTM, whose
    outputs or last outputs are read; and PyTorch's own losses. Everything else is a Python function to be differenced,
    with two calls per parameter, on a copy of the module in float64. A note of the report says which.

    Parameters
    ----------
    module : torch.nn.Module
        Of float16, float32 or float64, in whatever mode it is to be checked. Nothing in it is changed.
    loss_fn : callable
        ``loss_fn(module(inputs))``, or with `targets` ``loss_fn(module(inputs), targets)``: a tensor of one number. Of
        a module that gives a tuple, as nn.LSTM does, PyTorch's own losses are given the first part.
    inputs : tensor or tuple
        What the module is called with; a tuple is several arguments.
    targets : optional
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed.

    Returns
    -------
    Report
        Of the parameters that require a gradient, named as by ``module.named_parameters()``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, no parameter requires a gradient, or the loss is another each time.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {module!r}")
    if not callable(loss_fn):
        raise TypeError(f"loss_fn: expected a function or loss module, got {loss_fn!r}")
    params = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    if not params:
        raise ValueError("module: no parameter requires a gradient")
    _require_known_dtypes(params)
    case = _Case(module, loss_fn, inputs if isinstance(inputs, tuple) else (inputs,), targets)
    with _rng_kept(params):
        gradient = case.gradient(params)
        at = {name: _array(tensor) for name, tensor in params.items()}
        as_network = lambda: describe(case.in_double().module, loss_fn, case.inputs, targets)
        double, method = case.in_double(), options.get("method", "auto")
        loss, note = choose_loss(as_network, double.loss, gradient, double.gradient, at, method)
        report = check.gradcheck(loss, gradient, at, **options)
    return replace(report, notes=(*report.notes, note))


def check_function(
    function: type[torch.autograd.Function] | Callable[..., Any],
    inputs: torch.Tensor | tuple[Any, ...],
    *,
    directions: int = 1,
    seed: int = 0,
    **options: Unpack[SharedOptions],
) -> Report:
    """Checks the backward of a `torch.autograd.Function`, or of any function of tensors, for random cotangents.

    Parameters
    ----------
    function : subclass of torch.autograd.Function, or callable
        It gives a tensor, or a tuple of tensors (and of others, which are passed over).
    inputs : tensor or tuple
        The arguments. Checked are the gradients of the tensors that require one; others, and what is no tensor, stay as
        they are.
    directions, seed, **options
        As for `gradcheck_fast.check_vjp`. The forward is called with float64 tensors, and must compute in float64.

    Returns
    -------
    Report
        Of the gradients of ``inputs[0]`` and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, no input requires a gradient, or no output has one.
    """
    if not callable(function):
        raise TypeError(f"function: expected a torch.autograd.Function or a function of tensors, got {function!r}")
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    checked = {f"inputs[{k}]": tensor for k, tensor in enumerate(arguments) if _requires_grad(tensor)}
    if not checked:
        raise ValueError("inputs: no tensor requires a gradient; say which do, by requires_grad_()")
    _require_known_dtypes(checked)
    arrays = tuple(_array(argument) if _requires_grad(argument) else None for argument in arguments)
    with _rng_kept(checked):
        call = _Call(getattr(function, "apply", function), arguments, arrays)
        return check_vjp(call.forward, call.backward, arrays, directions=directions, seed=seed, **options)


class _Call:
    """A function of tensors, forward and backward, as one of arrays; None stands for an argument that stays."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], arrays: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        _, outputs = self._run(arrays)
        self._outputs = [k for k, output in enumerate(outputs) if _requires_grad(output)]
        if not self._outputs:
            raise ValueError("function: none of its outputs has a gradient")

    def forward(self, *arrays: Any) -> list[NDArray[Any]]:
        _, outputs = self._run(arrays)
        return [_array(outputs[k]) for k in self._outputs]

    def backward(self, cotangents: list[Any], *arrays: Any) -> list[NDArray[Any] | None]:
        tensors, outputs = self._run(arrays)
        outputs = [outputs[k] for k in self._outputs]
        grads = [torch.as_tensor(c).to(output) for c, output in zip(cotangents, outputs, strict=True)]
        checked = [tensor for tensor in tensors if tensor is not None]
        found = iter(torch.autograd.grad(outputs, checked, grads, allow_unused=True, materialize_grads=True))
        return [None if tensor is None else _array(next(found)) for tensor in tensors]

    def _run(self, arrays: Sequence[Any]) -> tuple[list[torch.Tensor | None], Sequence[Any]]:
        """The tensors that the arrays become, and what the function gives for them."""
        _survive_a_fork()
        dtype = torch.float64 if all(a is None or np.asarray(a).dtype == np.float64 for a in arrays) else None
        tensors, arguments = [], []
        for array, argument in zip(arrays, self._arguments, strict=True):
            tensor = None if array is None else torch.as_tensor(array, device=argument.device).requires_grad_()
            tensors.append(tensor)
            arguments.append(_copied(argument, dtype) if tensor is None else tensor.clone())
        with torch.enable_grad():
            outputs = self._function(*arguments)
        return tensors, outputs if isinstance(outputs, (tuple, list)) else (outputs,)


class _Case:
    """A module's loss on given data, and its gradient. Nothing that is given is changed by either."""

    def __init__(self, module: nn.Module, loss_fn: Any, inputs: tuple[Any, ...], targets: Any) -> None:
        self.module, self.loss_fn, self.inputs, self.targets = module, loss_fn, inputs, targets
        self._known_loss = as_loss_module(loss_fn) is not None

    def in_double(self) -> _Case:
        """Of copies, in float64."""
        loss_fn = deepcopy(self.loss_fn).double() if isinstance(self.loss_fn, nn.Module) else self.loss_fn
        data = _copied((self.inputs, self.targets), torch.float64)
        # deepcopy refuses weights that are computed before each forward, and double() passes over plain attributes
        attributes = [value for child in self.module.modules() for value in vars(child).values()]
        copies = {id(value): _copied(value, torch.float64) for value in attributes if isinstance(value, torch.Tensor)}
        return _Case(deepcopy(self.module, copies).double(), loss_fn, *data)

    def gradient(self, params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """By autograd, at `params`."""
        tensors = self._like_own(params)
        with torch.enable_grad():
            value = self._value({name: tensor.requires_grad_() for name, tensor in tensors.items()})
            if not value.requires_grad:
                raise ValueError("loss_fn: its value does not depend on any parameter; was it detached?")
            found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True, materialize_grads=True)
        return {name: _array(gradient) for name, gradient in zip(tensors, found, strict=True)}

    def loss(self, params: Mapping[str, Any]) -> float:
        """At `params`, of a case that is in float64."""
        _survive_a_fork()
        with torch.no_grad():
            value = self._value(self._like_own(params))
        require_float64("loss_fn", np.dtype(str(value.dtype).removeprefix("torch.")))
        return float(value)

    def _like_own(self, params: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        own = dict(self.module.named_parameters())
        return {name: torch.as_tensor(value).to(own[name]) for name, value in params.items()}

    def _value(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss with these tensors for parameters, and copies of all that a forward may write into."""
        inputs, targets = _copied((self.inputs, self.targets))
        own = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers()), **tensors}
        clones = {name: tensor.clone() for name, tensor in own.items()}
        output = torch.func.functional_call(self.module, clones, inputs)
        if isinstance(output, tuple) and self._known_loss:
            output = output[0]
        value = self.loss_fn(output) if targets is None else self.loss_fn(output, targets)
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.dtype.is_floating_point:
            got = f"one of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
            raise TypeError(f"loss_fn: expected it to give a tensor of one real number, got {got}")
        return value.reshape(())


def _copied(tree: Any, dtype: torch.dtype | None = None) -> Any:
    """The tensors of a tree copied; those of floating-point numbers in another dtype, if one is given."""
    if isinstance(tree, torch.Tensor):
        tensor = tree.detach().clone()
        return tensor.to(dtype) if tensor.dtype.is_floating_point else tensor
    if isinstance(tree, dict):
        return {key: _copied(child, dtype) for key, child in tree.items()}
    if isinstance(tree, (tuple, list)):
        children = [_copied(child, dtype) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return tree


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().to_dense().cpu().numpy()
    return array


def _survive_a_fork() -> None:
    """In a forked child PyTorch waits for ever for the threads that it had before, unless it is told to use none."""
    if os.getpid() != _PROCESS:
        torch.set_num_threads(1)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _require_known_dtypes(tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name}: expected float16, float32 or float64, got {tensor.dtype}")


@contextmanager
def _rng_kept(tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Leaves PyTorch's random numbers as they were, on the devices of these tensors too."""
    devices = {tensor.device.index for tensor in tensors.values() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        yield
