"""A function of tensors, with its backward, as functions of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gradcheck_fast.adapters.torch.copies import Copies, array_of, like_sparse, precision_of, survive_a_fork, values_of
from gradcheck_fast.adapters.torch.runs import Frozen, Observer, Run, gradients, random_states, with_gradients
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.frontends.torch_trace.replay import tracing
from gradcheck_fast.inputs.arrays import DOUBLE
from gradcheck_fast.inputs.complex_pairs import combined
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.torch_trace.held import Held
    from gradcheck_fast.inputs.arrays import Precision


def _nothing(leaves: list[torch.Tensor]) -> None:
    """Does nothing."""


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
    numbers : int
        How many numbers all operations gave in `look`.
    outputs : list of str
        The paths of those outputs that have a gradient.
    forms : list of tuple
        Their shapes, dtypes and devices.
    cotangents, found : list of tensor
        A random cotangent for each of them, and the gradients by the tensors that are checked, in `look`; None for a
        gradient of zeros.

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
        own = self._own.dtypes <= {torch.float64, torch.complex128}
        self._in_double = self._own if own else Copies(torch.float64, function=called, inputs=arguments)
        self._paths = [[path for path, leaf in walk(part) if _requires_grad(leaf)] for part in arguments]
        self.arrays = self._by_argument([array_of(values_of(tensor)) for tensor in self.checked.values()])
        self.draws: list[torch.Tensor] = []
        self.around = ""
        self.computed_in = DOUBLE
        self.numbers = 0
        self.outputs: list[str] = []
        self.cotangents: list[torch.Tensor] = []
        self.found: list[torch.Tensor | None] = []
        self.forms: list[tuple[torch.Size, torch.dtype, torch.device]] = []

    def look(self) -> None:
        """Calls the function to find out what it gives, and which random numbers it draws.

        Raises
        ------
        ValueError
            If none of its outputs has a gradient, or its random numbers cannot be frozen.
        """
        self.found, seen = gradients(lambda: self._differentiated(generator(0)), Observer)
        if seen.unfrozen:
            raise ValueError(
                f"function: it draws random numbers in {seen.unfrozen}, which cannot be frozen; without what is random "
                "in it, it can be checked"
            )
        self.draws, self.around = seen.draws, seen.around
        self.computed_in, self.numbers = seen.computed_in, seen.numbers

    def look_without_observing(self, rng: np.random.Generator) -> bool:
        """Does what `look` does, but for random numbers; returns whether none are drawn, so that this is enough.

        To observe each operation takes longer than the operations of a small function do. Cotangents are drawn from
        `rng`.
        """
        given = list(self.checked.values())
        before = random_states(given)
        run = self._differentiated(rng)
        self.found = list(torch.autograd.grad(run.outputs, run.leaves, run.cotangents, allow_unused=True))
        if all(map(torch.equal, before, random_states(given))):
            return True
        torch.set_rng_state(before[0])  # `look` is to draw the same
        return False

    def _differentiated(self, rng: np.random.Generator) -> Run:
        """Calls the function, and makes a random cotangent for each output."""
        leaves, outputs = self._run(self.arrays)
        self.outputs = list(outputs)
        self.forms = [(output.shape, output.dtype, output.device) for output in outputs.values()]
        if not outputs:
            raise ValueError("function: none of its outputs has a gradient")
        self.cotangents = [_random(rng, *form) for form in self.forms]
        return Run(list(outputs.values()), leaves, [cotangent.clone() for cotangent in self.cotangents])

    def forward(self, *arrays: Any) -> Any:
        """Calls the function. It gives an array, or a dict of the arrays in a tree."""
        with self.frozen():
            _, outputs = self._run(arrays)
        found = {path: array_of(outputs[path]) for path in self.outputs}
        return found.get("", found)

    def backward(self, cotangents: Any, *arrays: Any) -> tuple[Any, ...]:
        """Calls the function, and then its backward. It gives the gradients for each argument."""

        def run() -> Run:
            leaves, outputs = self._run(arrays)
            own = [outputs[path] for path in self.outputs]
            given = [cotangents] if self.outputs == [""] else [cotangents[path] for path in self.outputs]
            return Run(own, leaves, [torch.as_tensor(c).to(output) for c, output in zip(given, own, strict=True)])

        found, _ = gradients(run, self.frozen)
        pairs = zip(_leaves(arrays), found, strict=True)
        return self._by_argument([np.zeros_like(a) if grad is None else array_of(grad) for a, grad in pairs])

    def traced(self, recording: Recording, arrays: Mapping[str, TracedArray], held: Held) -> list[Any]:
        """Calls the function in float64, and returns what a recording knows of its outputs; see `tracing`.

        Parameters
        ----------
        recording : Recording
        arrays : mapping of str to TracedArray
            What takes the place of the tensors that require a gradient, in their order; two for a complex one.
        held : Held
            Takes what is held fixed.
        """
        modules = dict(self._in_double["function"].named_modules()) if self._is_module else {}
        rest = (array._view for array in arrays.values())
        values = [combined(next(rest), next(rest)) if t.is_complex() else next(rest) for t in self.checked.values()]
        with self.frozen(), ExitStack() as stack:
            tracer = []

            def begin(leaves: list[torch.Tensor]) -> None:
                own = dict(zip(self.checked, leaves, strict=True))
                tracer.append(stack.enter_context(tracing(recording, own, arrays, modules, held)))

            _, outputs = self._run(self._by_argument(values), begin)
            found = [outputs[path] for path in self.outputs]
            pairs = [(output, tracer[0].value(output)) for output in found]
            return [part for own, value in pairs for part in (ComplexArray.of(value) if own.is_complex() else (value,))]

    @property
    def precisions(self) -> dict[str, Precision]:
        """The precision of each tensor that is checked, by name: its array may be of a finer one."""
        return {name: precision_of(t.dtype) for name, t in self.checked.items() if t.is_floating_point()}

    @property
    def is_double(self) -> bool:
        """Whether all tensors that are checked are of float64 or complex128."""
        return all(tensor.dtype in (torch.float64, torch.complex128) for tensor in self.checked.values())

    @property
    def is_complex(self) -> bool:
        """Whether some tensor that is checked, or some output, is complex."""
        return any(t.is_complex() for t in self.checked.values()) or any(dtype.is_complex for _, dtype, _ in self.forms)

    @property
    def is_autograd_function(self) -> bool:
        """Whether the function is a `torch.autograd.Function`."""
        return _is_autograd(getattr(self._own["function"], "__self__", None))

    @property
    def has_own_jvp(self) -> bool:
        """Whether it is a `torch.autograd.Function` with a forward mode of its own."""
        return self.is_autograd_function and self._own["function"].__self__.jvp is not torch.autograd.Function.jvp

    @property
    def values(self) -> list[torch.Tensor]:
        """Copies of the numbers that the tensors which require a gradient store."""
        return [values_of(tensor).clone() for tensor in self.checked.values()]

    @property
    def dtypes(self) -> set[torch.dtype]:
        """The dtypes of the tensors that are checked, and of the outputs."""
        return {tensor.dtype for tensor in self.checked.values()} | {dtype for _, dtype, _ in self.forms}

    @property
    def flat_arrays(self) -> list[NDArray[Any]]:
        """The arrays of `arrays`, one after another."""
        return list(_leaves(self.arrays))

    def first_output(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gives the first output that has a gradient, in float64, at some values of the tensors that are checked."""
        _, found = self.called(values, in_double=True)
        return dict(walk(found))[self.outputs[0]].to_dense()

    @property
    def own_function(self) -> Any:
        """The copy of the function that is run in its own dtypes."""
        return self._own["function"]

    @property
    def own_arguments(self) -> tuple[Any, ...]:
        """Copies of the arguments, as they were given."""
        return tuple(self._own["inputs"])

    def given(self) -> dict[str, torch.Tensor]:
        """Gives the tensors among the arguments, as they were given, by name."""
        pairs = (pair for k, part in enumerate(self._own["inputs"]) for pair in walk(part, f"inputs[{k}]"))
        return {name: leaf for name, leaf in pairs if isinstance(leaf, torch.Tensor)}

    @property
    def _is_module(self) -> bool:
        return isinstance(self._in_double["function"], nn.Module)

    def frozen(self) -> AbstractContextManager[Any]:
        """Gives a context in which the function gets the random numbers that it drew."""
        return Frozen(self.draws) if self.draws else nullcontext()

    def _by_argument(self, arrays: list[NDArray[Any]]) -> tuple[Any, ...]:
        rest = iter(arrays)
        groups = [{path: next(rest) for path in paths} for paths in self._paths]
        return tuple(group.get("", group) if group else None for group in groups)

    def _run(
        self, arrays: tuple[Any, ...], begin: Callable[[list[torch.Tensor]], None] = _nothing
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Calls the function with tensors made of the arrays. `begin` is called with these before that.

        It returns these tensors, and by their paths those outputs that have a gradient.
        """
        survive_a_fork()
        in_double = all(np.asarray(array).dtype in (np.float64, np.complex128) for array in _leaves(arrays))
        with with_gradients():
            leaves = [torch.as_tensor(array).clone().requires_grad_() for array in _leaves(arrays)]
            begin(leaves)
            _, found = self.called(leaves, in_double)
            return leaves, {path: leaf.to_dense() for path, leaf in walk(found) if _requires_grad(leaf)}

    def called(self, leaves: Sequence[torch.Tensor], in_double: bool) -> tuple[list[Any], Any]:
        """Calls the copy of the function, or that in float64, with copies of its arguments.

        It returns these arguments and what the function gives.

        Parameters
        ----------
        leaves : sequence of tensor
            The numbers that each tensor which requires a gradient stores. A leaf that is there twice becomes one tensor
            that the function is given twice.
        in_double : bool
        """
        copies = self._in_double if in_double else self._own
        copies.restore()
        torch.clear_autocast_cache()
        made: dict[int, torch.Tensor] = {}
        for tensor, leaf in zip(self.checked.values(), leaves, strict=True):
            if id(leaf) not in made:
                own = leaf if in_double else leaf.to(tensor.dtype)  # an array of bfloat16 is one of float32
                made[id(leaf)] = like_sparse(tensor, own.to(tensor.device).clone())
        new = iter([made[id(leaf)] for leaf in leaves])
        arguments = [_filled(part, new) for part in copies["inputs"]]
        try:
            return arguments, copies["function"](*arguments)
        except RuntimeError as error:
            if in_double and "double" in str(error).lower():
                raise TypeError(
                    f"function: it was given float64 tensors, and some tensor that it holds or makes is of another "
                    f"dtype ({error}). Let it compute in the dtype of what it is given, as by W.to(x); or give it "
                    "that tensor as an input, or as a buffer of a module"
                ) from error
            raise


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


def _random(rng: np.random.Generator, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Makes a tensor of normal random numbers."""
    numbers = rng.standard_normal(tuple(shape))
    own = numbers + 1j * rng.standard_normal(tuple(shape)) if dtype.is_complex else numbers
    return torch.as_tensor(own).to(device, dtype)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad
