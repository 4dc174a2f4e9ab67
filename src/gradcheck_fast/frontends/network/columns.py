"""Reads data whose samples are columns into the rows that networks compute with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arrays import real_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


def inputs_in_rows(X: Any, inputs: int, sequences: bool) -> NDArray[Any]:
    """Returns data of shape (inputs, samples), or (inputs, samples, times), with the samples as the first axis.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, or have another shape.
    """
    array = real_array("X", X, allow_bool=True)
    if array.ndim == 1 and inputs == 1 and not sequences:
        array = array[np.newaxis]
    form = (inputs, "samples", "times") if sequences else (inputs, "samples")
    if array.ndim != len(form) or array.shape[0] != inputs:
        hint = "; for one sample use X[:, np.newaxis]" if array.ndim == len(form) - 1 else ""
        if array.ndim == len(form) and inputs in array.shape[1:]:
            hint = "; X looks transposed: columns=True is for samples that are columns"
        raise ValueError(f"X: expected the shape ({', '.join(map(str, form))}), got {array.shape}{hint}")
    return np.moveaxis(array, 0, -1)


def targets_in_rows(y: Any, samples: int, outputs: int, sequence: bool) -> NDArray[Any]:
    """Returns targets of shape (outputs, samples), or (outputs, samples, times), with the samples as the first axis.

    One row of class indices, and targets without an axis of outputs, lose it or stay as they are.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, or have another shape.
    """
    array = real_array("y", y, allow_bool=True)
    if array.ndim == 1 + sequence:
        return array
    if array.ndim != 2 + sequence or array.shape[0] not in (1, outputs) or array.shape[1] != samples:
        form = (outputs, samples, "times") if sequence else (outputs, samples)
        raise ValueError(
            f"y: expected the shape ({', '.join(map(str, form))}), where samples are columns, got {array.shape}"
        )
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


def states_in_rows(states: Any) -> Any:
    """Returns initial states of shape (hidden, samples) or (hidden, 1), by name, as rows; anything else as it is."""
    if not isinstance(states, Mapping):
        return states
    arrays = {name: np.asarray(array) for name, array in states.items()}
    columns = {name: array.T for name, array in arrays.items()}
    return {name: array[0] if array.ndim == 2 and len(array) == 1 else array for name, array in columns.items()}
