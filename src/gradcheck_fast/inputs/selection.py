"""Reads what users say of single arrays by their names: which entries are checked, steps, bounds and constraints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.inputs.arguments import choose
from gradcheck_fast.inputs.arrays import first_index, format_index
from gradcheck_fast.inputs.complex_pairs import IMAG, REAL
from gradcheck_fast.inputs.constraints import CONSTRAINTS, OF_PARTS, Constrained, satisfies
from gradcheck_fast.inputs.domain import Domain
from gradcheck_fast.inputs.trees import entry_name, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed, Shape

#: How many names that resemble an unknown one an error lists, and how many of all names.
_MOST_NEAR, _MOST_LISTED = 3, 12
#: How alike they must be, by difflib's ratio.
_ALIKE = 0.5
#: How many names of arrays that are not checked at all a note lists.
_MOST_NAMED = 6


class Selection(NamedTuple):
    """What is checked, and where the parameters may be moved for it.

    Attributes
    ----------
    params : Packed
        The parameters, with their domain.
    entries : ndarray of int or None
        The places in the flat vector of the entries that are checked, in ascending order. None: all.
    notes : tuple of str
        Which entries are not checked, in sentences.
    """

    params: Packed
    entries: NDArray[np.intp] | None
    notes: tuple[str, ...]


def select(
    params: Packed, *, only: Any = None, fixed: Any = None, bounds: Any = None, constraints: Any = None,
    steps: Mapping[str, float] | None = None,
) -> Selection:  # fmt: skip
    """Reads which entries are checked, and where they may be moved.

    Parameters
    ----------
    params : Packed
    only, fixed : str, sequence of str, or dict of str to mask or index; optional
        The entries that are checked, and those that are not.
    bounds : dict of str to (low, high), or one such pair for all arrays; optional
    constraints : dict of str to str, optional
    steps : dict of str to float, optional

    Raises
    ------
    TypeError, ValueError
        If something does not fit, or the parameters lie outside of their bounds, or violate a constraint; the message
        names the array or the entry.
    """
    size, theta = params.flat.size, params.flat
    if only is None and fixed is None and bounds is None and constraints is None and steps is None:
        return Selection(params, None, ())
    free = np.ones(size, np.bool_) if only is None else read_entries("only", only, params.shapes)
    if fixed is not None:
        free &= ~read_entries("fixed", fixed, params.shapes)
    low, high = _read_bounds(bounds, params)
    open_box = Domain(low, high)
    free &= open_box.can_move(theta)
    if size and not free.any():
        raise ValueError(f"{'fixed' if only is None else 'only'}: nothing is left to be checked")
    low[~free], high[~free] = theta[~free], theta[~free]
    constrained = _read_constraints(constraints, params, free)
    domain = Domain(low, high, _read_steps(steps, params.shapes), constrained)
    entries = None if free.all() else np.flatnonzero(free)
    notes = (*_not_checked(free, params.shapes), *_projected(constrained, params.shapes))
    return Selection(replace(params, domain=domain), entries, notes)


def read_entries(what: str, chosen: Any, shapes: Mapping[str, Shape]) -> NDArray[np.bool_]:
    """Reads a choice of entries as a mask of the flat vector.

    Parameters
    ----------
    what : str
        What the argument is called in errors.
    chosen : str, sequence of str, dict of str to mask or index, or array
        Names of arrays, or patterns with ``*`` and ``?``; the name of a part of a tree stands for all arrays in it. In
        a dict, each name has a boolean mask of the shape of the array, an index, or True for the whole array. An array
        is a mask of the only parameter array there is.
    shapes : mapping of str to tuple of int

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or an array or entry does not exist.
    """
    mask = np.zeros(sum(part.stop - part.start for _, part, _ in parts(shapes)), np.bool_)
    places = {name: (part, shape) for name, part, shape in parts(shapes)}
    if isinstance(chosen, np.ndarray) and chosen.dtype.kind != "U":
        if len(shapes) != 1:
            raise TypeError(f"{what}: there are {len(shapes)} arrays; say by a dict which of them this is a mask of")
        chosen = {next(iter(shapes)): chosen}
    by_name = chosen if isinstance(chosen, Mapping) else dict.fromkeys(_names(what, chosen), True)
    for pattern, index in by_name.items():
        for name in named(what, pattern, shapes):
            part, shape = places[name]
            own = mask[part].reshape(shape)
            own[_index(what, name, index, shape)] = True
    return mask


def _names(what: str, chosen: Any) -> list[str]:
    names = [chosen] if isinstance(chosen, str) else list(chosen) if isinstance(chosen, Iterable) else [chosen]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{what}: expected a name, several names, or a dict of masks or indices by name, got {name!r}"
            )
    return names


def _index(what: str, name: str, index: Any, shape: Shape) -> Any:
    """Returns an index that NumPy takes, after a look at whether the array has such entries."""
    if index is True or index is None:
        return ...
    if index is False:
        return np.zeros(shape, np.bool_)
    if isinstance(index, (list, np.ndarray)):
        index = np.asarray(index)
        if index.dtype.kind == "b" and index.shape != shape:
            raise ValueError(f"{what}: the mask of {name} has the shape {index.shape}, the array {shape}")
        if index.dtype.kind not in "biu":
            raise TypeError(f"{what}: {name}: expected a boolean mask or an index, got an array of {index.dtype}")
    try:
        np.empty(shape, np.bool_)[index]
    except IndexError as error:
        raise ValueError(f"{what}: {name} has the shape {shape} and no entries {index!r}: {error}") from None
    return index


def named(what: str, pattern: object, shapes: Mapping[str, Any]) -> list[str]:
    """Returns the arrays that a name or pattern stands for, in their order.

    Raises
    ------
    TypeError
        If it is no string.
    ValueError
        If there is no such array; the message lists names that resemble it.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"{what}: expected the name of an array, got {pattern!r}")
    if pattern in shapes:
        return [pattern]
    below = [name for name in shapes if name.startswith((f"{pattern}.", f"{pattern}["))]
    if below:
        return below
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    found = [name for name in shapes if re.fullmatch(expression, name, re.DOTALL)]
    if not found:
        raise ValueError(f"{what}: no array is called {pattern!r}{_near(pattern, list(shapes))}")
    return found


def _near(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # only errors wait for its import

    lower = {own.lower(): own for own in known}
    close = [lower[own] for own in get_close_matches(name.lower(), lower, _MOST_NEAR, _ALIKE)]
    listed = ", ".join(known[:_MOST_LISTED]) + ", …" * (len(known) > _MOST_LISTED)
    hint = f", did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint}; known: {listed}"


def _by_name(what: str, given: Any, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Reads a dict by names or patterns as one by names; what comes later has precedence over what comes before."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what}: expected a dict by the names of arrays, got {given!r}")
    return {name: value for pattern, value in given.items() for name in named(what, pattern, shapes)}


def _read_steps(steps: Mapping[str, float] | None, shapes: Mapping[str, Shape]) -> NDArray[np.float64] | None:
    if steps is None:
        return None
    own = _by_name("step", steps, shapes)
    return np.concatenate(
        [np.full(part.stop - part.start, own.get(name, np.nan)) for name, part, _ in parts(shapes)] or [np.empty(0)]
    )


def _read_bounds(bounds: Any, params: Packed) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reads the bounds of all entries; they are infinite where there are none."""
    size = params.flat.size
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    if bounds is None:
        return low, high
    if not isinstance(bounds, Mapping):
        bounds = dict.fromkeys(params.shapes, bounds)
    own = _by_name("bounds", bounds, params.shapes)
    for name, part, shape in parts(params.shapes):
        if name in own:
            low[part], high[part] = _pair(name, own[name], shape)
            crossed = low[part] > high[part]
            if crossed.any():
                where = name + format_index(first_index(crossed.reshape(shape)))
                raise ValueError(f"bounds: the lower bound of {where} is above its upper bound")
    for outside, bound, words in (
        (params.flat < low, low, "below its lower bound"),
        (params.flat > high, high, "above its upper bound"),
    ):
        if outside.any():
            k = int(np.argmax(outside))
            raise ValueError(
                f"params: {entry_name(params.shapes, k)} = {params.flat[k]:.6g} is {words}, {bound[k]:.6g}"
            )
    return low, high


def _pair(name: str, pair: Any, shape: Shape) -> list[NDArray[np.float64]]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"bounds: {name}: expected a pair (low, high) of numbers, arrays or None, got {pair!r}")
    found = []
    for side, is_open in zip(pair, (-np.inf, np.inf), strict=True):
        try:
            own = np.asarray(is_open if side is None else side, np.float64)
            found.append(np.broadcast_to(own, shape).ravel())
        except (TypeError, ValueError):
            got = f"the shape {np.shape(side)}" if isinstance(side, np.ndarray) else repr(side)
            raise ValueError(f"bounds: {name}: expected numbers or an array of the shape {shape}, got {got}") from None
        if np.isnan(own).any():
            raise ValueError(f"bounds: {name}: a bound is NaN; None stands for no bound")
    return found


def _read_constraints(constraints: Any, params: Packed, free: NDArray[np.bool_]) -> Constrained | None:
    if constraints is None:
        return None
    own, found = _by_name("constraints", constraints, params.shapes), []
    _require_of_parts(constraints, params.shapes)
    for name, part, shape in parts(params.shapes):
        if name not in own:
            continue
        kind = choose(f"constraints: {name}", own[name], CONSTRAINTS)
        array, eps = params.flat[part].reshape(shape), params.precision(name).eps
        if not CONSTRAINTS[kind].takes(shape):
            raise ValueError(f"constraints: {name} cannot be {kind}: it has the shape {shape}")
        if not satisfies(CONSTRAINTS[kind], array, eps):
            off = CONSTRAINTS[kind].violation(array)
            raise ValueError(f"params: {name} is not {kind}, but off by {off:.2g}; give parameters that satisfy it")
        if free[part].any() and not free[part].all():
            raise ValueError(f"constraints: {name} is {kind}, so no part of its entries can be fixed; fix all or none")
        if free[part].any():
            found.append((part, shape, kind))
    return Constrained(params.flat, tuple(found)) if found else None


def _require_of_parts(constraints: Mapping[str, Any], shapes: Mapping[str, Shape]) -> None:
    """Raises a ValueError if a complex array is to satisfy what is not the same as that its two parts satisfy it."""
    for name, kind in constraints.items():
        if kind not in OF_PARTS and {f"{name}.{REAL}", f"{name}.{IMAG}"} <= shapes.keys():
            raise ValueError(
                f"constraints: {name} is complex, so it can be {', '.join(OF_PARTS)}, of which both parts are, but not "
                f"{kind!r}; a Hermitian array has {{'{name}.{REAL}': 'symmetric', '{name}.{IMAG}': 'antisymmetric'}}; "
                "for another constraint, make the array inside of the loss, of parameters that are free"
            )


def _projected(constrained: Constrained | None, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Says which gradients are projected before they are compared."""
    names = {part.start: name for name, part, _ in parts(shapes) if part.stop > part.start}
    arrays = () if constrained is None else constrained.arrays
    return tuple(
        f"{names[part.start]} is {kind}: both gradients are compared after {CONSTRAINTS[kind].says}"
        for part, _, kind in arrays
    )


def _not_checked(free: NDArray[np.bool_], shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Says which entries are not checked."""
    said, whole = [], []
    for name, part, _ in parts(shapes):
        count, size = int(np.count_nonzero(~free[part])), part.stop - part.start
        if count == size > 0:
            whole.append(name)
        elif count:
            are = "is" if count == 1 else "are"
            said.append(f"{name}: {count:,} of {size:,} entries {are} fixed, not checked")
    if whole:
        more = f" and {len(whole) - _MOST_NAMED} more arrays" if len(whole) > _MOST_NAMED else ""
        are = "is" if len(whole) == 1 else "are"
        said.append(f"{', '.join(whole[:_MOST_NAMED])}{more} {are} fixed, not checked")
    return tuple(said)
