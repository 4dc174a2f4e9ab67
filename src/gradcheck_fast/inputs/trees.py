"""A tree of arrays <-> one flat vector.

A tree is an array, a number, or a dict, list or tuple of trees. Packing returns its own inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from math import log, prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.inputs.arguments import nearest
from gradcheck_fast.inputs.arrays import DOUBLE, Precision, coarsest, format_index, real_array, require_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tree: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Packed:
    """A tree as one flat float64 vector, and how to go back.

    Attributes
    ----------
    flat : ndarray, shape (size,)
        All entries, array after array, each in C order. A private copy.
    shapes : dict
        Of each array by name, in the order of `flat`.
    dtypes : dict
        The dtype that each array had.
    unpack : callable
        A flat vector of that size -> a tree like the one packed, of arrays that are views of that vector. Of an array
        of such vectors, shape (..., size), the arrays have those axes first.
    paths : tuple of str
        Where each array lies in the tree, in the order of `flat`; empty if the tree is one vector.
    computed_in : Precision
        What the numbers went through, where that is coarser than some of `dtypes`.
    notes : tuple of str
        What was taken though its shape is another than was expected.
    """

    flat: NDArray[np.float64]
    shapes: dict[str, Shape]
    dtypes: dict[str, np.dtype[Any]]
    unpack: Callable[[NDArray[np.float64]], Tree]
    paths: tuple[str, ...] = ()
    computed_in: Precision = DOUBLE
    notes: tuple[str, ...] = ()

    def precision(self, name: str) -> Precision:
        """How many digits the numbers of an array have."""
        return coarsest((Precision.of(self.dtypes[name]), self.computed_in))

    @property
    def precisions(self) -> list[Precision]:
        """The same of all arrays."""
        return [self.precision(name) for name in self.dtypes]

    def arrays(self, flat: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The arrays that lie in `flat`, as views, by name."""
        return split(flat, self.shapes)


def parts(shapes: Mapping[str, Shape]) -> Iterator[tuple[str, slice, Shape]]:
    """The name of each array, where it lies in the flat vector, and its shape."""
    begin = 0
    for name, shape in shapes.items():
        end = begin + prod(shape)
        yield name, slice(begin, end), shape
        begin = end


def as_matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of an array seen as a matrix, split between two axes where that is nearest to a square."""
    if len(shape) < 2:
        return 1, prod(shape)
    splits = [(prod(shape[:k]), prod(shape[k:])) for k in range(1, len(shape))]
    return min(splits, key=lambda split: abs(log(split[0] / split[1])))


def entry_name(shapes: Mapping[str, Shape], k: int) -> str:
    """What entry k of the flat vector is called: ``W1[3, 4]``."""
    for name, part, shape in parts(shapes):
        if k < part.stop:
            return name + format_index(tuple(map(int, np.unravel_index(k - part.start, shape)))) if shape else name
    raise IndexError(k)


def split(flat: NDArray[Any], shapes: Mapping[str, Shape]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Views of the consecutive arrays of a flat vector; of many, one a row, arrays with that axis first."""
    for name, part, shape in parts(shapes):
        yield name, flat[..., part].reshape(flat.shape[:-1] + shape)


def pack(tree: Tree, what: str = "params", *, finite: bool = True) -> Packed:
    """Packs a tree in its own order; arrays are named by their path, ``layer.W`` or ``[0][1]``.

    Parameters
    ----------
    tree : array, number, or dict, list or tuple of trees
    what : str
        What to call the tree in errors (and the array, where the tree is one array).
    finite : bool
        Whether NaN and infinity are errors.

    Raises
    ------
    TypeError
        If a leaf is not a real array or number.
    ValueError
        If a leaf is not finite, or two have one name.
    """
    leaves = _read(tree, what)
    return _pack(tree, leaves, list(leaves), what, finite)


def pack_as(
    tree: Tree | Packed, shapes: Mapping[str, Shape], what: str = "params", *, paths: Sequence[str] = (),
    finite: bool = True, samples: int | None = None, unit_axes: bool = False,
) -> Packed:  # fmt: skip
    """Packs a tree in the order of the named `shapes` that it is expected to have.

    It may be one flat vector of all entries in that order; a dict (nested or not) with these names; a tree whose
    arrays lie at `paths`, in any order; or any other tree of arrays of these shapes in this order. `samples`, the
    number of samples, helps to say what is wrong with the shape of a gradient. What is packed already stays as it is.

    With `unit_axes` an array whose shape differs by axes of length 1 alone is taken as well, and noted: its entries are
    the same, in the same order. That is for gradients, of which only the entries count. Parameters must have the shapes
    that are expected: a network's bias that is a column belongs to weights that are transposed.

    Raises
    ------
    TypeError
        If a leaf is not a real array or number.
    ValueError
        If an array is missing, extra, of another shape, or not finite. The message names it.
    """
    if isinstance(tree, Packed):
        return tree
    if _is_leaf(tree) and _is_flat(np.shape(tree), shapes, unit_axes):
        return _pack_vector(tree, shapes, what, finite)
    leaves = _read(tree, what)
    if set(leaves) == set(shapes):
        order = list(shapes)
    elif paths and set(leaves) == set(paths):
        order = list(paths)
    elif isinstance(tree, Mapping) and all(map(_is_leaf, tree.values())):
        raise ValueError(_name_differences(what, list(leaves), list(shapes)))
    elif len(leaves) != len(shapes):
        counts = f"expected {len(shapes)} arrays ({_list(shapes)}), got {len(leaves)} ({_list(leaves)})"
        hint = "; lists are trees of arrays, make a matrix of numbers by np.array" if _has_numbers(leaves) else ""
        raise ValueError(f"{what}: {counts}{hint}")
    else:
        order = list(leaves)
    other = {}
    for name, own in zip(shapes, order, strict=True):
        got, expected = leaves[own].shape, shapes[name]
        if unit_axes and got != expected and _without_units(got) == _without_units(expected):
            other[name] = got
        elif got != expected:
            label = f"{what}: {name}" if own in (name, what) else f"{what}: {name} (at {own})"
            label = what if _is_leaf(tree) and list(shapes) == ["params"] else label
            given = {name: leaves[own].shape for name, own in zip(shapes, order, strict=True)}
            hint = _shape_hint(name if name in label else "it", name, given, shapes, samples)
            raise ValueError(f"{label}: expected the shape {expected}, got {got}{hint}")
    packed = _pack(tree, leaves, order, what, finite)
    dtypes = dict(zip(shapes, packed.dtypes.values(), strict=True))
    notes = _shape_notes(what, other, shapes)
    return Packed(packed.flat, dict(shapes), dtypes, packed.unpack, packed.paths, notes=notes)


def _without_units(shape: Shape) -> Shape:
    return tuple(length for length in shape if length != 1)


def _is_flat(shape: Shape, shapes: Mapping[str, Shape], unit_axes: bool) -> bool:
    """Whether an array of that shape is one vector of all entries, not the one array that is expected."""
    if len(shape) == 1:
        return list(shapes.values()) != [shape]
    known = len(shapes) == 1 and _without_units(shape) == _without_units(*shapes.values())
    return unit_axes and len(shape) > 1 and len(_without_units(shape)) <= 1 and not known


def _shape_notes(what: str, given: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """What to say of the arrays that were taken with another shape."""
    if not given:
        return ()
    if len(given) > 1:
        forms = _list({f"{shape} for {shapes[name]}": name for name, shape in given.items()})
        said = f"the {what}s of {_list(given)} have other shapes than their parameters, {forms}"
    else:
        ((name, shape),) = given.items()
        said = f"the {what} of {name} has the shape {shape}, its parameter {shapes[name]}"
        if list(shapes) == ["params"]:
            said = f"the {what} has the shape {shape}, the parameters {shapes[name]}"
    return (f"{said}: taken as the same entries",)


def _shape_hint(
    called: str, name: str, given: Mapping[str, Shape], shapes: Mapping[str, Shape], samples: int | None
) -> str:
    """What the shape of an array says about the mistake, if it says anything."""
    got, expected = given[name], shapes[name]
    other = next((o for o in shapes if got == shapes[o] and given[o] == expected), None)
    if other is not None:
        both = ", or both transposed" if got == expected[::-1] else ""
        return f"; {name} and {other} look exchanged{both}"
    if got == expected[::-1]:
        return f"; {called} looks transposed"
    if samples is not None and len(expected) == 1 and got == (samples,):
        return f"; {called} has one entry per sample: summed over the wrong axis"
    if samples is not None and got == (samples, *expected):
        return f"; {called} is not summed over the {samples} samples"
    if sorted(got) == sorted((1, *expected)):
        return f"; {called} has one axis of length 1 too many"
    return ""


def walk(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays (or whatever is there) of a tree, each with its path after `path`."""
    if _is_leaf(tree):
        yield path, tree
        return
    for key, child in _children(tree):
        yield from walk(child, key if not path else path + key if key.startswith("[") else f"{path}.{key}")


def copy(tree: Tree) -> Tree:
    """The same tree with arrays of its own, of the same dtypes."""
    return _rebuild(tree, iter([np.array(leaf) for _, leaf in walk(tree)]))


def cast(tree: Tree, like: Tree) -> Tree:
    """The same tree with the dtypes of a tree of the same form."""
    pairs = zip(walk(tree), walk(like), strict=True)
    return _rebuild(like, iter([np.asarray(leaf, np.asarray(other).dtype) for (_, leaf), (_, other) in pairs]))


def _has_numbers(leaves: Mapping[str, NDArray[Any]]) -> bool:
    return any(leaf.ndim == 0 for leaf in leaves.values())


def _is_leaf(tree: Tree) -> bool:
    return isinstance(tree, np.ndarray) or not isinstance(tree, (dict, list, tuple, Mapping))


def _children(tree: Tree) -> list[tuple[str, Tree]]:
    if isinstance(tree, (dict, Mapping)):  # a dict is recognised at once
        return [(str(key), child) for key, child in tree.items()]
    return [(f"[{k}]", child) for k, child in enumerate(tree)]


def _read(tree: Tree, what: str) -> dict[str, NDArray[Any]]:
    leaves: dict[str, NDArray[Any]] = {}
    for path, leaf in walk(tree):
        name = path or what
        if name in leaves:
            raise ValueError(f"{what}: two arrays are called {name}")
        leaves[name] = real_array(f"{what}: {name}" if path else what, leaf)
    return leaves


def _pack(tree: Tree, leaves: Mapping[str, NDArray[Any]], order: Sequence[str], what: str, finite: bool) -> Packed:
    shapes = {name: leaves[name].shape for name in order}
    flat = np.concatenate([leaves[name].ravel() for name in order] or [np.empty(0)], dtype=np.float64)
    if finite and not np.isfinite(flat).all():
        for name in order:
            require_finite(what if name == what else f"{what}: {name}", leaves[name])

    unpack = _Unpack(tree, shapes, tuple(leaves))
    return Packed(flat, shapes, {name: leaves[name].dtype for name in order}, unpack, tuple(order))


class _Unpack:
    """A flat vector of arrays of these shapes -> a tree like `tree`, which has them in the order of `names`.

    Of the tree only its form is needed: pickled, its arrays stay behind. A function's trees are made anew for every
    evaluation, so the usual ones (an array; a dict or a list of arrays) are made without going through them.
    """

    def __init__(self, tree: Tree, shapes: Mapping[str, Shape], names: Sequence[str]) -> None:
        self._tree = tree
        self._shapes = shapes
        self._names = names

    @cached_property
    def _parts(self) -> list[tuple[slice, Shape]]:
        """Where the arrays lie in the vector, in the order of the tree."""
        places = {name: (part, shape) for name, part, shape in parts(self._shapes)}
        return [places[name] for name in self._names]

    @cached_property
    def _form(self) -> Callable[[list[NDArray[Any]]], Tree]:
        """From the arrays in that order to the tree."""
        tree = self._tree

        def is_array(leaf: Any) -> bool:
            return isinstance(leaf, np.ndarray) and leaf.ndim > 0

        if is_array(tree):
            return lambda arrays: arrays[0]
        if type(tree) is dict and all(map(is_array, tree.values())):
            return lambda arrays: dict(zip(tree, arrays, strict=True))
        if type(tree) is list and all(map(is_array, tree)):
            return lambda arrays: arrays
        return lambda arrays: _rebuild(tree, iter(arrays))

    def __call__(self, vector: NDArray[np.float64]) -> Tree:
        batch = vector.shape[:-1]
        if batch:
            arrays = [vector[..., part].reshape(batch + shape) for part, shape in self._parts]
        else:
            arrays = [vector[part].reshape(shape) for part, shape in self._parts]
        return self._form(arrays)

    def __reduce__(self) -> tuple[type[_Unpack], tuple[Any, ...]]:
        return _Unpack, (_rebuild(self._tree, repeat(np.zeros(()))), self._shapes, self._names)


def _rebuild(tree: Tree, values: Iterator[NDArray[Any]]) -> Tree:
    if _is_leaf(tree):
        value = next(values)
        return value if isinstance(tree, np.ndarray) or value.ndim else value.item()
    if isinstance(tree, (dict, Mapping)):
        return {key: _rebuild(child, values) for key, child in tree.items()}
    children = [_rebuild(child, values) for child in tree]
    if isinstance(tree, tuple):
        return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
    return children


def _pack_vector(vector: Any, shapes: Mapping[str, Shape], what: str, finite: bool) -> Packed:
    array = real_array(what, vector)
    total = sum(prod(shape) for shape in shapes.values())
    if array.size != total:
        raise ValueError(
            f"{what}: expected a flat vector of {total} entries ({_list(shapes)}), got the shape {array.shape}"
        )
    note = f"the {what} has the shape {array.shape}: taken as one flat vector of {total} entries"
    notes = (note,) if array.ndim > 1 else ()
    array = array.reshape(-1)
    if finite:
        for name, part in split(array, shapes):
            require_finite(f"{what}: {name}", part)
    dtypes = dict.fromkeys(shapes, array.dtype)
    return Packed(array.astype(np.float64), dict(shapes), dtypes, _as_it_is, notes=notes)


def _as_it_is(flat: NDArray[np.float64]) -> Tree:
    return flat


def _name_differences(what: str, got: list[str], expected: list[str]) -> str:
    missing = [name for name in expected if name not in got]
    extra = [name for name in got if name not in expected]
    parts = []
    if missing:
        parts.append(f"missing {', '.join(missing)}")
    if extra:
        parts.append(f"unexpected {', '.join(name + nearest(name, missing) for name in extra)}")
    return f"{what}: {'; '.join(parts)}; expected {', '.join(expected)}"


def _list(names: Mapping[str, Any]) -> str:
    listed = list(names)
    return ", ".join(listed[:6] + ["…"] * (len(listed) > 6)) or "none"
