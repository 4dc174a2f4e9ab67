"""Reads what functions return beside what is wanted of them: a loss its gradient, a gradient function the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.mismatches import listed
from gradcheck_fast.inputs.trees import pack_as

if TYPE_CHECKING:
    from gradcheck_fast.inputs.trees import Packed, Shape

#: How the note on a loss that returns more than its value begins.
RETURNS_MORE = "the loss returns (value, "
#: Of a tuple or list that is returned errors describe this many elements.
_MOST_DESCRIBED = 4


def value_and_rest(found: Any) -> tuple[Any, tuple[Any, ...]] | None:
    """Returns the value and the rest of what a loss has returned; None if that is no value with something beside it.

    It is one if it is a tuple that begins with one number, or a list of two elements or of other things than numbers.
    A longer list of numbers, like an array of several, has a number for each sample, and is not a value.
    """
    if not isinstance(found, (tuple, list)) or len(found) < 2 or not _is_number(found[0]):
        return None
    if isinstance(found, list) and len(found) > 2 and all(map(_is_number, found)):
        return None
    return found[0], tuple(found[1:])


def note_on_rest(rest: Sequence[Any], shapes: Mapping[str, Shape], paths: Sequence[str]) -> str:
    """Returns the note on a loss of parameters of these shapes that returns `rest` beside its value."""
    if _gradient_in(rest, shapes, paths, {}) is None:
        return f"{RETURNS_MORE}{', '.join(map(describe, rest[:_MOST_DESCRIBED]))}): the value is taken for the loss"
    return (
        f"{RETURNS_MORE}gradient), as it looks: the value is taken for the loss; gradient=True checks what is beside it"
    )


def pack_gradient(
    given: Any, shapes: Mapping[str, Shape], *, paths: Sequence[str] = (), beside_value: bool = False, **options: Any
) -> Packed:
    """Packs a gradient as `pack_as` does, also one that is returned together with the value of the loss.

    Parameters
    ----------
    given : tree of arrays, Packed, tuple or list
        The gradient; or ``(value, gradient)``, ``(value, gradient of the first array, gradient of the second, ...)``,
        or ``(gradient, anything)``; if `beside_value` is true, also ``(value, accuracy, gradient)``, where only one
        element fits. A note says what was taken.
    shapes, paths, **options
        As for `pack_as`.
    beside_value : bool
        Whether the first element is known to be the value of the loss.

    Raises
    ------
    TypeError, ValueError
        As `pack_as` does. Or if `beside_value` is true and there is no number first and something beside it.
    """
    options |= {"gradient": True}
    if beside_value:
        pair = value_and_rest(given)
        if pair is None:
            raise TypeError(
                f"gradient=True: expected the loss to return (value, gradient), got {describe(given)}; pass the "
                "gradient itself, or a function that gives it"
            )
        found = _gradient_in(pair[1], shapes, paths, options) or _one_that_fits(pair[1], shapes, paths, options)
        return found or pack_as(pair[1][0], shapes, "gradient", paths=paths, **options)
    try:
        return pack_as(given, shapes, "gradient", paths=paths, **options)
    except (TypeError, ValueError):
        pair = value_and_rest(given)
        if pair is not None:
            found = _gradient_in(pair[1], shapes, paths, options)
            said = "a value stands before the gradient: it was passed over"
        elif isinstance(given, (tuple, list)) and len(given) > 1:
            found = _gradient_in(given[:1], shapes, paths, options)
            said = f"beside the gradient, {', '.join(map(describe, given[1:]))} was passed over"
        else:
            found = None
        if found is None:
            raise
        return replace(found, notes=(said, *found.notes))


def _gradient_in(
    rest: Sequence[Any], shapes: Mapping[str, Shape], paths: Sequence[str], options: Mapping[str, Any]
) -> Packed | None:
    """Packs what may be the gradient among elements that are returned: the first of them, or one for each array."""
    count = len(shapes)
    forms: list[tuple[Any, tuple[str, ...]]] = [(rest[0], ())]
    if len(rest) >= count > 1:
        taken = f"elements 1 to {count} of what is returned are taken for the gradients of {listed(shapes)}"
        forms.append((list(rest[:count]), (taken,)))
    for tree, note in forms:
        try:
            found = pack_as(tree, shapes, "gradient", paths=paths, **{"finite": False, **options, "gradient": True})
        except (TypeError, ValueError):
            continue
        return replace(found, notes=(*note, *found.notes))
    return None


def _one_that_fits(
    rest: Sequence[Any], shapes: Mapping[str, Shape], paths: Sequence[str], options: Mapping[str, Any]
) -> Packed | None:
    """Packs the only one of several elements that may be the gradient, as that of ``(value, accuracy, gradient)``."""
    fit = [(k, found) for k, part in enumerate(rest, 1) if (found := _gradient_in([part], shapes, paths, options))]
    if len(fit) != 1:
        return None
    place, found = fit[0]
    return replace(found, notes=(f"element {place} of what is returned is taken for the gradient", *found.notes))


def hint_at_value(found: Any) -> str:
    """Returns a hint at how to take the value out of what a loss has returned; an empty string if none is known."""
    if isinstance(found, (tuple, list)) and not all(map(_is_number, found)):
        place = next((k for k, part in enumerate(found) if _is_number(part)), None)
        return "" if place is None else f"; if element {place} is the loss, pass lambda params: loss(params)[{place}]"
    if isinstance(found, Mapping):
        name = next((key for key, part in found.items() if _is_number(part)), None)
        return "" if name is None else f"; if {name} is the loss, pass lambda params: loss(params)[{name!r}]"
    return ""


def describe(value: Any) -> str:
    """Describes a value in a few words, by its kind and size."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"an array of shape {shape}"
    if isinstance(value, Mapping):
        return f"a dict of {listed({str(key): None for key in value})}"
    if isinstance(value, (tuple, list)):
        parts = [*map(describe, value[:_MOST_DESCRIBED]), *["…"] * (len(value) > _MOST_DESCRIBED)]
        return f"({', '.join(parts)})" if isinstance(value, tuple) else f"[{', '.join(parts)}]"
    return "a number" if _is_number(value) else "None" if value is None else type(value).__name__


def _is_number(value: Any) -> bool:
    if isinstance(value, (Number, np.number)):
        return not isinstance(value, bool)
    shape = getattr(value, "shape", None)
    return isinstance(shape, tuple) and prod(shape) == 1
