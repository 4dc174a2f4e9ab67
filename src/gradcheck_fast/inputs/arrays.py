"""User's arrays: reading them as float64, and saying which entry of which array is wrong."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


#: Of fewer float32 numbers in an array of float64 chance may be the reason.
_FEW = 4


def real_array(what: str, value: Any, *, allow_bool: bool = False) -> NDArray[Any]:
    """`value` as an array of integers or floating-point numbers, not copied if it is one.

    Raises
    ------
    TypeError
        If its dtype is complex, object, string, boolean (unless allowed), or wider than float64.
    """
    try:
        array = np.asarray(value)
    except Exception as error:
        hint = "; pad samples of different lengths, and give their lengths" if "inhomogeneous" in str(error) else ""
        raise TypeError(f"{what}: cannot be read as an array ({error}){hint}") from None
    if array.dtype.kind in "iu" or (array.dtype.kind == "f" and array.dtype.itemsize <= 8):
        return array
    if allow_bool and array.dtype.kind == "b":
        return array
    hint = "; is it a ragged list, or None?" if array.dtype.kind == "O" else ""
    raise TypeError(f"{what}: expected real numbers (integers, or floats up to float64), got dtype {array.dtype}{hint}")


class Precision(NamedTuple):
    """The floating-point numbers in which something was computed, whatever it is stored in.

    Attributes
    ----------
    name : str
    eps : float
        The distance from 1 to the next number.
    tiny, smallest_subnormal : float
        The smallest normal number, and the smallest of all.
    """

    name: str
    eps: float
    tiny: float
    smallest_subnormal: float

    @classmethod
    @cache
    def of(cls, dtype: np.dtype[Any]) -> Precision:
        """That of numbers of this dtype; integers are read as float64."""
        info = np.finfo(dtype if dtype.kind == "f" else np.float64)
        return cls(info.dtype.name, float(info.eps), float(info.tiny), float(info.smallest_subnormal))

    @property
    def is_coarse(self) -> bool:
        """Whether it is less than that of float64."""
        return self.eps > DOUBLE.eps


SINGLE, DOUBLE = Precision.of(np.dtype(np.float32)), Precision.of(np.dtype(np.float64))
#: NumPy has no such numbers; PyTorch and JAX do.
BFLOAT16 = Precision("bfloat16", 2.0**-7, 2.0**-126, 2.0**-133)


def coarsest(precisions: Iterable[Precision]) -> Precision:
    """The one with the fewest digits; float64 of none."""
    return max((DOUBLE, *precisions), key=lambda precision: precision.eps)


def require_float64(what: str, dtype: np.dtype[Any]) -> None:
    """TypeError where a function that was given float64 computes in less."""
    if Precision.of(dtype).is_coarse:
        raise TypeError(
            f"{what}: gives {dtype}, though it was given float64; differences of such numbers have hardly any digits. "
            "Compute in the dtype of what is given"
        )


def is_float32(numbers: NDArray[np.float64]) -> bool:
    """Whether all are float32 numbers, and not for being simple ones such as 0 and ½."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        simple = int((numbers == numbers.astype(np.float16)).sum())
        return bool((numbers == numbers.astype(np.float32)).all()) and len(numbers) - simple >= _FEW


def first_index(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Index of the first True."""
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(mask)), mask.shape))


def require_finite(what: str, array: NDArray[Any]) -> None:
    """ValueError with the first index at which `array` is NaN or infinite."""
    finite = np.isfinite(array)
    if not finite.all():
        index = first_index(~finite)
        raise ValueError(f"{what}: {array[index]} at index {format_index(index)}; expected finite numbers")


def same_bits(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two arrays have the same numbers, to the sign of a zero and what kind of NaN."""
    return np.array_equal(a.ravel().view(np.int64), b.ravel().view(np.int64))


def format_index(index: tuple[int, ...]) -> str:
    """``[2, 3]``; ``[]`` for the one entry of a scalar."""
    return "[" + ", ".join(map(str, index)) + "]"


def digest(*values: Any) -> str:
    """Tells values from others, arrays to the last bit."""
    found = sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            found.update(f"{value.dtype}{value.shape}".encode())
            found.update(np.ascontiguousarray(value).data)
        else:
            found.update(repr(value).encode())
        found.update(b"\0")
    return found.hexdigest()
