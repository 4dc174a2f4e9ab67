"""Turns a tree of arrays into one flat vector, and back.

A tree is an array, a number, or a dict, list or tuple of trees. What packing returns knows how to unpack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import repeat
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from gradcheck_fast.inputs.arrays import DOUBLE, Precision, format_index, no_gradient, real_array, require_finite
from gradcheck_fast.inputs.gradient_names import partly_taken, taken
from gradcheck_fast.inputs.mismatches import listed, name_differences, shape_hint, shape_notes, without_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.domain import Domain

Tree: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]


class Unpack(Protocol):
    """Makes trees like one that was packed."""

    def __call__(self, vector: NDArray[np.float64], /) -> Tree:
        """Makes the tree of a flat vector, of which its arrays are views."""

    def of(self, leaves: list[Any]) -> Tree:
        """Makes the tree of leaves in the order of the shapes; they need not be arrays."""


@dataclass(frozen=True, eq=False, repr=False)
class Packed:
    """A tree as one flat float64 vector, with what is needed to go back.

    Attributes
    ----------
    join : callable
        Makes `flat`.
    shapes : dict
        The shape of each array by its name, in the order of `flat`.
    dtypes : dict
        The dtype that each array had, by its name.
    unpack : callable
        Takes a flat vector of that size to a tree like the one that was packed, whose arrays are views of the vector.
        An array of such vectors, of shape (..., size), is taken to arrays that have its leading axes first.
    paths : tuple of str
        Where each array lies in the tree, in the order of `flat`; empty if the tree is one vector.
    computed_in : Precision
        The coarsest precision in which the numbers were computed; it may be coarser than that of `dtypes`.
    notes : tuple of str
        Sentences that name the arrays that were accepted although they do not have the expected shape.
    domain : Domain, optional
        Of parameters: where they may be moved. None: anywhere.
    """

    join: Callable[[], NDArray[np.float64]]
    shapes: dict[str, Shape]
    dtypes: dict[str, np.dtype[Any]]
    unpack: Unpack
    paths: tuple[str, ...] = ()
    computed_in: Precision = DOUBLE
    notes: tuple[str, ...] = ()
    domain: Domain | None = None

    @cached_property
    def flat(self) -> NDArray[np.float64]:
        """All entries, array after array, each in C order: a copy, which shares nothing with the tree."""
        return self.join()

    def precision(self, name: str) -> Precision:
        """The precision of an array: that of its dtype, or `computed_in` where this is coarser."""
        own = Precision.of(self.dtypes[name])
        return own if own.eps >= self.computed_in.eps else self.computed_in

    @cached_property
    def precisions(self) -> list[Precision]:
        """The precision of each array, in the order of `flat`."""
        return [self.precision(name) for name in self.dtypes]

    def arrays(self, flat: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yields the name of each array and the array itself, as a view of `flat`."""
        return split(flat, self.shapes)


def parts(shapes: Mapping[str, Shape]) -> Iterator[tuple[str, slice, Shape]]:
    """Yields the name of each array, the slice of the flat vector in which it lies, and its shape."""
    begin = 0
    for name, shape in shapes.items():
        end = begin + prod(shape)
        yield name, slice(begin, end), shape
        begin = end


def entry_name(shapes: Mapping[str, Shape], k: int) -> str:
    """Returns the name of entry `k` of the flat vector: ``W1[3, 4]``, or ``b`` if the array b is a scalar.

    Raises
    ------
    IndexError
        If the vector has no more than `k` entries.
    """
    for name, part, shape in parts(shapes):
        if k < part.stop:
            return name + format_index(tuple(map(int, np.unravel_index(k - part.start, shape)))) if shape else name
    raise IndexError(k)


def split(flat: NDArray[Any], shapes: Mapping[str, Shape]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yields the name and a view of each array of a flat vector; leading axes of `flat` come first in the arrays."""
    for name, part, shape in parts(shapes):
        yield name, flat[..., part].reshape(flat.shape[:-1] + shape)


def pack(tree: Tree, what: str = "params", *, finite: bool = True) -> Packed:
    """Packs a tree in its own order; the name of an array is its path, such as ``layer.W`` or ``[0][1]``.

    Parameters
    ----------
    tree : array, number, or dict, list or tuple of trees
    what : str
        What the tree is called in errors; also the name of the array, where the tree is a single one.
    finite : bool
        Whether NaN and infinity are refused.

    Raises
    ------
    TypeError
        If a leaf is not a real array or number.
    ValueError
        If a leaf is not finite, or if two have the same name.
    """
    leaves = _read(tree, what)
    return _pack(tree, leaves, {name: (name, leaf.shape) for name, leaf in leaves.items()}, what, finite)


def pack_as(
    tree: Tree | Packed, shapes: Mapping[str, Shape], what: str = "params", *, paths: Sequence[str] = (),
    finite: bool = True, samples: int | None = None, gradient: bool = False, late: bool = False,
    fixed: Collection[str] = (),
) -> Packed:  # fmt: skip
    """Packs a tree in the order of the named `shapes` that it is expected to have.

    Parameters
    ----------
    tree : tree or Packed
        One flat vector of all entries in the order of `shapes`; a dict (nested or not) with their names; a tree whose
        arrays lie at `paths`, in any order; or any other tree of arrays of these shapes in this order. What is packed
        already is returned as it is.
    shapes : dict
        The expected shape of each array, by its name.
    what : str
        What the tree is called in errors.
    paths : sequence of str
        Where the arrays lie in the tree that `tree` is expected to resemble, in the order of `shapes`.
    finite : bool
        Whether NaN and infinity are refused.
    samples : int, optional
        The number of samples, from which errors tell that a gradient was not summed over them.
    gradient : bool
        Whether the tree is a gradient, of which only the entries count. Then an array whose shape differs by axes of
        length 1 alone is accepted: its entries are the same, in the same order. And arrays may be named as gradients of
        the expected ones, such as ``dW1`` for ``W1`` (`gradient_names.taken`); what else is in the tree is then passed
        over. Notes say both. Parameters must have the expected shapes: if a network's bias is a column, its weights are
        transposed.
    late : bool
        Whether the entries are copied only when `Packed.flat` is first needed, so that there are not more vectors at
        once than needed. Until then nobody may write into the tree, and that its entries are finite is not seen.
    fixed : collection of str
        Arrays whose gradient may be None: zeros are taken for it.

    Raises
    ------
    TypeError
        If a leaf is not a real array or number.
    ValueError
        If an array is missing, extra, of another shape, or not finite. The message names it.
    """
    if isinstance(tree, Packed):
        return tree
    if type(tree) is dict and _is_as_expected(tree, shapes):
        return _pack(tree, tree, {name: (name, shape) for name, shape in shapes.items()}, what, finite, late=late)
    if _is_leaf(tree) and _is_flat(np.shape(tree), shapes, gradient):
        return _pack_vector(tree, shapes, what, finite, late)
    if gradient and not _is_leaf(tree):
        named = dict(walk(tree))
        found = None if paths and set(named) == set(paths) else taken(what, list(named), list(shapes))
        if found:
            places = list(found.places.values())
            packed = pack_as(
                {place: named[place] for place in places}, shapes, what, paths=places, finite=finite, samples=samples,
                gradient=True, late=late, fixed=fixed,
            )  # fmt: skip
            return replace(packed, notes=(found.note, *packed.notes))
    leaves = _read(tree, what, gradient and not _is_leaf(tree))
    if set(leaves) == set(shapes):
        order = list(shapes)
    elif paths and set(leaves) == set(paths):
        order = list(paths)
    elif isinstance(tree, Mapping) and all(map(_is_leaf, tree.values())):
        partly = gradient and partly_taken(what, list(leaves), list(shapes))
        raise ValueError(partly or name_differences(what, list(leaves), list(shapes)))
    elif len(leaves) != len(shapes):
        counts = f"expected {len(shapes)} arrays ({listed(shapes)}), got {len(leaves)} ({listed(leaves)})"
        has_numbers = any(leaf.ndim == 0 for leaf in leaves.values())
        hint = "; lists are trees of arrays, make a matrix of numbers by np.array" * has_numbers
        raise ValueError(f"{what}: {counts}{hint}")
    else:
        order = list(leaves)
    other = {}
    for name, own in zip(shapes, order, strict=True):
        if leaves[own].dtype == object:
            leaves[own] = no_gradient(what, name, shapes[name], fixed)
        got, expected = leaves[own].shape, shapes[name]
        if gradient and got != expected and without_units(got) == without_units(expected):
            other[name] = got
        elif got != expected:
            label = f"{what}: {name}" if own in (name, what) else f"{what}: {name} (at {own})"
            label = what if _is_leaf(tree) and list(shapes) == ["params"] else label
            given = {name: leaves[own].shape for name, own in zip(shapes, order, strict=True)}
            hint = shape_hint(name if name in label else "it", name, given, shapes, samples)
            raise ValueError(f"{label}: expected the shape {expected}, got {got}{hint}")
    placed = {own: (name, shape) for own, (name, shape) in zip(order, shapes.items(), strict=True)}
    return _pack(tree, leaves, placed, what, finite, shape_notes(what, other, shapes), late)


def _is_as_expected(tree: dict[Any, Any], shapes: Mapping[str, Shape]) -> bool:
    """Whether a dict has the names and shapes, and float64 arrays: that of a small network is then read at once."""
    return tree.keys() == shapes.keys() and all(
        type(tree[name]) is np.ndarray and tree[name].dtype == np.float64 and tree[name].shape == shape
        for name, shape in shapes.items()
    )


def _is_flat(shape: Shape, shapes: Mapping[str, Shape], gradient: bool) -> bool:
    """Whether an array of that shape is read as one vector of all entries, not as the one array that is expected."""
    if len(shape) == 1:
        return list(shapes.values()) != [shape]
    known = len(shapes) == 1 and without_units(shape) == without_units(*shapes.values())
    return gradient and len(shape) > 1 and len(without_units(shape)) <= 1 and not known


def walk(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the path of each leaf of a tree, which begins with `path`, and the leaf, whatever it is."""
    if _is_leaf(tree):
        yield path, tree
        return
    for key, child in _children(tree):
        yield from walk(child, key if not path else path + key if key.startswith("[") else f"{path}.{key}")


def copy(tree: Tree) -> Tree:
    """Copies a tree and its arrays, with their dtypes."""
    return _rebuild(tree, iter([np.array(leaf) for _, leaf in walk(tree)]))


def cast(tree: Tree, like: Tree) -> Tree:
    """Copies a tree, with each array in the dtype of the array at its place in `like`, a tree of the same form."""
    pairs = zip(walk(tree), walk(like), strict=True)
    return _rebuild(like, iter([np.asarray(leaf, np.asarray(other).dtype) for (_, leaf), (_, other) in pairs]))


def _is_leaf(tree: Tree) -> bool:
    return isinstance(tree, np.ndarray) or not isinstance(tree, (dict, list, tuple, Mapping))


def _children(tree: Tree) -> list[tuple[str, Tree]]:
    if isinstance(tree, (dict, Mapping)):  # a dict is recognised at once
        return [(str(key), child) for key, child in tree.items()]
    return [(f"[{k}]", child) for k, child in enumerate(tree)]


def _read(tree: Tree, what: str, gaps: bool = False) -> dict[str, NDArray[Any]]:
    """Reads the leaves by their paths. With `gaps`, they may be None."""
    leaves: dict[str, NDArray[Any]] = {}
    for path, leaf in walk(tree):
        name = path or what
        if name in leaves:
            raise ValueError(f"{what}: two arrays are called {name}")
        leaves[name] = real_array(f"{what}: {name}" if path else what, leaf, allow_none=gaps)
    return leaves


def _pack(
    tree: Tree, leaves: Mapping[str, NDArray[Any]], placed: Mapping[str, tuple[str, Shape]], what: str, finite: bool,
    notes: tuple[str, ...] = (), late: bool = False,
) -> Packed:  # fmt: skip
    """Packs leaves in the order of `placed`: for each path in the tree the name and the shape that it goes under."""
    order = [leaves[path] for path in placed]
    join: Callable[[], NDArray[np.float64]] = partial(_joined, order)
    if not late:
        flat = join()
        if finite and not np.isfinite(flat).all():
            for path, leaf in zip(placed, order, strict=True):
                require_finite(what if path == what else f"{what}: {path}", leaf)
        join = partial(np.asarray, flat)
    unpack = _Unpack(tree, {path: leaves[path].shape for path in placed}, tuple(leaves))
    dtypes = {name: leaf.dtype for (name, _), leaf in zip(placed.values(), order, strict=True)}
    return Packed(join, dict(placed.values()), dtypes, unpack, tuple(placed), notes=notes)


def _joined(leaves: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.concatenate([leaf.ravel() for leaf in leaves] or [np.empty(0)], dtype=np.float64)


class _Unpack:
    """Takes a flat vector to a tree like `tree`, whose arrays have these shapes and are in the order of `names`.

    Only the form of `tree` is needed, so its arrays are not pickled. A function's tree is made anew for every
    evaluation, so the usual ones (an array; a dict or a list of arrays) are made without a walk through `tree`.
    """

    def __init__(self, tree: Tree, shapes: Mapping[str, Shape], names: Sequence[str]) -> None:
        self._tree = tree
        self._shapes = shapes
        self._names = names
        self._parts: list[tuple[slice, Shape]] = []  # of each array in the tree; made when first needed
        self._form: Callable[[list[NDArray[Any]]], Tree] = list

    def _find_form(self) -> Callable[[list[NDArray[Any]]], Tree]:
        """Makes a function that makes the tree of arrays that are in its order."""
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
        if not self._parts:
            places = {name: (part, shape) for name, part, shape in parts(self._shapes)}
            self._form, self._parts = self._find_form(), [places[name] for name in self._names]
        batch = vector.shape[:-1]
        if batch:
            arrays = [vector[..., part].reshape(batch + shape) for part, shape in self._parts]
        else:
            arrays = [vector[part].reshape(shape) for part, shape in self._parts]
        return self._form(arrays)

    def of(self, leaves: list[Any]) -> Tree:
        """Takes leaves in the order of `shapes`, which need not be arrays, to the tree."""
        placed = dict(zip(self._shapes, leaves, strict=True))
        return _rebuild(self._tree, iter([placed[name] for name in self._names]))

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


def _pack_vector(vector: Any, shapes: Mapping[str, Shape], what: str, finite: bool, late: bool) -> Packed:
    array = real_array(what, vector)
    total = sum(prod(shape) for shape in shapes.values())
    if array.size != total:
        raise ValueError(
            f"{what}: expected a flat vector of {total} entries ({listed(shapes)}), got the shape {array.shape}"
        )
    note = f"the {what} has the shape {array.shape}: taken as one flat vector of {total} entries"
    notes = (note,) if array.ndim > 1 else ()
    array = array.reshape(-1)
    if finite:
        for name, part in split(array, shapes):
            require_finite(f"{what}: {name}", part)
    dtypes = dict.fromkeys(shapes, array.dtype)
    join: Callable[[], NDArray[np.float64]] = partial(array.astype, np.float64)
    return Packed(join if late else partial(np.asarray, join()), dict(shapes), dtypes, _AsItIs(), notes=notes)


class _AsItIs:
    """The tree is the flat vector itself."""

    def __call__(self, vector: NDArray[np.float64]) -> Tree:
        return vector

    def of(self, leaves: list[Any]) -> Tree:
        return np.concatenate([np.ravel(leaf) for leaf in leaves])
