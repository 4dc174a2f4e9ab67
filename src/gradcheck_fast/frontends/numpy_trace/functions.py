"""All functions of NumPy that a trace knows, of all families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradcheck_fast.frontends.numpy_trace import (
    choices,
    complex_functions,
    creation,
    linear_algebra,
    looking,
    movement,
    numerics,
    ordering,
    products,
    reductions,
    special,
    ufuncs,
    writing,
)
from gradcheck_fast.frontends.numpy_trace.complex_array import is_complex
from gradcheck_fast.frontends.numpy_trace.opaque import call_opaque
from gradcheck_fast.frontends.numpy_trace.registry import FUNCTIONS, SCIPY, Known

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The families, each of which registers its functions when it is imported.
FAMILIES = (
    choices, creation, linear_algebra, looking, movement, numerics, ordering, products, reductions, special, writing,
)  # fmt: skip


def _ufunc(recording: Recording, ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Does what a ufunc does with real or complex inputs."""
    apply = complex_functions.ufunc if any(map(is_complex, inputs)) else ufuncs.apply
    return apply(recording, ufunc, method, inputs, kwargs)


def _function(recording: Recording, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Does what a function does with real or complex arguments."""
    if complex_functions.takes(function, args, kwargs):
        return complex_functions.call(recording, function, args, kwargs)
    known = FUNCTIONS.get(function)
    return call_opaque(recording, function, args, kwargs) if known is None else known(recording, *args, **kwargs)


#: What a recording knows of NumPy.
KNOWN = Known(_ufunc, _function, call_opaque, movement.stack_nested)

__all__ = ["FAMILIES", "FUNCTIONS", "KNOWN", "SCIPY"]
