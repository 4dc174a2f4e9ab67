"""What a cost on arrays keeps of the targets, and how classes and weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.inputs.arguments import integer, number
from gradcheck_fast.inputs.arrays import first_index, format_index, real_array, require_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Read(NamedTuple):
    """Targets as a cost has read them. Its losses, one for each target, are one flat vector.

    Attributes
    ----------
    values : Any
        What the cost's losses are computed with.
    form : tuple of int
        The shape of the targets that have a loss each.
    weights : ndarray of float64, shape (losses,), optional
        What the cost itself multiplies each loss with; 0 leaves it out.
    total : float, optional
        What a mean is divided by; by default the number of losses.
    """

    values: Any
    form: tuple[int, ...]
    weights: NDArray[np.float64] | None = None
    total: float | None = None


class Targets(NamedTuple):
    """What a cost computes with: the sum of losses times weights, over a divisor.

    Attributes
    ----------
    values : Any
        As for `Read`.
    kept : ndarray of int, optional
        The numbers of the losses that count, if not all do.
    weights : ndarray of float64, optional
        What those that count are multiplied with; None if that is 1 for all.
    divisor : float
    """

    values: Any
    kept: NDArray[np.intp] | None
    weights: NDArray[np.float64] | None
    divisor: float


def weighted(read: Read, sample_weight: Any, divisor: float) -> Targets:
    """Returns targets with the weights of the cost and of the samples.

    Raises
    ------
    TypeError, ValueError
        If the weights of the samples have another shape than the samples or their targets, are no finite numbers, or
        leave nothing.
    """
    weights = np.ones(prod(read.form)) if read.weights is None else read.weights
    if sample_weight is not None:
        given = real_array("sample_weight", sample_weight, allow_bool=True)
        require_finite("sample_weight", given)
        if given.shape not in (read.form, read.form[:1]):
            expected = " or ".join(str(form) for form in dict.fromkeys((read.form[:1], read.form)))
            raise ValueError(f"sample_weight: expected the shape {expected}, got {given.shape}")
        given = given.reshape(given.shape + (1,) * (len(read.form) - given.ndim))
        weights = weights * np.broadcast_to(given, read.form).ravel()
    if not weights.any():
        raise ValueError("y: no target counts: each is ignored, or has the weight 0")
    kept = None if weights.all() else np.flatnonzero(weights)
    weights = weights if kept is None else weights[kept]
    return Targets(read.values, kept, None if (weights == 1.0).all() else weights, divisor)


def class_weights(what: str, weights: Any) -> tuple[float, ...] | None:
    """Reads a weight for each class, or None.

    Raises
    ------
    TypeError, ValueError
        If they are no vector of numbers of at least 0; the message begins with `what`.
    """
    if weights is None:
        return None
    array = real_array(what, weights)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{what}: expected one number for each class, got the shape {array.shape}")
    return tuple(number(what, weight) for weight in array.tolist())


class Classes(NamedTuple):
    """Classes that were read.

    Attributes
    ----------
    numbers : ndarray of int64, shape (losses,)
        The class of each target; 0 for one that is ignored.
    counted : ndarray of bool, shape (losses,)
        Which are not ignored.
    """

    numbers: NDArray[np.int64]
    counted: NDArray[np.bool_]

    def weights(self, of_classes: Sequence[float] | None) -> NDArray[np.float64]:
        """Returns the weight of each target: that of its class, or 0."""
        each = np.ones(len(self.numbers)) if of_classes is None else np.asarray(of_classes)[self.numbers]
        return np.asarray(each * self.counted)


def read_classes(array: NDArray[Any], count: int, ignore_index: int | None = None) -> Classes:
    """Reads an array of class indices.

    Raises
    ------
    TypeError, ValueError
        If they are no integers from 0 to count - 1.
    """
    if array.dtype.kind not in "iu":
        raise TypeError(f"y: class indices must be integers, got dtype {array.dtype}; use y.astype(int)")
    counted = np.ones(array.shape, np.bool_) if ignore_index is None else array != ignore_index
    require_values(f"class indices run from 0 to {count - 1}", ~counted | ((array >= 0) & (array < count)), array)
    return Classes(np.where(counted, array, 0).astype(np.int64).ravel(), counted.ravel())


def require_values(what: str, good: NDArray[np.bool_], targets: NDArray[Any]) -> None:
    """Raises a ValueError, which says what is expected, unless all targets are good."""
    if not good.all():
        index = first_index(~good)
        raise ValueError(f"y: {targets[index]} at index {format_index(index)}; {what}")


def require_weights(what: str, weights: Sequence[float] | None, classes: int) -> None:
    """Raises a ValueError if there is another number of weights than of classes."""
    if weights is not None and len(weights) != classes:
        raise ValueError(f"{what}: expected {classes} numbers, one for each class, got {len(weights)}")


def class_axis(what: str, axis: Any) -> int:
    """Reads the axis of the classes, which is not that of the samples.

    Raises
    ------
    TypeError, ValueError
        If it is none; the message begins with `what`.
    """
    if axis == -1:
        return -1
    return integer(what, axis, positive=True)


def along(shape: Sequence[int], axis: int) -> tuple[int, tuple[int, ...]]:
    """Returns the number of classes, along an axis, and the shape without it.

    Raises
    ------
    ValueError
        If there is no such axis.
    """
    if not (axis == -1 and len(shape) > 1) and not 0 < axis < len(shape):
        raise ValueError(f"cost: expected outputs with classes along axis {axis}, got outputs of the shape {shape}")
    place = axis % len(shape)
    return shape[place], (*shape[:place], *shape[place + 1 :])


def read_lengths(lengths: Any, samples: int, times: int) -> NDArray[np.int64]:
    """Reads how many times of each sample count.

    Raises
    ------
    TypeError, ValueError
        If they are no integers from 1 to the number of times, one for each sample.
    """
    array = real_array("lengths", lengths)
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths: expected integers, got dtype {array.dtype}")
    if array.shape != (samples,):
        raise ValueError(f"lengths: expected the shape ({samples},), one per sample of X, got {array.shape}")
    good = (array >= 1) & (array <= times)
    if not good.all():
        index = first_index(~good)
        raise ValueError(f"lengths: {array[index]} at index {format_index(index)}; expected 1 to {times}")
    return array.astype(np.int64)
