"""A function of tensors, with its backward, as functions of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gradcheck_fast.adapters.torch.copies import Copies, array_of, like_sparse, survive_a_fork, values_of
from gradcheck_fast.adapters.torch.runs import Frozen, Observer, Run, gradients, with_gradients
from gradcheck_fast.inputs.arrays import DOUBLE
from gradcheck_fast.inputs.trees import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FunctionCall:
    """A function of tensors with its arguments. Some tensors in these require a gradient.

    Parameters
    ----------
    function : subclass of torch.autograd.Function, or callable
    inputs : tensor, or tree of tensors; tuple or list
        A tuple has several arguments.

    Attributes
    ----------
    checked : dict of tensor
        The tensors that require a gradient, by name.
    arrays : tuple
        For each argument what `forward` and `backward` take in its place: an array, or a dict of the arrays in a tree;
        None if no tensor in it requires a gradient.
    draws : list of tensor
        The random numbers that the function drew in `look`. It gets them again in each call.
    computed_in : Precision
        The precision of the coarsest numbers on the way, if these have no more than 16 bits; else that of float64.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit, or no tensor requires a gradient.
    """

    def __init__(self, function: Any, inputs: Any) -> None:
        arguments = _as_arguments(function, inputs)
        self.checked = {
            name: leaf for k, part in enumerate(arguments) for name, leaf in walk(part, f"inputs[{k}]")
            if _requires_grad(leaf)
        }  # fmt: skip
        if not self.checked:
            raise ValueError("inputs: no tensor requires a gradient; say which do, by requires_grad_()")
        called = function.apply if _is_autograd(function) else function
        self._own = Copies(function=called, inputs=arguments)
        self._in_double = Copies(torch.float64, function=called, inputs=arguments)
        self._paths = [[path for path, leaf in walk(part) if _requires_grad(leaf)] for part in arguments]
        self.arrays = self._by_argument([array_of(values_of(tensor)) for tensor in self.checked.values()])
        self.draws: list[torch.Tensor] = []
        self.computed_in = DOUBLE
        self._outputs: list[str] = []

    def look(self) -> None:
        """Calls the function to find out what it gives, and which random numbers it draws.

        Raises
        ------
        ValueError
            If none of its outputs has a gradient, or its random numbers cannot be frozen.
        """

        def run() -> Run:
            leaves, outputs = self._run(self.arrays)
            self._outputs = list(outputs)
            if not outputs:
                raise ValueError("function: none of its outputs has a gradient")
            return Run(list(outputs.values()), leaves, [torch.ones_like(output) for output in outputs.values()])

        _, seen = gradients(run, Observer)
        if seen.unfrozen:
            raise ValueError(
                f"function: it draws random numbers in {seen.unfrozen}, which cannot be frozen; without what is random "
                "in it, it can be checked"
            )
        self.draws, self.computed_in = seen.draws, seen.computed_in

    def forward(self, *arrays: Any) -> Any:
        """Calls the function. It gives an array, or a dict of the arrays in a tree."""
        with self._frozen():
            _, outputs = self._run(arrays)
        found = {path: array_of(outputs[path]) for path in self._outputs}
        return found.get("", found)

    def backward(self, cotangents: Any, *arrays: Any) -> tuple[Any, ...]:
        """Calls the function, and then its backward. It gives the gradients for each argument."""

        def run() -> Run:
            leaves, outputs = self._run(arrays)
            own = [outputs[path] for path in self._outputs]
            given = [cotangents] if self._outputs == [""] else [cotangents[path] for path in self._outputs]
            return Run(own, leaves, [torch.as_tensor(c).to(output) for c, output in zip(given, own, strict=True)])

        found, _ = gradients(run, self._frozen)
        pairs = zip(_leaves(arrays), found, strict=True)
        return self._by_argument([np.zeros_like(a) if grad is None else array_of(grad) for a, grad in pairs])

    def _frozen(self) -> AbstractContextManager[Any]:
        return Frozen(self.draws) if self.draws else nullcontext()

    def _by_argument(self, arrays: list[NDArray[Any]]) -> tuple[Any, ...]:
        rest = iter(arrays)
        groups = [{path: next(rest) for path in paths} for paths in self._paths]
        return tuple(group.get("", group) if group else None for group in groups)

    def _run(self, arrays: tuple[Any, ...]) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Calls the function with tensors made of the arrays.

        It returns these tensors, and by their paths those outputs that have a gradient.
        """
        survive_a_fork()
        in_double = all(np.asarray(array).dtype == np.float64 for array in _leaves(arrays))
        copies = self._in_double if in_double else self._own
        with with_gradients():
            copies.restore()
            torch.clear_autocast_cache()
            leaves = [torch.as_tensor(array).clone().requires_grad_() for array in _leaves(arrays)]
            pairs = zip(self.checked.values(), leaves, strict=True)
            new = iter([like_sparse(tensor, leaf.to(tensor.device).clone()) for tensor, leaf in pairs])
            arguments = [_filled(part, new) for part in copies["inputs"]]
            try:
                found = copies["function"](*arguments)
            except RuntimeError as error:
                if in_double and "double" in str(error).lower():
                    raise TypeError(
                        f"function: it was given float64 tensors, and some tensor that it holds or makes is of another "
                        f"dtype ({error}). Let it compute in the dtype of what it is given, as by W.to(x); or give it "
                        "that tensor as an input, or as a buffer of a module"
                    ) from error
                raise
            return leaves, {path: leaf.to_dense() for path, leaf in walk(found) if _requires_grad(leaf)}


def _is_autograd(function: Any) -> bool:
    return isinstance(function, type) and issubclass(function, torch.autograd.Function)


def _as_arguments(function: Any, inputs: Any) -> tuple[Any, ...]:
    """Makes a tuple of the arguments. Whether a list is one argument, the function's signature tells."""
    if not isinstance(inputs, list):
        return inputs if isinstance(inputs, tuple) else (inputs,)
    as_one, as_several = _takes(function, 1), _takes(function, len(inputs))
    if len(inputs) == 1 or as_one == as_several:
        raise TypeError(
            "inputs: whether a list is one argument or several cannot be told from the function's signature; give a "
            "tuple: (list,) for one argument, tuple(list) for several"
        )
    return (inputs,) if as_one else tuple(inputs)


def _takes(function: Any, count: int) -> bool:
    """Tells whether the function's signature allows `count` arguments. False if the signature is not known."""
    given = [None] * count
    if _is_autograd(function):
        separate = function.setup_context is not torch.autograd.Function.setup_context
        function, given = function.forward, given if separate else [None, *given]
    try:
        inspect.signature(function.forward if isinstance(function, nn.Module) else function).bind(*given)
    except (TypeError, ValueError):  # the latter where there is no signature
        return False
    return True


def _filled(part: Any, new: Iterator[torch.Tensor]) -> Any:
    """Copies an argument, with the next of the `new` tensors in the place of each that requires a gradient."""
    if isinstance(part, torch.Tensor):
        return next(new) if part.requires_grad else part.clone()
    if isinstance(part, Mapping):
        filled = copy(part) if isinstance(part, dict) else {}
        for key, child in part.items():
            filled[key] = _filled(child, new)
        return filled
    if isinstance(part, (tuple, list)):
        children = [_filled(child, new) for child in part]
        return type(part)(*children) if hasattr(part, "_fields") else type(part)(children)
    return part


def _leaves(arrays: tuple[Any, ...]) -> Iterator[Any]:
    """Gives the arrays of all arguments, one after another."""
    for part in arrays:
        if part is not None:
            yield from part.values() if isinstance(part, dict) else (part,)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad
