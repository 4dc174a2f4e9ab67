"""A primitive: one kind of step, and all that anyone needs to know of it.

The rules are plain NumPy, to be read and to be tested against: together with the loops of `gradcheck_fast.program.twin`
they are the whole of the arithmetic. What is fast is written elsewhere, and tested against them. No rule contains the
derivative of anything: an entrywise step's slope is a central difference of its own exact difference, and what goes
back through a linear step is its transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]

Shape: TypeAlias = tuple[int, ...]
Attributes: TypeAlias = Mapping[str, Any]

#: The step of the central differences that give slopes: truncation is then far below rounding, and differences that are
#: exact lose nothing to cancellation.
SLOPE_STEP = 2.0**-40


@dataclass(frozen=True, eq=False, repr=False)
class Primitive:
    """One kind of step. There are no defaults: a rule that is missing is an error when the module is imported.

    Rules are called with the arrays (or shapes) of all inputs as one sequence `x`, and with the step's attributes as
    keywords.

    Attributes
    ----------
    name : str
        By which programs, executors and tests know it.
    written : str
        A format of the inputs' names, for reports: ``"{0} * {1}"``.
    shape : callable
        ``shape(shapes, **attributes)``, the output's shape. A ValueError says which input does not fit.
    value : callable
        ``value(x, **attributes)``, the output.
    difference : callable
        ``difference(x, d, **attributes)``, new output minus old where each input x[k] changes by d[k]; exact to some
        roundings of the result for any size of d. An input that does not change has ``d[k] = None``.
    back : callable
        ``back(x, k, up, **attributes)``: the sensitivity of input k, from that of the output, `up`.
    reach : callable
        ``reach(masks, **attributes)``, the entries of the output that may change where the marked entries of the
        inputs change.
    kinks : callable
        ``kinks(x, **attributes)``, an array of shape (number of kinks, ...) that is zero where the slope jumps, and has
        different signs on both sides.
    work : callable
        ``work(shapes, **attributes)``, the estimated operations of one evaluation.
    """

    name: str
    written: str
    shape: Callable[..., Shape]
    value: Callable[..., Reals]
    difference: Callable[..., Reals]
    back: Callable[..., Reals]
    reach: Callable[..., Mask]
    kinks: Callable[..., Reals]
    work: Callable[..., float]

    def __post_init__(self) -> None:
        rules = (self.shape, self.value, self.difference, self.back, self.reach, self.kinks, self.work)
        if not all(map(callable, rules)):
            raise TypeError(f"primitive {self.name!r}: every rule must be a function")

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def smooth(x: Sequence[Reals], **attributes: Any) -> Reals:
    """The kinks of a primitive that has none."""
    return np.empty((0, *x[0].shape)) if x else np.empty((0,))


def changes(x: Sequence[Reals], d: Sequence[Reals | None]) -> list[Reals]:
    """`d` with zeros in place of None."""
    return [np.zeros_like(at) if change is None else change for at, change in zip(x, d, strict=True)]


def one_shape(shapes: Sequence[Shape], **attributes: Any) -> Shape:
    """The shape that all inputs have."""
    if len(set(shapes)) != 1:
        raise ValueError(f"expected inputs of one shape, got {' and '.join(map(str, shapes))}")
    return shapes[0]


def same_entry(masks: Sequence[Mask], **attributes: Any) -> Mask:
    """An entry reaches the entry at its own place."""
    reached: Mask = np.logical_or.reduce(masks)
    return reached


def entrywise_slope(
    difference: Callable[..., Reals], x: Sequence[Reals], k: int, up: Reals, **attributes: Any
) -> Reals:
    """What goes back through a step that acts entry by entry: `up` times a central difference of its difference."""
    d: list[Reals | None] = [None] * len(x)
    d[k] = np.full_like(x[k], SLOPE_STEP)
    plus = difference(x, d, **attributes)
    d[k] = np.full_like(x[k], -SLOPE_STEP)
    slope: Reals = (plus - difference(x, d, **attributes)) / (2.0 * SLOPE_STEP)
    return up * slope
