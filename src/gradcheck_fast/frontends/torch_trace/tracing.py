"""Writes down what a PyTorch function does while it runs: every operator that reads a value of a parameter, in NumPy.

The function computes with PyTorch as always. Beside each tensor that depends on a parameter there is a traced array,
which the rule of the operator computes from those of its arguments. Its value is compared with that of the tensor at
once, so that no rule is believed. Operators without a rule, or whose rule computes something else, become opaque steps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.torch_trace.held import Held
from gradcheck_fast.frontends.torch_trace.memory import Memory
from gradcheck_fast.frontends.torch_trace.mode import Mode, name_of, tensors_in
from gradcheck_fast.frontends.torch_trace.operators import RULES
from gradcheck_fast.frontends.torch_trace.operators.registry import CONSTANT, WRITERS, Call, Unsupported
from gradcheck_fast.numerical.gradient import EPSILON
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The code of every call of a module.
_CALL = nn.Module._call_impl.__code__
#: A rule is right if its values are those of PyTorch to this part of the largest of them, or of the arguments.
SAME_VALUE, OF_ARGUMENTS = 1e-10, 1e-12
#: The same where numbers were rounded to fewer digits on the way, in such roundings.
COARSE_ROUNDINGS = 1024.0
#: What to write where a Python number is made, which autograd does not follow.
_IN_PLACE_OF_NUMBERS = "tensors alone, or .detach() before it where a constant is meant,"
#: Operators that give a tensor other memory.
_OTHER_MEMORY = ("set_", "resize_", "resize_as_", "swap_")


class OpaqueOperator:
    """An operator of PyTorch's as a function of arrays.

    Parameters
    ----------
    namespace, name, overload : str
        Where it is found in `torch.ops`.
    """

    def __init__(self, namespace: str, name: str, overload: str) -> None:
        self._found_at = namespace, name, overload
        self.__name__, self.__module__ = name, f"torch.ops.{namespace}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        namespace, name, overload = self._found_at
        operator = getattr(getattr(getattr(torch.ops, namespace), name), overload)
        with torch.no_grad():
            found = operator(*_tensors(args), **_tensors(kwargs))
        return tuple(map(_plain, found)) if isinstance(found, (tuple, list)) else _plain(found)


class Tracing(Mode):
    """Traces the operations of this thread.

    Parameters
    ----------
    recording : Recording
    parameters : dict of tensor
        The tensors whose values are the parameters, by name.
    arrays : dict of TracedArray
        Their values.
    modules : dict of Module
        The modules that run, by their names.
    held : Held, optional
        Takes what rules hold fixed. None: nothing is held fixed.
    """

    def __init__(
        self, recording: Recording, parameters: Mapping[str, torch.Tensor], arrays: Mapping[str, TracedArray],
        modules: Mapping[str, nn.Module], held: Held | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.recording, self.memory = recording, Memory(recording)
        for name, tensor in parameters.items():
            self.memory.put(tensor, arrays[name])
        self._sources = Sources(recording, modules)
        self._held, self._passes = held, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [tensor for tensor in tensors_in((args, kwargs)) if self.memory.knows(tensor)]
        if (
            not given or self._passes or (isinstance(func, torch._ops.OpOverload) and func.namespace == "prim")
        ):  # shapes alone
            return func(*args, **kwargs)
        self._sources.forget()
        name = name_of(func)
        if not name:
            raise self.recording.untraceable(f"{func} calls functions of PyTorch by itself")
        if name == "_local_scalar_dense":
            return self._number(func, *args)
        if torch.Tag.inplace_view in func.tags and name not in _OTHER_MEMORY:  # the tensor sees its memory otherwise
            return func(*args, **kwargs)
        if name not in RULES and func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            with self:
                return func.decompose(*args, **kwargs)
        if name in WRITERS:
            return self._updates(func, name, args, kwargs)
        if func._schema.is_mutable:
            return self._writes(func, name, args, kwargs)
        found = func(*args, **kwargs)
        results = list(tensors_in(found))
        if not results:
            self.recording.leak(f"{name} makes {type(found).__name__} of a value that depends on the parameters")
        elif name not in CONSTANT and not all(map(self.memory.knows, results)):  # it is no view
            self._record(func, name, given, found, self._with_arrays((args, kwargs)))
        return found

    def value(self, tensor: torch.Tensor) -> Any:
        """Returns the values of a tensor: traced, if they depend on parameters."""
        return self.memory.array(tensor) if self.memory.knows(tensor) else self.memory.plain(tensor)

    def source(self) -> Source:
        """Returns where in the user's code this is."""
        self._sources.forget()
        return self._sources.running()

    def constant(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns a copy of a tensor that depends on no parameter."""
        self._passes = True
        try:
            return tensor.clone()
        finally:
            self._passes = False

    def hold(self, parameter: torch.Tensor, row: int) -> None:
        """Takes a row of a parameter as a constant."""
        self.memory.array(parameter)[row] = _plain(parameter)[row].copy()

    def _number(self, func: Any, tensor: torch.Tensor) -> Any:
        """Makes a Python number, which is fixed from then on."""
        array = self.memory.array(tensor)
        if array.dtype == np.bool_:
            self.recording.truth(array)
        else:
            self.recording.plain_number(array, "a Python number is made", _IN_PLACE_OF_NUMBERS)
        return func(tensor)

    def _with_arrays(self, tree: Any) -> Any:
        """Replaces the tensors among arguments by their values."""
        if isinstance(tree, torch.Tensor):
            return self.value(tree)
        if isinstance(tree, dict):
            return {key: self._with_arrays(child) for key, child in tree.items()}
        return type(tree)(map(self._with_arrays, tree)) if type(tree) in (tuple, list) else tree

    # ---- new tensors

    def _record(self, func: Any, name: str, given: Sequence[torch.Tensor], found: Any, traced: Any) -> None:
        """Notes the values of the new tensors that an operator gave for some that are known."""
        outputs = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        values, agree = self._by_rule(name, outputs, traced)
        if not agree:
            self._require_unwritten(given)
            values = self._opaque(func, outputs, traced, isinstance(found, (tuple, list)), bool(values))
        self._keep(name, outputs, values)

    def _keep(self, name: str, outputs: tuple[Any, ...], values: tuple[Any, ...]) -> None:
        for output, value in zip(outputs, values, strict=True):
            if not isinstance(output, torch.Tensor) or self.memory.knows(output):
                continue
            if value is None and output.is_floating_point():
                self.memory.put_unknown(output, name)
            elif type(value) is TracedArray and value._step() is not None:
                self.memory.put(output, value)

    def _require_unwritten(self, given: Sequence[torch.Tensor]) -> None:
        """Raises an error if tensors have other values than those that were written down."""
        for tensor in given:
            if not _agrees(self.memory.array(tensor), _plain(tensor), 0.0, self.recording.rounding):
                raise self.recording.untraceable(
                    "a tensor that depends on the parameters has other values than its operations give: it was written "
                    "into by something else than PyTorch, or roundings have grown to a size that shows"
                )

    def _by_rule(self, name: str, outputs: tuple[Any, ...], traced: Any) -> tuple[tuple[Any, ...], bool]:
        """Returns what the rule of an operator gives, and whether that is what PyTorch gave."""
        rule = RULES.get(name)
        if rule is None:
            return (), False
        args, kwargs = traced
        plain = tuple(_plain(output) for output in outputs)
        try:
            values = rule(Call(self.recording, plain, self._held), *args, **kwargs)
        except Untraceable:
            raise
        except Unsupported:
            return (), False
        except Exception as error:
            self.recording.note(f"the rule of {name} does not take these arguments ({type(error).__name__}: {error})")
            return (), False
        values = tuple(values) if isinstance(values, (tuple, list)) else (values,)
        values += (None,) * (len(outputs) - len(values))
        fitted = tuple(
            self._fitted(value, output, right) for value, output, right in zip(values, outputs, plain, strict=True)
        )
        size = max((_largest(array) for array in _arrays((args, kwargs))), default=0.0)
        agree = all(
            value is None or _agrees(value, right, size, self.recording.rounding)
            for value, right in zip(fitted, plain, strict=True)
        )
        return fitted, agree

    def _fitted(self, value: Any, output: Any, right: Any) -> Any:
        """Returns a value of a rule as one of the kind of the tensor: a mask if that is of bool."""
        if value is None or not isinstance(output, torch.Tensor):
            return None
        value = self.recording.traced(value)
        is_mask = value.dtype == np.bool_
        if (output.dtype is torch.bool) != is_mask:
            value = self.recording.as_numbers(value) if is_mask else self.recording.mask(value)
        if output.is_floating_point() and output.dtype is not torch.float64:
            self.recording.cast(value, right.dtype)  # which notes it
        return value

    def _opaque(
        self, func: Any, outputs: tuple[Any, ...], traced: Any, several: bool, differs: bool
    ) -> tuple[Any, ...]:
        """Records an operator that is not known as steps that are differenced by themselves."""
        if differs:
            self.recording.note(f"the rule of {func} does not give what PyTorch gives here")
        if any(isinstance(output, torch.Tensor) and output.is_complex() for output in outputs):
            raise self.recording.untraceable(f"{func} makes complex numbers that depend on the parameters")
        args, kwargs = traced
        called = OpaqueOperator(func.namespace, name_of(func), func._overloadname)
        values = self.recording.opaque(called, _kept(args), _kept(kwargs))
        values = tuple(values) if several else (values,)
        if not any(type(value) is TracedArray for value in values):
            self.recording.leak(f"{func} makes integers of a value that depends on the parameters")
        return values

    # ---- tensors that are written to

    def _updates(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Runs an operator that gives new tensors and writes into some of its arguments, too."""
        targets = [args[place] if place < len(args) else None for place in WRITERS[name]]
        targets = [target for target in targets if target is not None]
        for target in targets:
            self.memory.prepare(target)
        traced = self._with_arrays((args, kwargs))
        found = func(*args, **kwargs)
        outputs = tuple(found)
        values, agree = self._by_rule(name, (*outputs, *targets), traced)
        if not agree:
            raise self.recording.untraceable(f"{func} writes into a tensor, and is not known")
        self._keep(name, outputs, values[: len(outputs)])
        for target, value in zip(targets, values[len(outputs) :], strict=True):
            self.memory.write(target, value)
        return found

    def _writes(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Runs an operator that writes into some of its arguments, and notes what it wrote."""
        schema = func._schema.arguments
        named = dict(zip((argument.name for argument in schema), args, strict=False)) | kwargs
        written = [a.name for a in schema if a.alias_info is not None and a.alias_info.is_write]
        targets = [named.get(argument) for argument in written]
        if name in _OTHER_MEMORY or not all(isinstance(target, torch.Tensor) for target in targets):
            raise self.recording.untraceable(f"{func} gives a tensor other memory, or writes into several")
        for target in targets:
            self.memory.prepare(target)
        base, out = name.removesuffix("_"), [a.name for a in schema if a.kwarg_only and a.name in written]
        arguments = self._with_arrays((args, {key: value for key, value in kwargs.items() if key not in out}))
        found = func(*args, **kwargs)
        values: tuple[Any, ...]
        if base in CONSTANT:
            values, agree = tuple(_plain(target).copy() for target in targets), True
        else:
            values, agree = self._by_rule(base, tuple(targets), arguments)
        if not agree:
            raise self.recording.untraceable(f"{func} writes into a tensor, and is not known")
        for target, value in zip(targets, values, strict=True):
            self.memory.write(target, value)
        return found


class Sources:
    """Says where in the user's code, and in which module, an operation runs.

    Parameters
    ----------
    recording : Recording
        It is told what this says.
    modules : dict of Module
    """

    def __init__(self, recording: Recording, modules: Mapping[str, nn.Module]) -> None:
        self._line = recording.source
        self._names = {
            id(module): f"{name} ({type(module).__name__})" if name else type(module).__name__
            for name, module in modules.items()
        }
        self._known: Source | None = None
        recording.source = self.running

    def forget(self) -> None:
        """Notes that another operation begins."""
        self._known = None

    def running(self) -> Source:
        """Returns the user's line that is running, with the name of the module."""
        if self._known is None:
            line, module = self._line(), _running_module()
            name = "" if module is None else self._names.get(id(module), type(module).__name__)
            self._known = line._replace(name=name) if name else line
        return self._known


def _running_module() -> nn.Module | None:
    """Returns the innermost module whose forward is running."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not _CALL:
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else frame.f_locals.get("self")


def _plain(output: Any) -> Any:
    """Returns the numbers of a tensor; other results as they are."""
    if not isinstance(output, torch.Tensor):
        return output
    output = output.detach()
    if output.layout is not torch.strided:
        output = output.to_dense()
    return (output.float() if output.dtype is torch.bfloat16 else output).resolve_conj().resolve_neg().numpy()


def _tensors(tree: Any) -> Any:
    """Replaces arrays by tensors of copies of them."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    if isinstance(tree, dict):
        return {key: _tensors(child) for key, child in tree.items()}
    return type(tree)(map(_tensors, tree)) if isinstance(tree, (tuple, list)) else tree


def _kept(tree: Any) -> Any:
    """Copies the plain arrays among arguments, whose memory is PyTorch's; numbers become those of float64."""
    if type(tree) is np.ndarray:
        return tree.astype(np.float64 if tree.dtype.kind == "f" else tree.dtype)
    if isinstance(tree, dict):
        return {key: _kept(child) for key, child in tree.items()}
    return type(tree)(map(_kept, tree)) if type(tree) in (tuple, list) else tree


def _arrays(tree: Any) -> Iterator[NDArray[Any]]:
    """Yields the plain values of the arrays among arguments."""
    if type(tree) is TracedArray:
        yield tree._view
    elif isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, (tuple, list, dict)):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _arrays(child)


def _largest(array: NDArray[Any]) -> float:
    """Returns the size of the largest finite number of an array."""
    if array.dtype.kind not in "fc" or not array.size:
        return 0.0
    largest = float(np.abs(array).max())
    return largest if np.isfinite(largest) else float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def _agrees(value: TracedArray, right: Any, size: float, rounding: float) -> bool:
    """Whether the values of a rule are those of PyTorch, but for rounding.

    `size` is that of the arguments, and `rounding` that of the coarsest numbers on the way.
    """
    own = value._view
    if not isinstance(right, np.ndarray) or own.shape != right.shape:
        return False
    if right.dtype.kind != "f":
        return bool(np.array_equal(own, right))
    with np.errstate(invalid="ignore"):
        off = np.abs(own - right)
        allowed = SAME_VALUE * _largest(right) + OF_ARGUMENTS * size
        if rounding > EPSILON:
            allowed *= COARSE_ROUNDINGS * rounding / SAME_VALUE
        if off.size and not off.max() <= allowed:
            return bool(((off <= allowed) | (own == right) | (np.isnan(own) & np.isnan(right))).all())
    return True
