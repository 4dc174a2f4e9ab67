"""Finds out which array is the gradient of which: by the names of attributes, or by the order and shapes of arrays."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from gradcheck_fast.inputs.gradient_names import PATTERNS
from gradcheck_fast.inputs.mismatches import listed, without_units
from gradcheck_fast.inputs.places import Path, get, members, spelled

#: Attributes of an object that stands for a parameter: those that hold its values, and those that hold its gradient.
_VALUES, _GRADIENTS = ("data", "value", "values", "val", "array"), ("grad", "gradient", "grads", "diff", "g", "d")
#: What a dict or list of gradients is called, besides what the patterns make of the name of that of the parameters.
_CONTAINER = re.compile(r"_?(d|g|grads?|gradients?|derivatives?|deltas?|nablas?|dparams?|dparameters)")
#: Names of arrays that are parameters, and of what holds such.
_PARAMETER = re.compile(
    r"([wb]|weights?|bias(es)?|gamma|beta|theta|kernels?|filters?)(_?[a-z0-9]{0,3})|[uv]_?\d*", re.IGNORECASE
)
_PARAMETERS = re.compile(r"_?(params?|parameters|weights?|bias(es)?)", re.IGNORECASE)
#: Names of targets, of which a loss has no gradient: what often is one, and what surely is.
_TARGETS = (
    re.compile(r"y|y_?(train|batch|data)|one_?hot.*", re.IGNORECASE),
    re.compile(r"t|ts|t_?(train|batch)|y_?(true|real|t|act(ual)?|gt)|.*(target|label|truth).*", re.IGNORECASE),
)
#: What is shown of the many spellings that are looked for.
_SHOWN = (("d", ""), ("", "_grad"), ("grad_", ""))
#: What stands before and after a name.
_AROUND = [(before, after) for before, after in PATTERNS if "." not in after]
#: If no name and no shape decides, so many orders of arrays are tried at most.
_MOST_ORDERS = 5_040


def spellings(name: str) -> list[str]:
    """Returns what the gradient of a parameter may be called, in the order of preference.

    For ``weights`` these are ``dweights``, ``grad_weights`` and so on, and also ``dweight`` and ``dW``.
    """
    found = re.fullmatch(r"([a-z]{3,}?)(e?s)?(_?\d*)", name)
    short = (stem + found[3] for stem in (found[1], found[1][0].upper(), found[1][0])) if found else ()
    return [before + own + after for own in dict.fromkeys((name, *short)) for before, after in _AROUND]


def looked_for(path: Path) -> str:
    """Returns some of the names that the gradient of a parameter may have, for messages."""
    name = last_name(path)
    own = spellings(name)
    shown = [own[0], *(f"{before}{name}{after}" for before, after in _SHOWN), f"grads[{name!r}]"]
    if isinstance(path[-1].key, int):
        shown = [f"grads[{path[-1].key}]"]
    return ", ".join(dict.fromkeys(shown))


def _plain(name: str) -> str:
    """Returns an attribute's name without what marks it as private: ``_W`` and ``_Layer__W`` are called W."""
    return re.sub(r"^_[A-Za-z]\w*?__(?=\w)", "", name).lstrip("_") or name


def last_name(path: Path) -> str:
    """Returns what a parameter is called: its key, or that of the object or list that holds its values."""
    names = [part.key for part in path if isinstance(part.key, str)]
    if len(names) > 1 and names[-1] in _VALUES:
        names.pop()
    return str(names[-1]) if names and not isinstance(path[-1].key, int) else spelled(path)


def with_names(paths: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """Returns what reports call arrays that a layer keeps: their last names, unless others have these, too."""
    names = [last_name(path) for path in paths]
    unique = [
        name if names.count(name) == 1 else spelled(path) for name, path in zip(names, paths, strict=True)
    ]  # fmt: skip
    return [f"self.{name}" if name in taken else name for name in unique]


def is_named_as_parameter(path: Path) -> bool:
    """Tells whether an array that a layer keeps has a name that parameters have, so that there must be a gradient."""
    keys = [part.key for part in path if isinstance(part.key, str)]
    holders = keys if isinstance(path[-1].key, int) else keys[:-1]
    if any(_PARAMETERS.fullmatch(key) for key in holders):
        return True
    return bool(keys) and _PARAMETER.fullmatch(_plain(last_name(path))) is not None


def gradient_places(
    parameters: Mapping[Path, tuple[int, ...]], arrays: Mapping[Path, Any], untouched: Container[Path] = ()
) -> dict[Path, Path]:
    """Finds the arrays that look like the gradients of parameters: each is that of one parameter only.

    Parameters
    ----------
    parameters : dict of Path to tuple of int
        Where the parameters lie, and their shapes. An array of another shape is taken only if its name fits to the
        letter: the error that follows then says how the shapes differ.
    arrays : dict of Path to ndarray
        All arrays of the layer that may be gradients.
    untouched : container of Path
        The places of arrays that the backward pass leaves as they are. They are taken only if there is no other.

    Returns
    -------
    dict of Path to Path
        Where the gradients lie, by the places of their parameters.
    """
    ranked = []
    for path, shape in parameters.items():
        for other, array in arrays.items():
            rank = None if other == path else _rank(path, other)
            fits = without_units(np.shape(array)) == without_units(shape)
            if rank is not None and (fits or rank < _FOLDED):
                ranked.append((other in untouched, not fits, rank, path, other))
    found: dict[Path, Path] = {}
    for *_, path, other in sorted(ranked, key=lambda pair: pair[:3]):
        if path not in found and other not in found.values():
            found[path] = other
    return found


def fitting_list(shapes: Sequence[tuple[int, ...]], arrays: Mapping[Path, Any]) -> list[Path] | None:
    """Returns the paths of a list of gradients with arrays of these shapes, in this order; None if there is none."""
    lists: dict[Path, list[Path]] = {}
    for path in arrays:
        if shapes and len(path) > 1 and isinstance(path[-1].key, int) and _CONTAINER.fullmatch(str(path[-2].key)):
            lists.setdefault(path[:-1], []).append(path)
    fit = (paths for paths in lists.values() if [np.shape(arrays[path]) for path in paths] == list(shapes))
    return next(fit, None)


def gradient_of_input(name: str, shape: tuple[int, ...], arrays: Mapping[Path, Any], is_first: bool) -> Path | None:
    """Returns the path of the array of a layer that looks like the gradient of an input, as ``dinputs``."""
    places = {path[0].key: path for path, value in arrays.items() if len(path) == 1 and np.ndim(value)}
    fit = {key: path for key, path in places.items() if without_units(np.shape(arrays[path])) == without_units(shape)}
    own = [before + name + after for before, after in _AROUND]
    usual = [before + x + after for x in ("inputs", "input", "x", "X") for before, after in _AROUND if is_first]
    for known, among in ((own, fit), (usual, fit), (own, places)):  # of the last the comparison says how they differ
        for spelling in known:
            if spelling in among:
                return among[spelling]
    return None


#: From this rank on, names agree only apart from case, underscores, or in abbreviation.
_FOLDED = 1_000


def _rank(path: Path, other: Path) -> int | None:
    """Tells how well the name of `other` fits the gradient of what lies at `path`: 0 is best, None not at all."""
    own, theirs = path[-1].key, other[-1].key
    if path[:-1] == other[:-1]:
        if own in _VALUES and theirs in _GRADIENTS and len(path) > 1:
            return 0
        return _rank_of_names(own, theirs)
    for k, (a, b) in enumerate(zip(path, other, strict=False)):
        if a == b:
            continue
        if not isinstance(b.key, str) or len(other) < k + 2:
            return None
        of_container = isinstance(a.key, str) and _rank_of_names(a.key, b.key) is not None
        if not (of_container or _CONTAINER.fullmatch(b.key)):
            return None
        rest = other[k + 1 :]
        for same in (path[k + 1 :], path[k:]):  # params['W'] and grads['W']; W and grads['W']
            keys = [part.key for part in same]
            others = [part.key for part in rest]
            if keys and keys == others:
                return 1
            if keys and keys[:-1] == others[:-1]:
                rank = _rank_of_names(keys[-1], others[-1])
                return None if rank is None else rank + 1  # an attribute beside the parameter comes first
        return None
    return None


def _rank_of_names(name: Any, gradient: Any) -> int | None:
    if not isinstance(name, str) or not isinstance(gradient, str) or name == gradient:
        return None
    known = spellings(_plain(name))
    for fold, first in ((lambda text: text, 0), (_folded, _FOLDED)):
        target = fold(_plain(gradient))
        for k, spelling in enumerate(known):
            if fold(spelling) == target:
                return first + k + (_FOLDED if k >= len(_AROUND) else 0)  # the full name comes first
    return None


def _folded(text: str) -> str:
    return text.lower().replace("_", "")


# ---- what a backward pass returns


def with_lists(leaves: Sequence[tuple[Path, Any]], returned: Any) -> list[tuple[Path, Any]]:
    """Takes a list of numbers, or of such lists, for one array, as in code without NumPy."""
    found = {}
    for path, value in leaves:
        for owner in (path[:k] for k in range(len(path))):
            inside = members(get(returned, owner))
            if isinstance(get(returned, owner), list) and all(type(number) in (int, float) for _, number in inside):
                found[owner] = np.array(get(returned, owner), float)
                break
        else:
            found[path] = value
    return list(found.items())


def returned_gradients(
    found: Sequence[tuple[Path, Any]], inputs: Sequence[tuple[str, Any]], more: Sequence[tuple[str, Any]]
) -> dict[str, Path]:
    """Finds out of which arrays a backward pass returns the gradients.

    Parameters
    ----------
    found : list of (path, value)
        What it returned, and where in it.
    inputs : list of (name, value)
        The arguments of the forward pass, or their parts, in order; those that are no floating-point numbers, too.
    more : list of (name, value)
        Parameters that the layer holds, and of which nothing else is known to be the gradient.

    Returns
    -------
    dict of str to Path
        The path of the gradient of each array that has one, by the names of the arrays.

    Raises
    ------
    ValueError
        If it returned arrays that fit nothing, or that may be in several orders; the message says what to change.
    """
    arrays = [(name, np.shape(value)) for name, value in (*inputs, *more) if _has_gradient(value)]
    if found and all(isinstance(path[-1].key if path else None, str) for path, _ in found):
        named = _by_name(found, [name for name, _ in arrays])
        if named:
            _require_all(found, arrays, named)
            return named
    own = [name for name, value in inputs if _has_gradient(value)]
    if len(found) == len(inputs):  # one for each input, which may be None
        placed = [(pair, path, value) for pair, (path, value) in zip(inputs, found, strict=True) if value is not None]
        if all(_fits(pair[1], value) for pair, _, value in placed if _has_gradient(pair[1])):
            return {name: path for (name, value), path, _ in placed if _has_gradient(value)}
    given = [(path, value) for path, value in found if value is not None]
    if not given:
        return {}
    shapes = [np.shape(value) for _, value in given]
    of_inputs = arrays[: len(own)]
    if len(given) < len(own):
        of_inputs = sorted(of_inputs, key=lambda pair: target_rank(pair[0]))
    for names in (of_inputs, arrays):
        orders = _orders(shapes, [shape for _, shape in names])
        if len(orders) > 1 and (len(names) > len(own) or orders[0] != sorted(orders[0])):
            raise ValueError(
                f"backward: the arrays that it returns may be, by their shapes, the gradients of "
                f"{listed(dict(names))} in {len(orders)} orders; give inputs of which all lengths differ, as that of "
                "samples and that of features, or let backward return a dict of gradients by name"
            )
        if orders:
            return {names[k][0]: path for k, (path, _) in zip(orders[0], given, strict=True)}
    if len(given) == len(own):  # the comparison will say which shape is wrong
        return {name: path for name, (path, _) in zip(own, given, strict=True)}
    got, expected = listed(dict.fromkeys(map(str, shapes))), ", ".join(f"{name} {shape}" for name, shape in arrays)
    raise ValueError(f"backward: what it returns has the shapes {got}; they do not fit the arrays {expected}")


def target_rank(name: str) -> int:
    """Tells how likely an input is a target, of which a loss has no gradient: 0 is hardly, 2 is surely."""
    return max((rank for rank, names in enumerate(_TARGETS, 1) if names.fullmatch(name)), default=0)


def _orders(given: Sequence[tuple[int, ...]], known: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Returns which of the known shapes each given one may be for: one list for each way to match them.

    Ways that keep the order go before all others. There is only one if there is one of each and they fit in this
    order; there is none if there are too many to be looked at.
    """
    plain = [without_units(shape) for shape in known]
    free = [[k for k, shape in enumerate(plain) if shape == without_units(own)] for own in given]
    if len(given) == len(known) and all(k in some for k, some in enumerate(free)):
        return [list(range(len(known)))]
    if len(given) > len(known) or np.prod([len(some) for some in free], dtype=float) > _MOST_ORDERS:
        return []
    ways = [list(some) for some in product(*free) if len(set(some)) == len(some)]
    return [some for some in ways if some == sorted(some)] or ways


def _require_all(
    found: Iterable[tuple[Path, Any]], arrays: Sequence[tuple[str, tuple[int, ...]]], taken: Mapping[str, Path]
) -> None:
    """Raises a ValueError if something is named as the gradient of no array, but fits one that has none."""
    for path, value in found:
        fit = [name for name, shape in arrays if name not in taken and np.shape(value) == shape]
        if fit and value is not None and path not in taken.values():
            raise ValueError(
                f"backward: {path[-1].key!r}, which it returns, is named as the gradient of none of "
                f"{listed(dict(arrays))}, and there is none of {fit[0]}; let it be called 'd{fit[0]}'"
            )


def _by_name(found: Iterable[tuple[Path, Any]], names: Sequence[str]) -> dict[str, Path]:
    taken: dict[str, Path] = {}
    for name in names:
        last = re.split(r"[.\[\]'\"]+", name.rstrip("]'\""))[-1]
        ranked = []
        for path, value in found:
            rank = 0 if path[-1].key in (last, name) else _rank_of_names(last, path[-1].key)
            if rank is not None and value is not None:
                ranked.append((rank, path))
        if ranked:
            taken[name] = min(ranked, key=lambda pair: pair[0])[1]
    return taken


def _has_gradient(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _fits(value: Any, gradient: Any) -> bool:
    return without_units(np.shape(value)) == without_units(np.shape(gradient))
