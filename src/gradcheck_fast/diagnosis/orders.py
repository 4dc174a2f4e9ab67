"""Looks for arrays whose gradient has the right entries in another order: axes, blocks or entries are exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.hypotheses import ENTRIES, Case, Hypothesis

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.hypotheses import Values

#: The evidence for arrays that are right except for the order of their entries.
IN_THAT_ORDER = "the numerical gradient in that order"
#: An axis is divided into so many blocks of equal size, such as the gates of a recurrent layer.
_BLOCKS = (4, 3, 2)
#: Arrays of more axes, or of more entries, than this are not put into every order of axes.
_MOST_AXES, _MOST_ENTRIES = 5, 1_000_000


def axes_in_another_order(case: Case) -> Iterator[Hypothesis]:
    """Supposes that an array of three or more axes has them in another order, or turned round."""
    for name in case.wrong:
        right = case.numerical[name]
        if not 3 <= right.ndim <= _MOST_AXES or right.size > _MOST_ENTRIES:
            continue
        for count in range(right.ndim, 1, -1):
            for axes in combinations(range(right.ndim), count):
                if all(right.shape[axis] > 1 for axis in axes):
                    cause = f"the gradient of {{arrays}} is flipped along its axes {_and(axes)}"
                    yield Hypothesis(cause, {name: np.flip(right, axes)}, IN_THAT_ORDER)
        for axis in range(right.ndim):
            cause = f"the gradient of {{arrays}} is flipped along its axis {axis}"
            yield Hypothesis(cause, {name: np.flip(right, axis)}, IN_THAT_ORDER)
        for order in permutations(range(right.ndim)):
            moved = right.transpose(order)
            if order == tuple(range(right.ndim)):
                continue
            if moved.shape == right.shape:
                cause = f"the gradient of {{arrays}} is transposed: its axes are in the order {order}"
                yield Hypothesis(cause, {name: moved}, IN_THAT_ORDER)
            cause = f"the gradient of {{arrays}} is transposed to the axes {order}, then reshaped to {right.shape}"
            yield Hypothesis(cause, {name: moved.reshape(right.shape)}, IN_THAT_ORDER)
            back = right.reshape(moved.shape).transpose(np.argsort(order))
            cause = f"the gradient of {{arrays}} is reshaped to the axes {order}, then transposed back to {right.shape}"
            yield Hypothesis(cause, {name: back}, IN_THAT_ORDER)


def _and(axes: Sequence[int]) -> str:
    return f"{', '.join(map(str, axes[:-1]))} and {axes[-1]}"


def blocks_in_another_order(case: Case) -> Iterator[Hypothesis]:
    """Supposes that equal parts of an axis, such as gates side by side, stand in another order."""
    for name in case.wrong:
        right = case.numerical[name]
        if not right.ndim or name in case.gates:
            continue
        for axis, which in ((-1, "last"), (0, "first")) if right.ndim > 1 else ((0, "last"),):
            for count in _BLOCKS:
                if right.shape[axis] % count or right.shape[axis] == count or right.size < count * ENTRIES:
                    continue
                order = _order(case, name, axis, count)
                if order is not None:
                    blocks = np.split(right, count, axis=axis)
                    cause = f"the {count} blocks of {{arrays}} along the {which} axis, such as gates, are in the order "
                    yield Hypothesis(
                        f"{cause}{order}", {name: np.concatenate([blocks[k] for k in order], axis=axis)}, IN_THAT_ORDER
                    )


def _order(case: Case, name: str, axis: int, count: int) -> tuple[int, ...] | None:
    """Returns which block of the numerical gradient each block of the analytic one is; None if they are no others."""
    right, blocks = case.numerical[name], np.split(case.analytic[name], count, axis=axis)
    near = case.tolerance(name) * float(np.abs(right).max(initial=0.0))
    order = []
    for block in blocks:
        same = (k for k, other in enumerate(np.split(right, count, axis=axis)) if _are_near(block, other, near))
        order.append(next(same, -1))
    return tuple(order) if sorted(order) == list(range(count)) != order else None


def _are_near(a: Values, b: Values, near: float) -> bool:
    return float(np.abs(a - b).max(initial=0.0)) <= near


def reversed_or_shifted(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the rows or columns of an array are in reverse order, or shifted by one."""
    for name in case.wrong:
        right = case.numerical[name]
        if right.size <= ENTRIES:  # any order of so few is likely to be one of these
            continue
        for axis, what in zip(range(right.ndim), ("rows", "columns") if right.ndim > 1 else ("entries",), strict=False):
            if right.shape[axis] > 1:
                yield Hypothesis(
                    f"the {what} of {{arrays}} are back to front", {name: np.flip(right, axis)}, IN_THAT_ORDER
                )
            if right.shape[axis] > 2:
                for by in (1, -1):
                    yield Hypothesis(
                        f"the {what} of {{arrays}} are shifted by one", {name: np.roll(right, by, axis)}, IN_THAT_ORDER
                    )


def sorted_entries(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the entries of an array were sorted."""
    for name in case.wrong:
        right = case.numerical[name]
        if right.size > ENTRIES:
            flat = np.sort(right, axis=None)
            for how, values in (("ascending", flat), ("descending", flat[::-1])):
                cause = f"the entries of {{arrays}} are sorted, {how}"
                yield Hypothesis(cause, {name: values.reshape(right.shape)}, IN_THAT_ORDER)
