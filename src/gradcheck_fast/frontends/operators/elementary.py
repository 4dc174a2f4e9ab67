"""What the other operators are made of: single primitives of plain or traced arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.steps import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_traced(x: Any) -> bool:
    """Whether an array is one that records what is done to it: it knows the step that has its value."""
    return hasattr(type(x), "_step")


def recording_of(*x: Any) -> Any:
    """Returns the recording that some arrays belong to; None if all of them are plain."""
    return next((array._recording for array in x if is_traced(array)), None)


def values_of(x: Any) -> Any:
    """Returns the values of an array at the parameters as a plain array, without any step."""
    return x._view if is_traced(x) else np.asarray(x)


def primitive(name: str, *x: Any, **attributes: Any) -> Any:
    """Returns what a primitive makes of some arrays.

    Parameters
    ----------
    name : str
        One of ``program.steps.PRIMITIVES``.
    *x : array_like or TracedArray
        Its inputs; masks are taken as 0.0 and 1.0.
    **attributes
        Its attributes.

    Returns
    -------
    ndarray of float64 or TracedArray
        Traced if any of the inputs is.
    """
    recording = recording_of(*x)
    value = PRIMITIVES[name].value
    with np.errstate(all="ignore"):
        if recording is None:
            return np.asarray(value([np.asarray(array, np.float64) for array in x], **attributes))
        inputs = [recording.as_numbers(recording.traced(array)) for array in x]
        found = np.asarray(value([np.asarray(array._view, np.float64) for array in inputs], **attributes))
    return recording.step(name, inputs, found, **attributes)


def erf(x: Any) -> Any:
    """Returns the error function of each entry."""
    return primitive("erf", x)


def erfc(x: Any) -> Any:
    """Returns 1 less the error function of each entry, to full relative precision."""
    return primitive("erfc", x)


def gammaln(x: Any) -> Any:
    """Returns the logarithm of the size of the gamma function of each entry."""
    return primitive("gammaln", x)


def as_float(x: Any) -> Any:
    """Returns an array as float64: a mask as 0.0 and 1.0, and numbers as they are."""
    if is_traced(x):
        return x._recording.as_numbers(x)
    return np.asarray(x, np.float64)


def contiguous(x: Any) -> Any:
    """Returns a view as an array of its own in C order, so that it can be reshaped as a view again."""
    if is_traced(x):
        return x if x._view.flags.c_contiguous else x.copy()
    return np.ascontiguousarray(x)


def reshaped(x: Any, shape: Sequence[int]) -> Any:
    """Returns an array in another shape; what is no view is copied as a whole, and not entry by entry."""
    return contiguous(x).reshape(tuple(shape))


def reduced(losses: Any, reduction: str, total: Any = None) -> Any:
    """Returns the losses of samples as one number.

    Parameters
    ----------
    losses : ndarray or TracedArray
    reduction : {"mean", "sum", "none", "batchmean"}
        PyTorch's names; ``batchmean`` is the sum over the length of the first axis.
    total : number or array, optional
        What the sum is divided by in a mean, in place of the number of entries.

    Raises
    ------
    ValueError
        If the reduction has another name.
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return np.sum(losses)
    if reduction == "mean":
        return np.sum(losses) / (losses.size if total is None else total)
    if reduction == "batchmean":
        return np.sum(losses) / losses.shape[0]
    raise ValueError(f"reduction: expected 'mean', 'sum', 'none' or 'batchmean', got {reduction!r}")
