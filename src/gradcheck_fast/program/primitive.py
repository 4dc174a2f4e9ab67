"""Defines a primitive: the record of everything that the library knows about one kind of step.

The rules of a primitive are plain NumPy, written to be read and to be tested against. Together with the loops of
`gradcheck_fast.program.twin` they define all of the arithmetic. The fast paths are written elsewhere and are tested
against them. No rule contains a formula for a derivative: the slope of an entrywise step is a central difference of its
own exact difference, and what goes back through a linear step is multiplied by its transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce, wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.program.sums import total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]

Shape: TypeAlias = tuple[int, ...]
Attributes: TypeAlias = Mapping[str, Any]

#: The step of the central differences that give slopes. With it the truncation error is far below rounding, and exact
#: differences lose nothing to cancellation.
SLOPE_STEP = 2.0**-40


@dataclass(frozen=True, eq=False, repr=False)
class Primitive:
    """One kind of step. No rule but the last has a default, so a missing rule is an error when the module is imported.

    Rules are called with the arrays (or shapes) of all inputs as one sequence `x`, and with the step's attributes as
    keywords.

    Attributes
    ----------
    name : str
        The name by which programs, executors and tests refer to it.
    written : str
        A format string that reports fill with the names of the inputs, such as ``"{0} * {1}"``.
    shape : callable
        ``shape(shapes, **attributes)`` returns the shape of the output, and raises a ValueError that names the input
        that does not fit.
    value : callable
        ``value(x, **attributes)`` returns the output.
    difference : callable
        ``difference(x, d, **attributes)`` returns the new output minus the old one when each input x[k] changes by
        d[k]. It is exact to a few roundings of the result for any size of d. ``d[k] = None`` says that an input does
        not change.
    back : callable
        ``back(x, k, up, **attributes)`` returns the sensitivity of input k; `up` is that of the output.
    reach : callable
        ``reach(masks, **attributes)`` marks the entries of the output that may change when the marked entries of the
        inputs change.
    kinks : callable
        ``kinks(x, **attributes)`` returns an array of shape (number of kinks, ...) that is zero where the slope jumps,
        and has different signs on the two sides.
    spread : callable
        ``spread(x, k, up, half, h, **attributes)`` returns how far the sensitivity of input k may lie from what `back`
        gives, if that of the output lies within `half` of `up`, and if every entry within h of a kink takes any slope
        between those of its two sides. It is an upper bound.
    work : callable
        ``work(shapes, **attributes)`` returns the estimated number of operations of one evaluation.
    back_all : callable, optional
        ``back_all(x, up, **attributes)`` returns a list of the sensitivities of all inputs: all at once, where that
        costs less than one by one.

    Raises
    ------
    TypeError
        If a rule is not callable.
    """

    name: str
    written: str
    shape: Callable[..., Shape]
    value: Callable[..., Reals]
    difference: Callable[..., Reals]
    back: Callable[..., Reals]
    reach: Callable[..., Mask]
    kinks: Callable[..., Reals]
    spread: Callable[..., Reals]
    work: Callable[..., float]
    back_all: Callable[..., list[Reals]] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        rules = (self.shape, self.value, self.difference, self.back, self.reach, self.kinks, self.spread, self.work)
        if not all(map(callable, rules)):
            raise TypeError(f"primitive {self.name!r}: every rule must be a function")

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def smooth(x: Sequence[Reals], **attributes: Any) -> Reals:
    """Returns no kinks: the rule of a primitive that has none."""
    return np.empty((0, *x[0].shape)) if x else np.empty((0,))


def linear_spread(back: Callable[..., Reals]) -> Callable[..., Reals]:
    """Returns the rule `spread` of a primitive that is linear in each input: it applies the sizes of its transposes."""

    def spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, **attributes: Any) -> Reals:
        return np.asarray(np.abs(back([np.abs(at) for at in x], k, half, **attributes)))

    return spread


def changes(x: Sequence[Reals], d: Sequence[Reals | None]) -> list[Reals]:
    """Returns `d` with an array of zeros in place of each None."""
    return [np.zeros_like(at) if change is None else change for at, change in zip(x, d, strict=True)]


def change_of(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    """Returns the change of the only input, zeros if it does not change."""
    return np.zeros_like(x[0]) if d[0] is None else d[0]


def without_warnings(rule: Callable[..., Reals]) -> Callable[..., Reals]:
    """Returns the rule, with the warnings of NumPy turned off.

    A pass that leaves the domain warns when the user runs it, and not once more here. Loops over many steps turn
    warnings off once, and call the rule itself (`inspect.unwrap`).
    """

    @wraps(rule)
    def quiet(*arguments: Any, **attributes: Any) -> Reals:
        with np.errstate(all="ignore"):
            return rule(*arguments, **attributes)

    return quiet


def require_inputs(shapes: Sequence[Shape], count: int) -> None:
    """Raises a ValueError unless there are this many inputs."""
    if len(shapes) != count:
        raise ValueError(f"expected {count} input{'s' * (count != 1)}, got {len(shapes)}")


def one_shape(count: int) -> Callable[[Sequence[Shape]], Shape]:
    """Returns the shape rule of a primitive whose inputs, as many as `count`, have the same shape as its output."""

    def shape(shapes: Sequence[Shape]) -> Shape:
        require_inputs(shapes, count)
        if len(set(shapes)) != 1:
            raise ValueError(f"expected inputs of one shape, got {' and '.join(map(str, shapes))}")
        return shapes[0]

    return shape


def broadcast_shape(count: int) -> Callable[[Sequence[Shape]], Shape]:
    """Returns the shape rule of a primitive whose inputs, as many as `count`, are broadcast by NumPy's rules."""

    def shape(shapes: Sequence[Shape]) -> Shape:
        require_inputs(shapes, count)
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            message = f"expected inputs that can be broadcast, got {' and '.join(map(str, shapes))}"
            raise ValueError(message) from None

    return shape


def sum_to_shape(up: Reals, shape: Shape) -> Reals:
    """Returns the sums of `up` over the axes along which an array of this shape was broadcast: the transpose of that.

    Without such axes it is `up` itself.
    """
    up = np.asarray(up)
    if up.shape == shape:
        return up
    new = up.ndim - len(shape)
    repeated = tuple(new + k for k, extent in enumerate(shape) if extent == 1 != up.shape[new + k])
    return total(up, (*range(new), *repeated)).reshape(shape)


def same_entry(masks: Sequence[Mask], **attributes: Any) -> Mask:
    """Marks the places at which an input is marked: each entry changes only the output at its own place.

    Inputs are broadcast.
    """
    return np.asarray(reduce(np.logical_or, masks))


#: Returns how far entries of input k are from the nearest singularity: ``distance(x, k)``, of the shape of `x[k]`, of
#: that of the output, or one number.
Distance: TypeAlias = "Callable[[Sequence[Reals], int], Reals]"


def slopes(
    difference: Callable[..., Reals], x: Sequence[Reals], k: int, distance: Distance | None = None, **attributes: Any
) -> Reals:
    """Returns the slopes of a step that acts entry by entry: central differences of its exact difference.

    Their step is `SLOPE_STEP`, times the distance to the nearest singularity where that is less than 1. Truncation is
    then as far below rounding there as elsewhere. At a singularity the result is infinite or NaN.
    """
    d: list[Reals | None] = [None] * len(x)
    if distance is None:
        d[k] = np.full_like(x[k], SLOPE_STEP)
        plus = difference(x, d, **attributes)
        d[k] = np.full_like(x[k], -SLOPE_STEP)
        return (plus - difference(x, d, **attributes)) / (2.0 * SLOPE_STEP)
    h = SLOPE_STEP * np.minimum(distance(x, k), 1.0)
    d[k] = h
    plus = difference(x, d, **attributes)
    d[k] = -h
    return (plus - difference(x, d, **attributes)) / (2.0 * h)


def entrywise_slope(
    difference: Callable[..., Reals], x: Sequence[Reals], k: int, up: Reals, *, distance: Distance | None = None,
    **attributes: Any,
) -> Reals:  # fmt: skip
    """Returns what goes back through a step that acts entry by entry: `up` times the slope.

    The slope is a central difference of the step's exact difference; see `slopes` for `distance`. Where an input was
    broadcast, what goes back to it is added up.
    """
    return sum_to_shape(up * slopes(difference, x, k, distance, **attributes), x[k].shape)


def smooth_spread(
    difference: Callable[..., Reals], x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, *,
    distance: Distance | None = None, **attributes: Any,
) -> Reals:  # fmt: skip
    """Returns how far what goes back may lie from `entrywise_slope`, if the slopes of the step do not jump."""
    return sum_to_shape(half * np.abs(slopes(difference, x, k, distance, **attributes)), x[k].shape)


#: Where the slopes to both sides of a kink are found, in units of the largest distance of a value that counts as on it.
BOTH_SIDES = ((-3.0, -2.0), (2.0, 3.0))


def entrywise_spread(
    difference: Callable[..., Reals], kinks: Callable[..., Reals], x: Sequence[Reals], k: int, up: Reals, half: Reals,
    h: float, **attributes: Any,
) -> Reals:  # fmt: skip
    """Returns how far what goes back through a step that acts entry by entry may lie from `entrywise_slope`."""

    def slope(begin: float, end: float) -> Reals:
        ends: list[Reals] = []
        for at in (begin, end):
            d: list[Reals | None] = [None] * len(x)
            d[k] = np.full_like(x[k], at * h)
            ends.append(difference(x, d, **attributes))
        return (ends[1] - ends[0]) / ((end - begin) * h)

    at_kink = np.any(np.abs(kinks(x, **attributes)) <= h, axis=0)
    if all(at.shape == np.shape(half) for at in x):
        some = at_kink | (half != 0.0)
        if not some.all():  # elsewhere nothing is open
            found = np.zeros(some.shape)
            if some.any():
                x = [at[some] for at in x]
                found[some] = entrywise_spread(difference, kinks, x, k, up[some], half[some], h, **attributes)
            return found
    if not at_kink.any():
        return sum_to_shape(half * np.abs(slope(-1.0, 1.0)), x[k].shape)
    left, right = (slope(*ends) for ends in BOTH_SIDES)
    return sum_to_shape(spread_of_slopes(at_kink, slope(-1.0, 1.0), left, right, np.abs(up), half), x[k].shape)


def spread_of_slopes(at_kink: Any, slope: Reals, left: Reals, right: Reals, size: Reals, half: Reals) -> Reals:
    """Returns how far slope times sensitivity may lie from a given product.

    At a kink the given slope and the true one both lie between `left` and `right`; elsewhere both are `slope`. The
    sensitivity lies within `half` of the given one, whose size is `size`. If the slope is within g of c, and the
    sensitivity within w of u, then their product is within \\|c\\| w + g (\\|u\\| + w) of c u.
    """
    largest = np.where(at_kink, np.maximum(np.abs(left), np.abs(right)), np.abs(slope))
    found: Reals = largest * half + np.where(at_kink, np.abs(right - left), 0.0) * (size + half)
    return found
