"""The exact differences of steps for many perturbations at once, by the rules of their primitives.

Each kind of step has a function that makes a plan for the places in which its inputs change. The plan says in which
places the output changes, and runs the step for any number of perturbations. Where each perturbation changes one entry,
most kinds have a shorter way. A primitive of no kind that is known here is run perturbation by perturbation, by its own
rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.engine import _entries
from gradcheck_fast.engine.entries_places import FILLED, Change, Places, Single, added, selection, taken
from gradcheck_fast.engine.entries_products import multiplied, of_matrices, one_by_one, single_multiplied, solved
from gradcheck_fast.engine.entries_step import BoundStep, Forms, Plan, Shape, given, numbered
from gradcheck_fast.program.primitive import same_entry
from gradcheck_fast.program.steps.arithmetic import gap_of
from gradcheck_fast.program.steps.reduction import logsumexp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine._entries import Rows
    from gradcheck_fast.engine.entries_places import Index

    Reals = NDArray[np.float64]

Planner: TypeAlias = "Callable[[BoundStep, Forms], Plan | None]"
OfSingle: TypeAlias = "Callable[[BoundStep, int, Single], Single | Change | None]"

MOVEMENT = ("slice", "strided", "gather")
SUMS = ("sum", "scatter_add")
REDUCTIONS = ("prod", "logsumexp")
RUNNING = ("cumsum", "cumprod")
OF_MATRICES = ("inv", "det", "logdet", "cholesky")


def kind_of(step: BoundStep) -> tuple[Planner, OfSingle | None]:
    """Returns what makes the plans of a step, and what it does with a single entry."""
    if step.primitive.reach is same_entry or step.name == "where":
        return _entrywise, _single_entrywise
    if step.name == "reshape":
        return _reshaped, lambda step, k, change: change
    if step.name in MOVEMENT:
        return _moved, _single_moved
    if step.name in SUMS:
        return _summed, lambda step, k, change: Single(change.values, step.targets[change.where])
    if step.name in ("max", "min"):
        return _extreme, None
    if step.name == "logsumexp":
        return _log_of_sum, None
    if step.name in REDUCTIONS or step.name in RUNNING or step.name == "softmax":
        return _along, None
    if step.name == "matmul":
        return multiplied, single_multiplied
    if step.name in OF_MATRICES:
        return of_matrices, None
    return (solved if step.name == "solve" else one_by_one), None


# ---- entry by entry


def _entrywise(step: BoundStep, forms: Forms) -> Plan | None:
    if all(form is None or form.index is None for form in forms):
        return _all_entrywise(step, forms)
    moved = [k for k, form in enumerate(forms) if form is not None]
    alone = forms[moved[0]] if len(moved) == 1 and step.shapes[moved[0]] == step.shape else None
    places = alone or step.reached(forms)
    if places is None:
        return None
    if alone and _is_handed_on(step, moved[0]):
        return Plan(places, given, 0.0)
    x, columns = list[Any](), list[Any]()
    for at, shape, form in zip(step.x, step.shapes, forms, strict=True):
        if form is None and at.size == 1:
            x.append(at.reshape(1, 1))
        else:
            x.append(places.of(np.broadcast_to(at, step.shape))[np.newaxis])
        if form is None or form is alone:
            columns.append(None)
        else:
            where = places.of(np.broadcast_to(numbered(shape), step.shape))
            columns.append(selection(form.numbers(where), form.count))
    kernel, full, (flat, *_) = step.kernel, _repeated(x, forms), x

    def run(values: Sequence[Reals | None]) -> Reals:
        d = [None if v is None else taken(v, some) for v, some in zip(values, columns, strict=True)]
        if kernel is not None and d[0] is not None:
            return _by_kernel(kernel, flat[0], d[0])
        rows = len(given(values))
        return _whole(step.difference(full(rows), d), (rows, places.count))

    return Plan(places, run, 4.0 * places.count)


def _all_entrywise(step: BoundStep, forms: Forms) -> Plan:
    """Plans a step of whose inputs each changes in all places or in none; they are broadcast as they are."""
    places, axes, kernel = step.book.every(step.size), len(step.shape), step.kernel
    moved = [k for k, form in enumerate(forms) if form is not None]
    if len(moved) == 1 and step.shapes[moved[0]] == step.shape and _is_handed_on(step, moved[0]):
        return Plan(places, given, 0.0)
    shapes = [(1,) * (axes - len(shape)) + shape for shape in step.shapes]
    x = [at.reshape(1, *shape) for at, shape in zip(step.x, shapes, strict=True)]
    full = _repeated(x, forms)

    def run(values: Sequence[Reals | None]) -> Reals:
        if kernel is not None and values[0] is not None:
            return _by_kernel(kernel, x[0].ravel(), values[0])
        rows = len(given(values))
        d = [None if v is None else v.reshape(rows, *shape) for v, shape in zip(values, shapes, strict=True)]
        return _whole(step.difference(full(rows), d), (rows, *step.shape)).reshape(rows, step.size)

    return Plan(places, run, 4.0 * step.size)


def _is_handed_on(step: BoundStep, k: int) -> bool:
    """Whether the change of input k alone is that of the output: of a sum of which one number changes."""
    return step.name == "add" or (step.name == "subtract" and k == 0)


def _repeated(x: Sequence[Reals], forms: Forms) -> Callable[[int], list[Reals]]:
    """Returns what repeats the inputs that change as rows, for some number of rows; the rules see them in full."""

    @lru_cache(maxsize=4)
    def full(rows: int) -> list[Reals]:
        return [
            at if form is None else np.broadcast_to(at, (rows, *at.shape[1:]))
            for at, form in zip(x, forms, strict=True)
        ]

    return full


def _by_kernel(kernel: Rows, z: Reals, d: Reals) -> Reals:
    found = np.empty(d.shape)
    kernel.change(z, d, found)
    return found


def _whole(found: Reals, shape: Shape) -> Reals:
    return np.ascontiguousarray(found if found.shape == shape else np.broadcast_to(found, shape))


def _single_entrywise(step: BoundStep, k: int, change: Single) -> Single | None:
    if step.shapes[k] != step.shape:
        return None
    at = np.unravel_index(change.where, step.shape) if step.shape else ()
    x = [
        each.reshape(1) if each.size == 1 and k != j else np.broadcast_to(each, step.shape)[at].reshape(-1)
        for j, each in enumerate(step.x)
    ]
    x[k] = np.broadcast_to(x[k], change.values.shape)
    d: list[Reals | None] = [None] * len(x)
    d[k] = change.values
    return Single(_whole(step.difference(x, d), change.values.shape), change.where)


# ---- movement and sums


def _reshaped(step: BoundStep, forms: Forms) -> Plan | None:
    (form,) = forms
    return None if form is None else Plan(form, given, 0.0)


def _moved(step: BoundStep, forms: Forms) -> Plan | None:
    """Plans a step that takes its entries from its inputs, which are put side by side."""
    numbers, count = list[Any](), 0
    for form, shape in zip(forms, step.shapes, strict=True):
        if form is None:
            numbers.append(np.full(math.prod(shape), -1, np.intp))
            continue
        own = form.numbers(np.arange(form.size))
        numbers.append(np.where(own < 0, -1, own + count))
        count += form.count
    taken_from = (np.concatenate(numbers) if len(numbers) > 1 else numbers[0])[step.origins]
    places = step.book.marked(taken_from >= 0)
    if places is None:
        return None
    columns = selection(places.of(taken_from), count)

    def run(values: Sequence[Reals | None]) -> Reals:
        moved = [v for v in values if v is not None]
        return taken(moved[0] if len(moved) == 1 else np.concatenate(moved, axis=1), columns)

    return Plan(places, run, float(places.count))


def _single_moved(step: BoundStep, k: int, change: Single) -> Single | None:
    """Moves the entry, or its change ends; where it is taken more than once, it is spread first."""
    ends, counts = step.ends
    index = change.where + sum(map(math.prod, step.shapes[:k]))
    times = counts[index]
    if times.max(initial=0) > 1:
        return None
    return Single(np.where(times, change.values, 0.0), ends[index]) if step.size else None


def _summed(step: BoundStep, forms: Forms) -> Plan | None:
    (form,) = forms
    if form is None:
        return None
    targets = form.of(step.targets)
    mask = np.zeros(step.size, np.bool_)
    mask[targets] = True
    places = step.book.marked(mask)
    if places is None:
        return None
    columns, count = np.ascontiguousarray(places.numbers(targets), np.intp), places.count
    return Plan(places, lambda values: added(given(values), columns, count), float(form.count))


# ---- along axes


def _along(step: BoundStep, forms: Forms) -> Plan | None:
    """Plans what is computed along rows, of which only those are run in which something changes."""
    (form,) = forms
    if form is None:
        return None
    rows, columns = _rows_reached(step, form)
    where = step.table[rows]
    x, rule, order = step.x[0].ravel()[where], step.rule, None
    attributes: dict[str, Any] = {}
    if step.name in REDUCTIONS:
        index, attributes = rows, {"axis": (2,), "keepdims": False}
    else:
        ascending = np.argsort(where, axis=None, kind="stable")
        index, order = where.ravel()[ascending], selection(ascending, where.size)
        attributes = {"axis": 2} if step.name in RUNNING else {}

    full = _repeated([x[np.newaxis]], forms)

    def run(values: Sequence[Reals | None]) -> Reals:
        v = taken(given(values), columns)
        found = rule(full(len(v)), [v.reshape(len(v), *where.shape)], **attributes)
        return taken(np.ascontiguousarray(found.reshape(len(v), -1)), order)

    return Plan(step.book.some(step.size, index), run, 10.0 * where.size)


def _log_of_sum(step: BoundStep, forms: Forms) -> Plan | None:
    """Plans the logarithm of a sum of e^x: log1p of the sum of p expm1(d), with p = softmax(x); large d by the rule."""
    (form,) = forms
    by_rule = _along(step, forms)
    if form is None or by_rule is None:
        return None
    rows, columns = _rows_reached(step, form)
    where = step.table[rows]
    x, (count, length) = step.x[0].ravel()[where], where.shape
    log_p = (x - logsumexp(x, (1,), True)).ravel()
    kernel, targets = step.kernel_of("exp"), np.repeat(np.arange(count), length)

    def run(values: Sequence[Reals | None]) -> Reals:
        v = taken(given(values), columns)
        change = added(_by_kernel(kernel, log_p, v), targets, count)
        if v.max(initial=0.0) <= 1.0 and change.min(initial=0.0) > -0.5:
            return np.log1p(change)
        return by_rule.run(values)

    return by_rule._replace(run=run, work=4.0 * where.size)


def _rows_reached(step: BoundStep, form: Places) -> tuple[Index, Index | None]:
    """Returns the rows of a step's table in which something changes, and the columns to take for them."""
    rows = np.arange(len(step.table))
    if form.index is not None:
        reached = np.flatnonzero(form.mask[step.table].any(axis=1))
        rows = reached if len(reached) < FILLED * len(rows) else rows
    return rows, selection(form.numbers(step.table[rows].ravel()), form.count)


def _extreme(step: BoundStep, forms: Forms) -> Plan | None:
    """Plans the largest or the smallest entry of each row, by the gaps to it, and what they lose in rounding."""
    (form,) = forms
    if form is None:
        return None
    rows, columns = _rows_reached(step, form)
    where = step.table[rows]
    sign, count, length = 1.0 if step.name == "max" else -1.0, *where.shape
    x = sign * step.x[0].ravel()[where]
    gaps, lost = gap_of(x.max(axis=1, keepdims=True), x)
    gaps, lost = gaps.ravel(), lost.ravel()

    def run(values: Sequence[Reals | None]) -> Reals:
        v = taken(given(values), columns)
        found = np.empty((len(v), count))
        _entries.largest(v, gaps, lost, sign, length, found)
        return found

    return Plan(step.book.some(step.size, rows), run, 2.0 * where.size)
