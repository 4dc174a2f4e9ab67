"""Calls functions that are not known, and makes a step of each array that they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording


@dataclass(frozen=True)
class Hole:
    """The place of a traced array in the arguments of a call."""

    number: int


@dataclass(frozen=True)
class OpaqueCall:
    """A call of a function that is not known, as a function of the traced arrays among its arguments.

    Attributes
    ----------
    function : callable
    args, kwargs : list, dict
        The arguments, with a `Hole` for each traced array.
    part : int or None
        Which of the arrays that it returns is meant, if it returns several.
    """

    function: Any
    args: list[Any]
    kwargs: dict[str, Any]
    part: int | None

    @property
    def __name__(self) -> str:
        return str(getattr(self.function, "__name__", self.function))

    def __call__(self, *x: NDArray[np.float64]) -> NDArray[np.float64]:
        given = [np.array(array) for array in x]  # the function may write into them
        found = self.function(*_filled(self.args, given), **_filled(self.kwargs, given))
        return np.array(found if self.part is None else found[self.part], np.float64)


def _filled(value: Any, x: Sequence[Any]) -> Any:
    if isinstance(value, Hole):
        return x[value.number]
    if isinstance(value, (list, tuple)):
        parts = [_filled(part, x) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return {key: _filled(part, x) for key, part in value.items()} if isinstance(value, dict) else value


def call_opaque(recording: Recording, function: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """Calls a function with plain arrays in place of the traced ones.

    Raises
    ------
    Untraceable
        If it returns something else than arrays and numbers, or complex ones, or if it writes into its arguments.
    """
    x: list[Any] = []

    def with_holes(value: Any) -> Any:
        if type(value) is TracedArray:
            x.append(value)
            return Hole(len(x) - 1)
        if isinstance(value, (list, tuple)):
            parts = [with_holes(part) for part in value]
            return parts if isinstance(value, list) else tuple(parts)
        return {key: with_holes(part) for key, part in value.items()} if isinstance(value, dict) else value

    call = OpaqueCall(function, with_holes(list(args)), with_holes(dict(kwargs)), None)
    name = getattr(function, "__name__", repr(function))
    before = [at._view.copy() for at in x]
    given = [at._view.copy() for at in x]
    found = function(*_filled(call.args, given), **_filled(call.kwargs, given))
    if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(before, given, strict=True)):
        raise recording.untraceable(f"{name} writes into an array that depends on the parameters")
    if all(at._step() is None for at in x):
        return found

    def one(value: Any, part: int | None) -> Any:
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            raise recording.untraceable(f"{name} returns {type(value).__name__}, of values that depend on parameters")
        array = np.asarray(value)
        if array.dtype.kind == "c":
            raise recording.untraceable(f"{name} returns complex numbers")
        if array.dtype.kind != "f":
            if array.dtype.kind not in "biu":
                recording.leak(f"an array of {array.dtype} is made by {name} of a value that depends on the parameters")
            return value
        recording.note(f"{getattr(function, '__module__', '') or 'numpy'}.{name} is differenced by itself, not exactly")
        own = OpaqueCall(function, call.args, call.kwargs, part)
        return recording.step("opaque", x, array, function=own, shape=array.shape)

    if isinstance(found, (tuple, list)):
        parts = [one(value, k) for k, value in enumerate(found)]
        return type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
    return one(found, None)
