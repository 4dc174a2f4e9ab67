"""Matrix products and other functions of matrices, for many perturbations at once; see `entries_rules`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine.entries_places import FILLED, Change, Places, Single, selection, taken
from gradcheck_fast.engine.entries_step import BoundStep, Forms, Plan, Shape, dense, given

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.entries_places import Index

    Reals = NDArray[np.float64]


# ---- matrix products


def multiplied(step: BoundStep, forms: Forms) -> Plan | None:
    """Plans a matrix product, in the way that is least work for what changes."""
    left, right = forms
    a, b = step.factors
    if b.ndim == 2 and left is not None and right is None:
        return _rows_times(step, left)
    if b.ndim == 2 and left is None and right is not None:
        return _times_columns(step, right)
    return _stacks(step, left, right) if a.shape[:-2] == b.shape[:-2] else _of_stacks(step, forms)


def _block(step: BoundStep, rows: Index, columns: Index, width: int) -> Places:
    """Returns the places of a block of a matrix of some width."""
    return step.book.some(step.size, (rows[:, np.newaxis] * width + columns).ravel())


def _some(reached: Any) -> Index:
    """Returns the numbers of what is reached, or of all, if that is much of it."""
    index = np.flatnonzero(reached)
    return np.arange(len(reached)) if len(index) >= FILLED * len(reached) else index


def _rows_times(step: BoundStep, form: Places) -> Plan:
    """Multiplies the changed columns of the changed rows on the left by a matrix."""
    _, b = step.factors
    inner, width = b.shape
    mask = form.mask.reshape(-1, inner)
    rows, columns = _some(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    chosen = selection(form.numbers((rows[:, np.newaxis] * inner + columns).ravel()), form.count)
    matrix, n = np.ascontiguousarray(b[columns]), len(rows)

    def run(values: Sequence[Reals | None]) -> Reals:
        v = taken(given(values), chosen)
        if len(columns) == 1:
            return np.asarray(v.reshape(len(v), n, 1) * matrix[0]).reshape(len(v), n * width)
        return np.asarray(v.reshape(len(v) * n, len(columns)) @ matrix).reshape(len(v), n * width)

    places = _block(step, rows, np.arange(width), width)
    return Plan(places, run, n * (len(columns) + 0.1 * width * len(columns)))


def _times_columns(step: BoundStep, form: Places) -> Plan:
    """Multiplies a matrix by the changed columns on the right."""
    a, b = step.factors
    inner, width = b.shape
    mask = form.mask.reshape(inner, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), _some(mask.any(axis=0))
    chosen = selection(form.numbers((rows[:, np.newaxis] * width + columns).ravel()), form.count)
    matrix = np.ascontiguousarray(a.reshape(-1, inner)[:, rows])

    def run(values: Sequence[Reals | None]) -> Reals:
        v = taken(given(values), chosen)
        return (matrix @ v.reshape(len(v), len(rows), len(columns))).reshape(len(v), -1)

    places = _block(step, np.arange(len(matrix)), columns, width)
    return Plan(places, run, 0.2 * len(matrix) * len(rows) * len(columns))


def _stacks(step: BoundStep, left: Places | None, right: Places | None) -> Plan:
    """Multiplies those matrices of two stacks in which something changes."""
    factors, forms = step.factors, (left, right)
    count = math.prod(factors[0].shape[:-2])
    reached = np.zeros(count, np.bool_)
    for form in forms:
        if form is not None:
            reached |= form.mask.reshape(count, -1).any(axis=1)
    chosen = _some(reached)
    a, b = (x.reshape(count, *x.shape[-2:])[chosen] for x in factors)
    columns = [
        None if form is None else selection(form.numbers(_block_of(chosen, x)), form.count)
        for form, x in zip(forms, factors, strict=True)
    ]

    def run(values: Sequence[Reals | None]) -> Reals:
        da, db = (
            None if v is None else taken(v, some).reshape(len(v), *x.shape)
            for v, some, x in zip(values, columns, (a, b), strict=True)
        )
        found = _product_difference(a, b, da, db)
        return found.reshape(len(found), -1)

    size = a.shape[-2] * b.shape[-1]
    places = _block(step, chosen, np.arange(size), size)
    return Plan(places, run, 0.2 * places.count * a.shape[-1])


def _block_of(chosen: Index, stack: Reals) -> Index:
    """Returns the places of some matrices of a stack."""
    size = stack.shape[-2] * stack.shape[-1]
    return np.asarray(chosen[:, np.newaxis] * size + np.arange(size)).ravel()


def _product_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference da (b + db) + a db."""
    if db is None:
        assert da is not None
        return np.asarray(da @ b)
    return np.asarray(a @ db if da is None else da @ (b + db) + a @ db)


def _of_stacks(step: BoundStep, forms: Forms) -> Plan:
    """Multiplies stacks that are broadcast, in whole."""
    whole = [dense(step, k, form) for k, form in enumerate(forms)]
    a, b = step.factors
    axes = max(a.ndim, b.ndim)

    def aligned(d: Reals | None, x: Reals) -> Reals | None:
        return None if d is None else d.reshape(len(d), *(1,) * (axes - x.ndim), *x.shape)

    def run(values: Sequence[Reals | None]) -> Reals:
        da, db = (of(v) for of, v in zip(whole, values, strict=True))
        found = _product_difference(a, b, aligned(da, a), aligned(db, b))
        return found.reshape(len(found), step.size)

    return Plan(step.book.every(step.size), run, 0.2 * step.size * a.shape[-1])


def single_multiplied(step: BoundStep, k: int, change: Single) -> Change | None:
    """An entry on the right moves a column of the product, and one on the left a row."""
    a, b = step.factors
    if b.ndim != 2 or (k == 0 and a.ndim != 2):
        return None
    width, of_width = b.shape[1], b.shape[1] if k else a.shape[1]
    row, column = np.divmod(change.where, of_width)
    lines, inner = (column, row) if k else (row, column)  # which column (or row) of the product moves, and by what
    moved, numbers = np.unique(lines, return_inverse=True)
    values = (step.columns_of_left if k else b)[inner] * change.values[:, np.newaxis]
    length = np.arange(values.shape[1])
    places = _block(step, length, moved, width) if k else _block(step, moved, length, width)
    if len(moved) > 1:
        every = np.zeros((len(values), len(length), len(moved)) if k else (len(values), len(moved), len(length)))
        each = np.arange(len(values))
        if k:
            every[each, :, numbers] = values
        else:
            every[each, numbers] = values
        values = every.reshape(len(values), -1)
    return Change(values, places)


# ---- in whole


def of_matrices(step: BoundStep, forms: Forms) -> Plan | None:
    """Plans a function of each matrix of a stack, which the perturbations make longer."""
    (form,) = forms
    whole = dense(step, 0, form)

    def run(values: Sequence[Reals | None]) -> Reals:
        d = whole(given(values))
        assert d is not None
        return step.difference([np.broadcast_to(step.x[0], d.shape)], [d]).reshape(len(d), step.size)

    return Plan(step.book.every(step.size), run, step.primitive.work(step.shapes))


def solved(step: BoundStep, forms: Forms) -> Plan:
    """Plans equations, whose right-hand sides are made matrices."""
    whole = [dense(step, k, form) for k, form in enumerate(forms)]
    a, b = step.x
    shapes: list[Shape] = [a.shape, (*b.shape, 1) if b.ndim == 1 else b.shape]
    axes = max(map(len, shapes))
    shapes = [(1,) * (axes - len(shape)) + shape for shape in shapes]

    def run(values: Sequence[Reals | None]) -> Reals:
        d = [of(v) for of, v in zip(whole, values, strict=True)]
        rows = len(given(d))
        full = [None if each is None else each.reshape(rows, *shape) for each, shape in zip(d, shapes, strict=True)]
        x = [np.broadcast_to(at.reshape(shape), (rows, *shape)) for at, shape in zip(step.x, shapes, strict=True)]
        return step.difference(x, full).reshape(rows, step.size)

    return Plan(step.book.every(step.size), run, step.primitive.work(step.shapes))


def one_by_one(step: BoundStep, forms: Forms) -> Plan:
    """Runs the rule for one perturbation after the other: what is of no kind that is known here."""
    whole = [dense(step, k, form) for k, form in enumerate(forms)]

    def run(values: Sequence[Reals | None]) -> Reals:
        d = [of(v) for of, v in zip(whole, values, strict=True)]
        rows = len(given(d))
        found = np.empty((rows, step.size))
        for row in range(rows):
            own = [None if each is None else each[row] for each in d]
            found[row] = step.difference(step.x, own).ravel()
        return found

    return Plan(step.book.every(step.size), run, 1000.0 + 4.0 * step.primitive.work(step.shapes, **step.attributes))
