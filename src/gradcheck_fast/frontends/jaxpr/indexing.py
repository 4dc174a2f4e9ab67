"""``gather`` and the kinds of ``scatter``: they become index maps, which are computed here from the dimension numbers.

The meaning of the numbers is XLA's (https://openxla.org/xla/operation_semantics, Gather and Scatter).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.jaxpr.movement import writable
from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced


class Blocks(NamedTuple):
    """Blocks of an array, one for each row of indices.

    Attributes
    ----------
    index : ndarray of int64, shape (*rows, *block)
        Where each entry of each block is in the flattened array. Blocks that reach beyond it are moved inside.
    is_inside : ndarray of bool, shape (*rows)
        Which of them had not to be moved.
    begins : ndarray of int64, shape (*rows, axes)
        Where they would begin if none was moved.
    """

    index: Any
    is_inside: Any
    begins: Any


def blocks(
    shape: Sequence[int], indices: Any, sizes: Sequence[int], *, start_axes: Sequence[int], dropped: Sequence[int],
    batching: Sequence[int], batching_of_indices: Sequence[int],
) -> Blocks:  # fmt: skip
    """Finds blocks of an array.

    Parameters
    ----------
    shape : sequence of int
        That of the array.
    indices : ndarray of int, shape (*rows, n)
        For each block, where it begins along the n axes `start_axes`.
    sizes : sequence of int
        That of a block along each axis.
    start_axes : sequence of int
    dropped : sequence of int
        Axes along which blocks have the length 1, and that they do not keep.
    batching, batching_of_indices : sequence of int
        Axes of the array, and the axes of the rows that run along these.
    """
    rows = indices.shape[:-1]
    begins = np.zeros((*rows, len(shape)), np.int64)
    begins[..., list(start_axes)] = indices
    for axis, own in zip(batching, batching_of_indices, strict=True):
        begins[..., axis] = np.arange(rows[own]).reshape([-1 if k == own else 1 for k in range(len(rows))])
    most = np.array(shape, np.int64) - np.array(sizes, np.int64)
    is_inside = ((begins >= 0) & (begins <= most)).all(axis=-1)
    steps = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    kept = [k for k in range(len(shape)) if k not in dropped and k not in batching]
    index = np.clip(begins, 0, most) @ np.array(steps, np.int64) if shape else np.zeros(rows, np.int64)
    for axis in kept:
        index = index[..., np.newaxis] + steps[axis] * np.arange(sizes[axis])
    return Blocks(index, is_inside, begins)


def _axes(places: Sequence[int], count: int) -> tuple[list[int], list[int]]:
    """Returns the axes of the rows and of the blocks, where the latter have these places among `count` axes."""
    return [k for k in range(count) if k not in places], list(places)


def _is_filled(mode: Any) -> bool:
    return "FILL" in str(mode).upper()


@rule("gather", plain=True, counts=True, parts="each")
def _gather(op: Equation, x: Any, indices: Any) -> Any:
    numbers = op.params["dimension_numbers"]
    indices = op.machine.plain(indices, np.int64, "a gather at").astype(np.int64)
    found = blocks(
        x.shape, indices, op.params["slice_sizes"], start_axes=numbers.start_index_map,
        dropped=numbers.collapsed_slice_dims, batching=getattr(numbers, "operand_batching_dims", ()),
        batching_of_indices=getattr(numbers, "start_indices_batching_dims", ()),
    )  # fmt: skip
    rows, kept = _axes(numbers.offset_dims, len(op.shape))
    order = np.argsort([*rows, *kept])
    taken = np.reshape(x, -1)[np.transpose(found.index, order)]
    if found.is_inside.all():
        return taken
    if not _is_filled(op.params["mode"]):
        if "PROMISE" in str(op.params["mode"]).upper() and is_traced(x):
            _note_outside(op, x.shape, found)
        return taken
    fill = op.params["fill_value"]
    if fill is None:  # as jax.lax.gather says
        kind = x.dtype.kind
        fill = np.nan if kind not in "biu" else True if kind == "b" else np.iinfo(x.dtype).min if kind == "i" else -1
    inside = found.is_inside.reshape(found.is_inside.shape + (1,) * len(kept))
    inside = np.transpose(np.broadcast_to(inside, found.index.shape), order)
    return np.where(inside, taken, np.asarray(fill).astype(x.dtype))


def _note_outside(op: Equation, shape: Sequence[int], found: Blocks) -> None:
    """Notes that an index is out of bounds, where the function promises JAX that none is."""
    begin = found.begins[~found.is_inside][0]
    most = np.array(shape) - np.array(op.params["slice_sizes"])
    axis = int(np.flatnonzero((begin < 0) | (begin > most))[0])
    op.machine.has_index_outside = True
    op.recording.note(
        f"index {begin[axis]} is out of bounds for axis {axis} with size {shape[axis]}: the value has the nearest "
        "entry, but jax.grad leaves it out, so that its gradient need not be that of the value; say what is meant by "
        'x.at[i].get(mode="clip") or mode="fill"'
    )


def _scatter_index(op: Equation, x: Any, indices: Any, updates: Any) -> tuple[Any, Any]:
    """Returns where entries of the updates go in the flattened array, and these entries, both flat."""
    numbers = op.params["dimension_numbers"]
    indices = op.machine.plain(indices, np.int64, "a scatter at").astype(np.int64)
    batching = getattr(numbers, "operand_batching_dims", ())
    lengths = iter(updates.shape[k] for k in numbers.update_window_dims)
    dropped = numbers.inserted_window_dims
    sizes = [1 if k in dropped or k in batching else next(lengths) for k in range(x.ndim)]
    found = blocks(
        x.shape, indices, sizes, start_axes=numbers.scatter_dims_to_operand_dims, dropped=dropped, batching=batching,
        batching_of_indices=getattr(numbers, "scatter_indices_batching_dims", ()),
    )  # fmt: skip
    rows, kept = _axes(numbers.update_window_dims, updates.ndim)
    index, updates = np.ravel(found.index), np.ravel(np.transpose(updates, [*rows, *kept]))
    if "CLIP" in str(op.params["mode"]).upper() or found.is_inside.all():
        return index, updates
    inside = found.is_inside.reshape(found.is_inside.shape + (1,) * len(kept))
    places = np.flatnonzero(np.broadcast_to(inside, found.index.shape))
    return index[places], updates[places]


@rule("scatter", counts=True, parts="each")
def _scatter(op: Equation, x: Any, indices: Any, updates: Any) -> Any:
    inner = op.params["update_jaxpr"]
    if inner is not None and getattr(inner, "jaxpr", inner).eqns:  # of .at[...].apply
        return op.machine.bound(op.equation, (x, indices, updates))
    index, updates = _scatter_index(op, x, indices, updates)
    return _updated(op, x, index, lambda flat: flat.__setitem__(index, updates))


def _scattered(ufunc: Any) -> Any:
    def scatter(op: Equation, x: Any, indices: Any, updates: Any) -> Any:
        index, updates = _scatter_index(op, x, indices, updates)
        return _updated(op, x, index, lambda flat: ufunc.at(flat, index, updates))

    return scatter


def _updated(op: Equation, x: Any, index: Any, update: Any) -> Any:
    found = writable(op, np.ravel(x))
    if index.size:
        update(found)
    return found.reshape(op.shape)


for _name, _ufunc in {"mul": np.multiply, "min": np.minimum, "max": np.maximum, "sub": np.subtract}.items():
    rule(f"scatter-{_name}", f"scatter_{_name}")(_scattered(_ufunc))
_add = _scattered(np.add)


@rule("scatter-add", "scatter_add", counts=True, parts="each")
def _scatter_add(op: Equation, x: Any, indices: Any, updates: Any) -> Any:
    if is_traced(x) or not is_traced(updates) or x.any():
        return _add(op, x, indices, updates)
    index, updates = _scatter_index(op, x, indices, updates)  # a sum by segments, of nothing else
    found = np.zeros(x.size)
    np.add.at(found, index, updates._view)
    return op.recording.step("scatter_add", [updates], found, index=index, shape=found.shape).reshape(op.shape)
