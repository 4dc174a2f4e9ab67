"""Where the functions that a trace knows are collected: each family registers its own when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_functions: dict[Any, Callable[..., Any]] = {}
_scipy: dict[str, Callable[..., Any]] = {}
#: What a function of NumPy's, or another that is called in a trace, does with traced arrays. It is called with the
#: recording and then with the arguments of the call. It can only be read: `implements` fills it, while the families are
#: imported.
FUNCTIONS: Mapping[Any, Callable[..., Any]] = MappingProxyType(_functions)
#: Functions of SciPy's, by name: SciPy is not imported for them. It can only be read, too.
SCIPY: Mapping[str, Callable[..., Any]] = MappingProxyType(_scipy)


def implements(*functions: Any, scipy: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers what follows for these functions; None among them, where this NumPy lacks one, is left out."""

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            if function is not None:
                _functions[function] = implementation
        if scipy:
            _scipy[scipy] = implementation
        return implementation

    return register


class Known(NamedTuple):
    """What is known of NumPy. Each is a function of a recording and of the arguments that NumPy's own has.

    Attributes
    ----------
    ufunc : callable
        ``ufunc(recording, ufunc, method, inputs, kwargs)`` does what a ufunc does.
    function : callable
        ``function(recording, function, args, kwargs)`` does what a function of NumPy's does.
    opaque : callable
        ``opaque(recording, function, args, kwargs)`` calls any other function with plain arrays, and makes steps of
        what it returns.
    stack : callable
        ``stack(recording, values)`` makes an array of nested lists.
    """

    ufunc: Callable[..., Any]
    function: Callable[..., Any]
    opaque: Callable[..., Any]
    stack: Callable[..., Any]
