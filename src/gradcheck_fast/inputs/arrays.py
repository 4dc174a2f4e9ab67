"""Reads the arrays that users hand over, says what is wrong with one, and knows in which precision numbers are."""

from __future__ import annotations

import sys
from functools import cache
from math import log, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

#: The size of a float64 in bytes: wider floating-point numbers would lose digits.
_FLOAT64_BYTES = np.dtype(np.float64).itemsize
#: How many numbers that need the digits of float32 an array of float64 must have for it to be taken for float32
#: numbers. With fewer of them it may be a coincidence that float32 can hold them all.
_FEWEST_FLOAT32 = 4


def real_array(what: str, value: Any, *, allow_bool: bool = False, allow_none: bool = False) -> NDArray[Any]:
    """Reads `value` as an array of integers or floating-point numbers.

    Parameters
    ----------
    what : str
        What the array is called in errors.
    value : array_like
    allow_bool : bool
        Whether an array of booleans is accepted.
    allow_none : bool
        Whether None is accepted, as an array of one object.

    Returns
    -------
    ndarray
        In its own dtype; `value` itself if it is an array.

    Raises
    ------
    TypeError
        If `value` cannot be read as an array, or if its dtype is complex, object, string, boolean (unless allowed), or
        wider than float64; or if some of it is masked.
    """
    masked = int(np.count_nonzero(np.ma.getmaskarray(value))) if isinstance(value, np.ma.MaskedArray) else 0
    if masked:
        raise TypeError(
            f"{what}: {masked} of its entries are masked, and all would be compared; pass plain numbers, and name what "
            "is not to be checked in fixed="
        )
    try:
        array = np.asarray(value)
    except Exception as error:
        hint = "; pad samples of different lengths, and give their lengths" if "inhomogeneous" in str(error) else ""
        raise TypeError(f"{what}: cannot be read as an array ({error}){hint}") from None
    if array.dtype.kind in "iu" or (is_floating(array.dtype) and array.dtype.itemsize <= _FLOAT64_BYTES):
        return array
    if (allow_bool and array.dtype.kind == "b") or (allow_none and value is None):
        return array
    hint = {"O": "; is it a ragged list, or None?", "c": "; is the real part meant?"}.get(array.dtype.kind, "")
    raise TypeError(f"{what}: expected real numbers (integers, or floats up to float64), got dtype {array.dtype}{hint}")


def no_gradient(what: str, name: str, shape: tuple[int, ...], fixed: Collection[str]) -> NDArray[np.float64]:
    """Returns the zeros that stand for a gradient that is None, if its array is `fixed`.

    Raises
    ------
    TypeError
        If it is not. The message says what to give.
    """
    if name in fixed:
        return np.zeros(shape)
    advice = f"if nothing depends on {name}, give zeros, or leave it out of the check by fixed={name!r}"
    raise TypeError(f"{what}: {name}: expected an array of the shape {shape}, got None; {advice}")


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of real floating-point numbers: NumPy's, or those of ml_dtypes, as bfloat16."""
    return dtype.kind == "f" or (dtype.kind == "V" and _finfo(dtype) is not None)


def _finfo(dtype: np.dtype[Any]) -> Any:
    """What is known of the floating-point numbers of a dtype; None if it has none.

    A dtype that is not NumPy's is asked for by the ``finfo`` of the module that its scalars come from.
    """
    module = sys.modules.get(dtype.type.__module__)
    if dtype.kind not in "fV" or module is None or dtype.names is not None:
        return None
    try:
        return module.finfo(dtype)
    except (AttributeError, TypeError, ValueError):
        return None


class Precision(NamedTuple):
    """The floating-point numbers in which something was computed; it may be stored in others.

    Attributes
    ----------
    name : str
        The name of their dtype.
    eps : float
        The distance from 1 to the next larger number.
    tiny : float
        The smallest positive normal number.
    smallest_subnormal : float
        The smallest positive number of all.
    """

    name: str
    eps: float
    tiny: float
    smallest_subnormal: float

    @classmethod
    @cache
    def of(cls, dtype: np.dtype[Any]) -> Precision:
        """The precision of a dtype; integers count as float64, as which they are read."""
        info = _finfo(dtype)
        name = dtype.name
        if info is None:
            info, name = np.finfo(np.float64), "float64"
        return cls(name, float(info.eps), float(info.tiny), float(info.smallest_subnormal))

    @property
    def is_coarse(self) -> bool:
        """Whether these numbers have fewer digits than float64."""
        return self.eps > DOUBLE.eps

    @property
    def unit_roundoff(self) -> float:
        """The largest relative error of one rounding to the nearest of these numbers: half of `eps`."""
        return 0.5 * self.eps

    def spacing(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distance of each number to the next larger one of this precision."""
        _, exponents = np.frexp(numbers)
        found = np.where(numbers == 0.0, 0.0, np.ldexp(self.eps, exponents - 1))
        return np.asarray(np.maximum(found, self.smallest_subnormal))

    def rounded(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rounds numbers of float64 to the nearest of this precision, ties to even. None overflows."""
        spacing = self.spacing(numbers)
        return np.asarray(np.rint(numbers / spacing) * spacing)


#: The precision of float32.
SINGLE = Precision.of(np.dtype(np.float32))
#: The precision of float64, in which this library computes.
DOUBLE = Precision.of(np.dtype(np.float64))
#: The numbers of PyTorch and JAX with 8 significant bits and the exponents of float32, which NumPy does not know.
BFLOAT16 = Precision("bfloat16", 2.0**-7, 2.0**-126, 2.0**-133)


def coarsest(precisions: Iterable[Precision]) -> Precision:
    """Returns the precision with the fewest digits; that of float64 if there is none, or none coarser."""
    return max((DOUBLE, *precisions), key=lambda precision: precision.eps)


def require_float64(what: str, dtype: np.dtype[Any]) -> None:
    """Refuses what a function that was given float64 has returned in a coarser dtype.

    Raises
    ------
    TypeError
        If `dtype` has fewer digits than float64; the message begins with `what`.
    """
    if Precision.of(dtype).is_coarse:
        raise TypeError(
            f"{what}: gives {dtype}, though it was given float64; differences of such numbers have hardly any digits. "
            "Compute in the dtype of what is given"
        )


def is_float32(numbers: NDArray[np.float64]) -> bool:
    """Whether an array of float64 holds nothing but float32 numbers, some of which do not fit into float16.

    Numbers such as 0 and ½, which do, say nothing of where they come from.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        simple = int((numbers == numbers.astype(np.float16)).sum())
        return bool((numbers == numbers.astype(np.float32)).all()) and len(numbers) - simple >= _FEWEST_FLOAT32


def first_index(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Returns the index of the first True, in C order."""
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(mask)), mask.shape))


def require_finite(what: str, array: NDArray[Any]) -> None:
    """Refuses an array with an entry that is NaN or infinite.

    Raises
    ------
    ValueError
        If there is one; the message begins with `what` and gives the index of the first.
    """
    finite = np.isfinite(array)
    if not finite.all():
        index = first_index(~finite)
        raise ValueError(f"{what}: {array[index]} at index {format_index(index)}; expected finite numbers")


def same_bits(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two arrays agree bit by bit; 0.0 and -0.0 differ, and so do two NaNs with different bits."""
    return np.array_equal(a.ravel().view(np.int64), b.ravel().view(np.int64))


def by_arrays(
    vector: NDArray[np.float64], sizes: Sequence[int], measure: Callable[[NDArray[np.float64]], float]
) -> NDArray[np.float64]:
    """Gives each entry of a flat vector of arrays of these sizes what `measure` finds for its whole array."""
    found = [measure(part) for part in np.split(vector, np.cumsum(sizes)[:-1])]
    return np.repeat(np.array(found, np.float64), sizes)


def format_index(index: tuple[int, ...]) -> str:
    """Writes an index as ``[2, 3]``; that of the one entry of a scalar is ``[]``."""
    return "[" + ", ".join(map(str, index)) + "]"


def digest(*values: Any) -> str:
    """Returns the SHA-256 digest of some values, as a hexadecimal string.

    Arrays enter it with their dtype, their shape and all their bits, other values as their ``repr``.
    """
    from hashlib import sha256  # only checkpoints wait for its import

    found = sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            found.update(f"{value.dtype}{value.shape}".encode())
            found.update(value.tobytes())  # bfloat16 and its like have no buffer
        else:
            found.update(repr(value).encode())
        found.update(b"\0")
    return found.hexdigest()


def as_matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Returns the numbers of rows and columns of an array that is seen as a matrix.

    The first axes become the rows and the last ones the columns, divided where that gives the matrix nearest to a
    square. A vector is one row. An array of two or more axes must not be empty.
    """
    if len(shape) < 2:
        return 1, prod(shape)
    splits = [(prod(shape[:k]), prod(shape[k:])) for k in range(1, len(shape))]
    return min(splits, key=lambda split: abs(log(split[0] / split[1])))
