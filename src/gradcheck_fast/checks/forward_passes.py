"""Recognises forward passes that return what their backward pass needs, beside their outputs: ``(out, cache)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from gradcheck_fast.inputs.trees import walk


def form_with_cache(f: Callable[..., Any], inputs: Any) -> str:
    """Calls a function once more, and says in which form it returns a cache beside its outputs; "" if in none.

    Of a tuple of arrays and something else, that is taken for a cache if it holds what is no number, or if it is or
    holds one of the inputs.
    """
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    try:
        found = f(*deepcopy(given))
    except Exception:  # that was raised before, and is said
        return ""
    if not isinstance(found, (tuple, list)) or len(found) < 2:
        return ""
    outs = ", ".join(["out"] if len(found) == 2 else [f"out{k}" for k in range(1, len(found))])
    if all(_is_output(part) for part in found[:-1]) and _is_cache(found[-1], given):
        return f"({outs}, cache)"
    if all(_is_output(part) for part in found[1:]) and _is_cache(found[0], given):
        return f"(cache, {outs})"
    return ""


def name_of(function: Any, otherwise: str) -> str:
    """Returns what a function is called in a call that a message names; a lambda is called `otherwise`."""
    name = str(getattr(function, "__name__", otherwise))
    return name if name.isidentifier() else otherwise


def holds_any(part: Any, inputs: Sequence[Any]) -> bool:
    """Whether something that a forward pass returned is one of its inputs, or holds one."""
    arrays = [leaf for own in inputs for _, leaf in walk(own) if np.size(leaf) > 1]
    return any(np.array_equal(leaf, own) for _, leaf in walk(part) for own in arrays if np.shape(leaf) == np.shape(own))


def _is_output(part: Any) -> bool:
    return isinstance(part, (np.ndarray, np.inexact, float, complex)) and np.asarray(part).dtype.kind in "fc"


def _is_cache(part: Any, inputs: Sequence[Any]) -> bool:
    leaves = [leaf for _, leaf in walk(part)]
    if not all(isinstance(leaf, (np.ndarray, np.number, int, float, complex)) for leaf in leaves):
        return True
    return holds_any(part, inputs)
