"""Writes down what a PyTorch function does while it runs: every operator that reads a value of a parameter, in NumPy.

The function computes with PyTorch as always. Beside each tensor that depends on a parameter there is a traced array,
which the rule of the operator computes from those of its arguments. Its value is compared with that of the tensor at
once, so that no rule is believed. Operators without a rule, or whose rule computes something else, become opaque steps.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.frontends.torch_trace.agreement import agrees, arrays_in, largest
from gradcheck_fast.frontends.torch_trace.held import Held
from gradcheck_fast.frontends.torch_trace.memory import Memory
from gradcheck_fast.frontends.torch_trace.mode import Mode, name_of, tensors_in
from gradcheck_fast.frontends.torch_trace.opaque import OpaqueOperator, kept, plain
from gradcheck_fast.frontends.torch_trace.operators import RULES
from gradcheck_fast.frontends.torch_trace.operators.complex_numbers import has_complex, rule_of
from gradcheck_fast.frontends.torch_trace.operators.registry import CONSTANT, WRITERS, Call, Unsupported
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The code of every call of a module.
_CALL = nn.Module._call_impl.__code__
#: What to write where a Python number is made, which autograd does not follow.
_IN_PLACE_OF_NUMBERS = "tensors alone, or .detach() before it where a constant is meant,"
#: Operators that give a tensor other memory.
_OTHER_MEMORY = ("set_", "resize_", "resize_as_", "swap_")


class Tracing(Mode):
    """Traces the operations of this thread.

    Parameters
    ----------
    recording : Recording
    parameters : dict of tensor
        The tensors whose values are the parameters, by name.
    arrays : dict of TracedArray
        Their values; of a complex tensor z, those of "z.real" and of "z.imag".
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
            is_pair = tensor.is_complex() and name not in arrays
            pair = [f"{name}.{part}" for part in ComplexArray._fields]
            self.memory.put(tensor, ComplexArray(*(arrays[part] for part in pair)) if is_pair else arrays[name])
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
        results = tensors_in(found)
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
        self.memory.write(parameter[row], plain(parameter)[row].copy())

    def _number(self, func: Any, tensor: torch.Tensor) -> Any:
        """Makes a Python number, which is fixed from then on."""
        array = self.memory.array(tensor)
        for part in (array,) if type(array) is TracedArray else array:
            if part.dtype == np.bool_:
                self.recording.truth(part)
            else:
                self.recording.plain_number(part, "a Python number is made", _IN_PLACE_OF_NUMBERS)
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
            if value is None and (output.is_floating_point() or output.is_complex()):
                self.memory.put_unknown(output, name)
            elif any(part._step() is not None for part in _parts(value)):
                self.memory.put(output, value)

    def _require_unwritten(self, given: Sequence[torch.Tensor]) -> None:
        """Raises an error if tensors have other values than those that were written down."""
        for tensor in given:
            if not agrees(self.memory.array(tensor), plain(tensor), 0.0, self.recording.rounding):
                raise self.recording.untraceable(
                    "a tensor that depends on the parameters has other values than its operations give: it was written "
                    "into by something else than PyTorch, or roundings have grown to a size that shows"
                )

    def _by_rule(self, name: str, outputs: tuple[Any, ...], traced: Any) -> tuple[tuple[Any, ...], bool]:
        """Returns what the rule of an operator gives, and whether that is what PyTorch gave."""
        args, kwargs = traced
        right = tuple(plain(output) for output in outputs)
        rule = rule_of(name) if has_complex((traced, right)) else RULES.get(name)
        if rule is None:
            return (), False
        try:
            values = rule(Call(self.recording, right, self._held), *args, **kwargs)
        except Untraceable:
            raise
        except Unsupported:
            return (), False
        except Exception as error:
            self.recording.note(f"the rule of {name} does not take these arguments ({type(error).__name__}: {error})")
            return (), False
        values = tuple(values) if type(values) in (tuple, list) else (values,)
        values += (None,) * (len(outputs) - len(values))
        fitted = tuple(self._fitted(*triple) for triple in zip(values, outputs, right, strict=True))
        size = max((largest(array) for array in arrays_in((args, kwargs))), default=0.0)
        agree = all(
            value is None or agrees(value, its, size, self.recording.rounding)
            for value, its in zip(fitted, right, strict=True)
        )
        return fitted, agree

    def _fitted(self, value: Any, output: Any, right: Any) -> Any:
        """Returns a value of a rule as one of the kind of the tensor: a mask if that is of bool."""
        if value is None or not isinstance(output, torch.Tensor):
            return None
        if output.is_complex():
            pair = ComplexArray.of(value).each(lambda part: self.recording.as_numbers(self.recording.traced(part)))
            if output.dtype is not torch.complex128:
                self.recording.cast(pair.real, right.real.dtype)  # which notes it
            return pair
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
        args, kwargs = traced
        called = OpaqueOperator(func.namespace, name_of(func), func._overloadname)
        values = self.recording.opaque(called, kept(args), kept(kwargs))
        values = tuple(values) if several else (values,)
        if not any(type(value) is TracedArray for value in values):
            self.recording.leak(f"{func} makes integers of a value that depends on the parameters")
        return tuple(
            ComplexArray(value[..., 0].copy(), value[..., 1].copy())
            if isinstance(output, torch.Tensor) and output.is_complex() else value
            for output, value in zip(outputs, values, strict=True)
        )  # fmt: skip

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
            values, agree = tuple(plain(target).copy() for target in targets), True
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


def _parts(value: Any) -> tuple[Any, ...]:
    """Returns the traced arrays that a value of a rule consists of."""
    return tuple(value) if type(value) is ComplexArray else (value,) if type(value) is TracedArray else ()
