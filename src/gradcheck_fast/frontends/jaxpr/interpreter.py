"""Evaluates a jaxpr equation by equation, in NumPy, on arrays that record what is done to them.

What depends on no parameter is plain: JAX itself evaluates it, unless NumPy does the same without compiling anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from os.path import dirname
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gradcheck_fast.frontends.jaxpr import families
from gradcheck_fast.frontends.jaxpr.bound import Bound, as_plain, is_key
from gradcheck_fast.frontends.jaxpr.complex_numbers import evaluated
from gradcheck_fast.frontends.jaxpr.control import sub_jaxpr
from gradcheck_fast.frontends.jaxpr.registry import Equation
from gradcheck_fast.frontends.jaxpr.sources import Sources
from gradcheck_fast.frontends.numpy_trace.instructions import NOWHERE
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.frontends.operators.elementary import is_traced
from gradcheck_fast.inputs.users_files import is_users_file

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

RULES = families.RULES
_JAX = dirname(jax.__file__)
#: Steps that may lie between the largest entries and their ``stop_gradient``.
_ON_THE_WAY = {"maximum", "select", "reshape", "strided", "gather"}


class Stops(Enum):
    """At which calls of ``stop_gradient`` what it returns is taken for constant."""

    #: Where it is the largest of some entries. A softmax subtracts the largest score in that way: as a step, this would
    #: have a kink wherever two scores are equal. That the function does not depend on it is verified.
    LARGEST = auto()
    #: Nowhere: the value of a function does depend on it.
    NONE = auto()
    #: Wherever it stops a gradient: that is another function, whose gradient is what ``jax.grad`` finds. In JAX's own
    #: functions, such as ``jnp.linalg.solve``, rules of their own for derivatives go around it.
    ALL = auto()


class Interpreter:
    """Evaluates jaxprs while a recording is open.

    Parameters
    ----------
    recording : Recording
    within : callable
        Returns the context in which JAX computes in float64.
    stops : Stops

    Attributes
    ----------
    fixed : bool
        Whether anything was taken for constant in that way.
    stopped : list of Source
        The lines with any other ``stop_gradient``, but for those of JAX's own functions.
    has_index_outside : bool
        Whether an index is out of bounds where the function promises that none is. ``jax.grad`` is not the gradient of
        the value then.
    """

    def __init__(self, recording: Recording, within: Callable[[], AbstractContextManager[None]], stops: Stops) -> None:
        self.recording = recording
        self.fixed, self.stopped = False, []  # type: ignore[var-annotated]
        self.has_index_outside = False
        self._within, self._stops = within, stops
        self._sources = Sources(is_users_file)
        self._simple: dict[int, bool] = {}
        self._line = self._outer = NOWHERE
        recording.source = lambda: self._line

    def run(self, jaxpr: Any, args: Sequence[Any]) -> list[Any]:
        """Evaluates a jaxpr, open or closed."""
        constants = getattr(jaxpr, "consts", ())
        jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
        outer, self._outer = self._outer, self._line
        known = dict(zip(jaxpr.constvars, map(as_plain, constants), strict=True))
        known.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return np.asarray(atom.val, atom.aval.dtype) if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            if equation.outvars:  # the others print something
                found = self._evaluated(equation, [read(atom) for atom in equation.invars])
                known.update(zip(equation.outvars, found, strict=True))
        self._line, self._outer = self._outer, outer
        return [read(atom) for atom in jaxpr.outvars]

    def _evaluated(self, equation: Any, x: list[Any]) -> list[Any]:
        if any(is_traced(value) or type(value) is ComplexArray for value in x):
            self._line = self._sources.of(equation, self._outer)
            return self.traced(equation, x)
        if not self._is_simple(equation):
            return self.bound(equation, x)
        return self._finished(equation, RULES[equation.primitive.name].function(Equation(self, equation), *x))

    def traced(self, equation: Any, x: Sequence[Any]) -> list[Any]:
        """Evaluates an equation, some of whose inputs depend on the parameters, by its rule."""
        name = equation.primitive.name
        rule = RULES.get(name)
        if rule is None or not rule.counts:
            x = [
                self.plain(value, atom.aval.dtype, f"{name} of")
                if is_traced(value) and value.dtype != np.bool_ and atom.aval.dtype.kind in "iu"
                else value
                for value, atom in zip(x, equation.invars, strict=True)
            ]
            if not any(is_traced(value) or type(value) is ComplexArray for value in x):
                return self._evaluated(equation, list(x))
        is_call = rule is not None and rule.is_call
        if not is_call and any(atom.aval.dtype.kind == "c" for atom in (*equation.invars, *equation.outvars)):
            return self._finished(equation, evaluated(Equation(self, equation), rule, x))
        if rule is None:
            return self.bound(equation, x)
        if not is_call:
            x = [value if is_traced(value) else _as_numpys_float(value) for value in x]
        return self._finished(equation, rule.function(Equation(self, equation), *x))

    def bound(self, equation: Any, x: Sequence[Any]) -> list[Any]:
        """Evaluates an equation by JAX; where its inputs are traced, as a step that is differenced by itself."""
        call = Bound(equation, self._within)
        if any(type(value) is ComplexArray for value in x):
            raise self.recording.untraceable(f"{call.__name__} of complex numbers")
        if any(is_traced(value) for value in x):
            if equation.effects:
                raise self.recording.untraceable(f"{call.__name__}, which does more than it returns")
            found = self.recording.opaque(call, x, {})
        else:
            found = call(*x)
        return self._finished(equation, found)

    def is_constant(self, equation: Any, x: Any) -> bool:
        """Whether what a ``stop_gradient`` of an array returns is taken for constant."""
        is_largest = self._is_largest(x)
        if is_largest:
            self.fixed = True
            if self._stops is Stops.LARGEST:
                return True
        if self._sources.is_called_by(equation, "stop_gradient", _JAX):
            return is_largest and self._stops is Stops.ALL
        self.stopped.append(self._line)
        return self._stops is Stops.ALL

    def _is_largest(self, x: Any) -> bool:
        """Whether an array has the largest of other entries, whatever else is done to them where they are infinite."""
        steps, open_steps = self.recording.program.steps, [x._step()]
        found = False
        while open_steps:
            step = steps[open_steps.pop()]
            found = found or step.name == "max"
            if step.name in _ON_THE_WAY:
                open_steps += step.inputs
            elif step.name not in ("max", "constant"):
                return False
        return found

    def plain(self, x: Any, dtype: Any, what: str) -> Any:
        """Returns the numbers of an array at the parameters, for a use that has no slope; the use is noted."""
        if not is_traced(x):
            return x
        self.recording.leak(f"{what} integers that depend on the parameters")
        return x._view.astype(dtype)

    def _finished(self, equation: Any, found: Any) -> list[Any]:
        """Returns what an equation gave as arrays of the dtypes that it should have."""
        parts = found if isinstance(found, (list, tuple)) and type(found) is not ComplexArray else [found]
        return [self._as_declared(equation, *pair) for pair in zip(equation.outvars, parts, strict=True)]

    def _as_declared(self, equation: Any, variable: Any, value: Any) -> Any:
        shape, dtype = variable.aval.shape, getattr(variable.aval, "dtype", None)
        if dtype is None or is_key(dtype):
            return value
        if tuple(value.shape) != tuple(shape):
            raise self.recording.untraceable(f"{equation.primitive.name} gives the shape {value.shape}, not {shape}")
        if type(value) is ComplexArray:
            return value
        if is_traced(value):
            if value._node is None and value._storage is None:
                return np.asarray(value._view, dtype)
            is_mask = value.dtype == np.bool_
            if dtype == np.bool_:
                return value if is_mask else self.recording.as_mask(value)
            return self.recording.as_numbers(value) if is_mask else value
        return value if value.dtype == dtype else np.asarray(value, dtype)

    def _is_simple(self, equation: Any) -> bool:
        """Whether NumPy does with plain arrays what JAX does."""
        rule = RULES.get(equation.primitive.name)
        if rule is None or not rule.is_plain:
            return False
        inner = sub_jaxpr(equation.params) if rule.is_call else None
        if inner is None:
            return True
        found = self._simple.get(id(inner))
        if found is None:
            eqns = getattr(inner, "jaxpr", inner).eqns
            found = self._simple[id(inner)] = all(self._is_simple(own) for own in eqns)
        return found


def _as_numpys_float(x: Any) -> Any:
    """Returns an array of bfloat16, or of another dtype that NumPy does not have, as float64."""
    return x.astype(np.float64) if x.dtype.kind == "V" else x
